"""One text as the stacks of a model read it: inputs of a pass, and for each stack its tokens and the sentence of each.

An encoder-decoder's decoder reads the target (its own choice where none is given); a classifier with a decoder reads the
text again, one place to the right. `attentions` names the attentions of a model with the stacks of their queries and keys.

Cost: none; a pass for an encoder-decoder that chooses its target.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.site import Site, Stack
from exegete.core.target import Target
from exegete.core.text import Token, sentences
from exegete.models.lab import Lab


@dataclass(frozen=True)
class Read:
    """What one stack reads: `pieces` [tok], `special` [tok] bool (stands for no text), `parts` [tok] sentence from 0, -1 for none."""

    pieces: tuple[str, ...]
    special: np.ndarray
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Look:
    """Inputs of a pass over one text, and what each stack reads."""

    inputs: dict[str, Tensor]
    reads: dict[Stack, Read]


@dataclass(frozen=True)
class Attention:
    """One attention of a model: its name in words, its pattern sites in order, the stacks of queries and keys."""

    name: str
    sites: tuple[Site, ...]
    queries: Stack
    keys: Stack

    @property
    def cross(self) -> bool:
        """Whether queries and keys are of two texts."""
        return self.queries != self.keys

    def kin(self, kind: str) -> list[Site]:
        """The sites of another kind (q, k, scores) in the same attention."""
        lead = "cross_" if self.cross else ""
        return [Site(lead + kind, layer=s.layer, stack=s.stack) for s in self.sites]


def attentions(lab: Lab) -> tuple[Attention, ...]:
    """The attentions of the model; those whose pattern cannot be seen are left out."""
    found = []
    names: dict[Stack, str] = {"": "self-attention", "enc": "encoder", "dec": "decoder"}
    for stack in lab.model.map.stacks:
        found.append(Attention(names[stack], lab.model.map.sites("pattern", stack), stack, stack))
    if "enc" in lab.model.map.stacks:
        across = lab.model.map.sites("cross_pattern", "dec")
        found.append(Attention("decoder on encoder", across, "dec", "enc"))
    return tuple(a for a in found if a.sites)


def look(lab: Lab, text: Text, target: Target | None = None) -> Look:
    """One text as the model reads it. Raises `InputError` for what cannot be read."""
    main, *rest = lab.model.map.stacks
    if lab.model.task == "seq2seq":
        aim = lab.aim([text], target)
        reads = {
            main: _read(lab, aim.inputs["input_ids"][0], aim.encoded[0].text, aim.encoded[0].tokens),
            rest[0]: _read(lab, aim.inputs["decoder_input_ids"][0]),
        }
        return Look(aim.inputs, reads)
    return reread(lab, text)


def reread(lab: Lab, text: Text) -> Look:
    """One text as every stack would read it, the decoder of an encoder-decoder too, after its start token: no target needed."""
    reading = lab.read([text])
    inputs, encoded = lab.passed(reading), reading.encoded[0]
    if any(t.part for t in encoded.tokens):
        inputs["token_type_ids"] = torch.tensor([[t.part for t in encoded.tokens]], device=lab.model.device)
    main, *rest = lab.model.map.stacks
    reads = {main: _read(lab, inputs["input_ids"][0], encoded.text, encoded.tokens)}
    if rest:
        reads[rest[0]] = _moved(lab, reads[main])
        inputs |= shifted(lab, inputs["input_ids"])
    return Look(inputs, reads)


def shifted(lab: Lab, ids: Tensor) -> dict[str, Tensor]:
    """What the decoder is given so that it reads `ids` [batch, tok] again: nothing where the model does this itself."""
    if lab.model.task != "seq2seq":
        return {}
    start = getattr(lab.model.config, "decoder_start_token_id", None) or 0
    return {"decoder_input_ids": torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], 1)}


def first_row(look: Look) -> Tensor:
    """A row to unembed [1, 1] where no output is measured."""
    return torch.zeros((1, 1), dtype=torch.long, device=look.inputs["input_ids"].device)


def _read(lab: Lab, ids: Tensor, text: str = "", tokens: Sequence[Token] = ()) -> Read:
    listed = ids.tolist()
    special = set(lab.model.tokenizer.all_special_ids)
    marks = np.array([i in special for i in listed])
    for i, t in enumerate(tokens):
        marks[i] |= t.special
    return Read(lab.pieces(listed), marks, _parts(text, tokens) or (0,) * len(listed))


def _moved(lab: Lab, read: Read) -> Read:
    """What a decoder that reads the text again sees: its start token, then all but the last."""
    start = getattr(lab.model.config, "decoder_start_token_id", None) or 0
    pieces = (*lab.pieces([start]), *read.pieces[:-1])
    return Read(pieces, np.array([True, *read.special[:-1]]), (-1, *read.parts[:-1]))


def _parts(text: str, tokens: Sequence[Token]) -> tuple[int, ...]:
    """The sentence that each token starts in; leading white space belongs to the sentence after it."""
    ends = [end for _, end in sentences(text)]
    return tuple(_part(t, ends, len(text)) for t in tokens)


def _part(t: Token, ends: list[int], last: int) -> int:
    if t.special or t.start < 0 or not ends:
        return -1
    inside = min(max(t.end - 1, t.start), last)
    return min(sum(end <= inside for end in ends), len(ends) - 1)


def by_head(value: Any) -> np.ndarray:
    """A tensor [1, head, ...] as float32 [head, ...]."""
    return value[0].detach().float().cpu().numpy()
