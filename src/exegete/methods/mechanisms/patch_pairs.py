"""Pairs of texts for patching: what is measured on both, which token stands for which, and how the corrupt run is made.

1. the answer is what is given, or what the model says on the clean text; the foil likewise on the corrupt one; where both
   are one token the answer alone is measured. The same contrast is measured on both texts;
2. texts of as many tokens correspond token by token. Otherwise words correspond: a word's tokens are matched from its end
   (its last token holds the whole word), and what is left over takes the first. Texts of unlike word number are refused;
3. the corrupt run is the corrupt text ("text"), the clean text with noise on its embeddings ("noise"), or the clean text
   of another pair ("resample").

Cost: a pass a text whose answer the model chooses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from exegete.core.errors import InputError, TargetError
from exegete.core.material import Pair
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Label, Target
from exegete.core.text import Token
from exegete.models.capture import EditMap
from exegete.models.edit import Add
from exegete.models.lab import Aim, Lab
from exegete.models.scale import Row

Corruption = Literal["text", "noise", "resample"]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two runs: what is measured, the edit that makes it (noise), and how many rows it has."""

    aim: Aim
    edit: EditMap | None = None
    rows: int = 1

    @property
    def tokens(self) -> tuple[Token, ...]:
        """What the first stack reads."""
        return self.aim.encoded[0].tokens

    @property
    def read_at(self) -> int:
        """The token of the first stack at which the output is read: its last one in an encoder-decoder or a pooled model."""
        place = self.aim.rows[0][0].position
        two = "decoder_input_ids" in self.aim.inputs
        return len(self.tokens) - 1 if two or place is None else min(place, len(self.tokens) - 1)


@dataclass(frozen=True, eq=False)
class Both:
    """A clean and a corrupt run of one pair. `changed` are tokens of the clean text that differ."""

    pair: Pair
    clean: Side
    corrupt: Side
    changed: tuple[int, ...]


def read_both(lab: Lab, items: Sequence[Pair], i: int, corruption: Corruption, target: Target) -> Both:
    """The two runs of pair i by its corrupt text, or by another pair's ("resample"). Raises letters for unfit pairs."""
    pair = items[i]
    other = _resampled(lab, items, i) if corruption == "resample" else pair.corrupt
    if other is None and corruption == "text":
        raise InputError(
            "You asked to patch between two texts.",
            f"The pair {pair.clean.text or pair.id!r} has no corrupt text.",
            "Give one, or corruption='noise' or 'resample'.",
        )
    given = other if other is not None else pair.clean
    answer = pair.answer if pair.answer is not None else target.label
    against = pair.against if pair.against is not None else target.against
    scale = target.scale if target.scale in ("logit", "logprob", "prob") else "logit"
    aim = _aim(lab, pair.clean, answer, scale)
    row = aim.rows[0][0]
    there = _aim(lab, given, answer if answer is not None else row.id, scale)
    foil = _aim(lab, given if against is None else pair.clean, against, scale)
    clean, corrupt = (_against(a, foil.rows[0][0], foil.answers[0]) for a in (aim, there))
    changed = differing(aim.encoded[0].tokens, there.encoded[0].tokens) if given is not pair.clean else ()
    return Both(pair, Side(clean), Side(corrupt), changed)


def noised(lab: Lab, both: Both, sigma: float, n_samples: int) -> Both:
    """The same pair with the corrupt run made by noise of standard deviation `sigma` on the embeddings of the tokens that
    differ (of every token of the text where there is no corrupt text).
    """
    tokens = both.clean.tokens
    at = both.changed or tuple(i for i, t in enumerate(tokens) if not t.special)
    draw = lab.rng("noise", tuple(t.id for t in tokens)).standard_normal(
        (n_samples, len(at), lab.model.map.d_model)
    )
    site = Site("embed", stack=lab.model.map.stacks[0])
    noise = Add(torch.from_numpy(draw * sigma).to(lab.model.device), positions=at)
    return replace(both, corrupt=Side(both.clean.aim, {site: noise}, n_samples), changed=at)


def spread(lab: Lab, several: Sequence[Both]) -> float:
    """Standard deviation of the embeddings of all texts, one forward each."""
    site = Site("embed", stack=lab.model.map.stacks[0])
    return float(
        torch.cat([lab.run(b.clean.aim.inputs, read=[site])[site].flatten() for b in several]).double().std()
    )


def correspond(host: Sequence[Token], guest: Sequence[Token]) -> np.ndarray:
    """For each token of `host` the one of `guest` that stands for it. Raises `InputError` where words do not correspond."""
    if len(host) == len(guest):
        return np.arange(len(host))
    mine, theirs = _words(host), _words(guest)
    if len(mine) != len(theirs):
        at = next(
            (i for i, (a, b) in enumerate(zip(host, guest)) if a.id != b.id), min(len(host), len(guest))
        )
        raise InputError(
            f"You gave a pair whose texts have {len(host)} and {len(guest)} tokens, and other numbers of words.",
            f"They part at token {at}: {_told(host, at)!r} and {_told(guest, at)!r}.",
            "Give a corrupt text with as many tokens or words, so that places correspond.",
        )
    found = np.zeros(len(host), dtype=int)
    for a, b in zip(mine, theirs):
        for back, i in enumerate(reversed(a)):
            found[i] = b[max(0, len(b) - 1 - back)]
    return found


def differing(host: Sequence[Token], guest: Sequence[Token]) -> tuple[int, ...]:
    """Tokens of `host` that are other ones in `guest`, or belong to a word that is cut in another number of pieces."""
    where = correspond(host, guest)
    uneven: set[int] = set()
    if len(host) != len(guest):
        uneven = {i for a, b in zip(_words(host), _words(guest)) if len(a) != len(b) for i in a}
    return tuple(i for i, t in enumerate(host) if i in uneven or t.id != guest[where[i]].id)


def _words(tokens: Sequence[Token]) -> list[list[int]]:
    """Tokens of each word between blanks; a special token is a word of its own."""
    found: list[list[int]] = []
    end = -1
    for i, t in enumerate(tokens):
        glued = not t.special and found and end >= 0 and t.start == end and not t.text[:1].isspace()
        if glued:
            found[-1].append(i)
        else:
            found.append([i])
        end = -1 if t.special else t.end
    return found


def _told(tokens: Sequence[Token], at: int) -> str:
    return " ".join(t.text.strip() for t in tokens[at : at + 4])


def _resampled(lab: Lab, items: Sequence[Pair], i: int) -> Text:
    """The clean text of another pair of as many tokens."""
    mine, *others = (lab.read([p.clean]).lengths[0] for p in (items[i], *items))
    fit = [
        p.clean
        for j, (p, size) in enumerate(zip(items, others))
        if j != i and p.clean != items[i].clean and size == mine
    ]
    if not fit:
        raise InputError(
            f"You asked to resample the corrupt run of {items[i].clean.text or items[i].id!r}.",
            f"No other clean text has {mine} tokens too.",
            "Give more pairs of equal length, or corruption='noise'.",
        )
    return fit[int(lab.rng("resample", i).integers(len(fit)))]


def _aim(lab: Lab, text: Text, label: Label, scale: str) -> Aim:
    ids = (
        isinstance(label, int) and not isinstance(label, bool) and lab.model.task not in ("sequence", "token")
    )
    given: Any = (label,) if ids else label
    wanted: Any = scale
    aim = lab.aim([text], Target(label=given, scale=wanted))
    if len(aim.rows[0]) != 1:
        raise TargetError(
            f"You gave the answer {label!r} to a study of patching.",
            f"{lab.model.name} reads it as {len(aim.rows[0])} tokens.",
            "Choose answers of one token each.",
        )
    return aim


def _against(aim: Aim, foil: Row, name: str) -> Aim:
    row = aim.rows[0][0]
    if foil.id == row.id:
        return aim
    return replace(aim, rows=((replace(row, foil=foil.id),),), foils=(name,))
