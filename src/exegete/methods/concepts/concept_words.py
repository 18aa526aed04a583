"""What a steered answer is measured by: output ids, and what they are called; and texts written under an edit.

1. a target names a class or a next token; else, for a classifier, the class that texts of the concept get more than the others;
2. for a language model without a target: how much likelier texts of the concept are than their partners, a token;
3. words of the concept are those that stand in its texts and never in the others, the most frequent first;
4. writing: the same draws among the likeliest tokens for every edit, all prompts cut to one length and read in one batch.

Cost: one forward a text for 1; one a token, prompt and edit for 4. Shapes: ids [id], written [prompt, token].
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.request import Text
from exegete.core.target import Target
from exegete.methods.concepts.contrast import Contrast
from exegete.methods.concepts.under_edits import Outputs, outputs
from exegete.models.capture import EditMap
from exegete.models.encode import encode, limit
from exegete.models.lab import Lab
from exegete.ops.ratio import kept

_WORD = re.compile(r"[^\W\d_]+")
_TOP = 5  # likeliest tokens that writing draws from
_START = 4  # most tokens of a prompt


@dataclass(frozen=True)
class Measured:
    """The output whose probability is measured (None: texts of the concept against their partners), its name and unit; words."""

    id: int | None
    name: str
    words: tuple[str, ...]

    @property
    def unit(self) -> str:
        """What the response is counted in."""
        return "nats a token" if self.id is None else "probability"

    def __call__(self, found: Outputs) -> np.ndarray:
        """Responses [edit, text]; of pairs that stand one after the other in the texts [edit, pair]."""
        if self.id is None:
            return found.likelihood[:, 0::2] - found.likelihood[:, 1::2]
        return np.exp(found.said[..., self.id])


def measured(lab: Lab, found: Contrast, part: np.ndarray, target: Target, n_words: int) -> Measured:
    """What is measured. Raises `TargetError` for unknown targets."""
    words = concept_words(found, n_words)
    if target.label is not None:
        aim = lab.aim([found.items[0].text], target)
        return Measured(aim.rows[0][0].id, f"the probability of {aim.answers[0].strip()!r}", words)
    if lab.model.task == "causal":
        return Measured(None, f"the lead of texts of {found.concept!r}", words)
    said = outputs(lab, [found.items[i].text for i in found.pairs[part].ravel()], [None]).said
    p = np.exp(said[0]).reshape(len(part), 2, -1).mean(0)
    best = int((p[0] - p[1]).argmax())
    names = lab.model.labels
    return Measured(best, f"the probability of {names[best] if names else best!r}", words)


def concept_words(found: Contrast, n: int) -> tuple[str, ...]:
    """Words of texts of the concept that the other texts never have, the most frequent first."""
    sides: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for column in (0, 1):
        for row in dict.fromkeys(found.pairs[:, column].tolist()):
            sides[column].update(set(_WORD.findall(found.items[row].text.lower())))
    own = [(w, k) for w, k in sides[0].items() if w not in sides[1]]
    return tuple(w for w, _ in sorted(own, key=lambda x: (-x[1], x[0]))[:n])


def write(
    lab: Lab, texts: Sequence[str], edits: Sequence[EditMap | None], n: int
) -> tuple[list[list[str]], np.ndarray]:
    """(what is written after the beginning of each text [edit][text], its loss in the model as it is [edit], nats a token)."""
    encoded = [encode(lab.model, Text(text=t, truncate=True)) for t in texts]
    size = min([_START, *(len(e.tokens) for e in encoded)])
    most = limit(lab.model)
    n = n if most is None else max(1, min(n, most - size))
    start = torch.tensor([[t.id for t in e.tokens[:size]] for e in encoded], device=lab.model.device)
    noise = torch.from_numpy(lab.rng("write").gumbel(size=(n, len(texts), _TOP))).to(start.device)
    said, loss = [], []
    with lab.working(len(edits), "writing") as done:
        for edit in edits:
            ids = start
            for draw in noise:
                ids = torch.cat([ids, _next(lab, ids, edit, draw)], 1)
            said.append([str(lab.model.tokenizer.decode(row[size:].tolist())) for row in ids])
            logs = lab.run(_inputs(ids)).logits[:, size - 1 : -1].float().log_softmax(-1)
            loss.append(float(-logs.gather(-1, ids[:, size:, None]).double().mean()))
            done()
    return said, np.array(loss)


def share_of(written: Sequence[str], words: Sequence[str]) -> float:
    """Share of the words of some texts that are among `words`; NaN where there are none."""
    hits, said = _counted(written, words)
    return float(hits.sum() / said.sum()) if said.sum() else float("nan")


def shares_of(written: Sequence[str], words: Sequence[str]) -> np.ndarray | None:
    """By text, values whose mean is that share, for its interval over texts; None where no word is written."""
    lost = kept(*_counted(written, words))  # one minus the share
    return None if lost is None else 1 - lost


def _counted(written: Sequence[str], words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Words of each text that are among `words`, and all its words."""
    own, said = set(words), [_WORD.findall(t.lower()) for t in written]
    return np.array([sum(w in own for w in s) for s in said], float), np.array([len(s) for s in said], float)


def _next(lab: Lab, ids: Tensor, edit: EditMap | None, draw: Tensor) -> Tensor:
    last = torch.full((len(ids), 1), ids.shape[1] - 1, device=ids.device)
    logits = lab.run(_inputs(ids), edit=edit, rows=last).logits[:, -1].double()
    top = logits.topk(min(_TOP, logits.shape[-1]))
    pick = (top.values + draw[:, : top.values.shape[1]]).argmax(-1, keepdim=True)
    return top.indices.gather(1, pick)


def _inputs(ids: Tensor) -> dict[str, Tensor]:
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
