"""Facts in all their wordings, ready to be asked of a model with one matrix changed: passes start at the matrix's layer.

The residual that enters each layer in question is kept, in batches under the token budget. Shapes: answers [fact, 2], the mean
log-probability of the answer and the share of wordings answered rightly (every token of the answer first choice).
Cost: a forward a wording, then (layers - l) / layers of one for each changed matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import ExegeteError
from exegete.core.material import Fact
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models.forward import pick
from exegete.models.lab import Aim, Lab
from exegete.models.rank_reduction import Matrix, standing_in


@dataclass(frozen=True, eq=False)
class Sheet:
    """All wordings of all facts in batches: `of[i]` is the fact of wording i, `resid[b][l]` enters layer l in batch b;
    `before` [fact, 2] are the mean log-probability of the answer and the share of wordings answered rightly.
    """

    facts: tuple[Fact, ...]
    of: np.ndarray
    aims: tuple[Aim, ...]
    resid: tuple[dict[int, Tensor], ...]
    before: np.ndarray

    def asked(self, lab: Lab, m: Matrix, value: Tensor) -> np.ndarray:
        """The same [fact, 2] with another value in a matrix."""
        with standing_in(m.parameter, value):
            found = [
                _heard(aim, lab.resume(aim.inputs, m.layer, kept[m.layer], rows=aim.positions).logits)
                for aim, kept in zip(self.aims, self.resid)
            ]
        return _by_fact(np.concatenate(found), self.of)


def fact_sheet(
    lab: Lab, facts: Sequence[Fact], layers: Sequence[int]
) -> tuple[Sheet | None, list[tuple[Fact, str]]]:
    """The facts that can be asked, ready (None where there is none); and those that cannot, with the reason."""
    asked: list[tuple[Fact, list[str]]] = []
    failed: list[tuple[Fact, str]] = []
    for fact in facts:
        texts = list(dict.fromkeys((fact.prompt, *fact.paraphrases)))
        try:
            lab.aim(texts, Target(label=fact.answer, scale="logprob"))
            asked.append((fact, texts))
        except ExegeteError as letter:
            failed.append((fact, letter.found))
    if not asked:
        return None, failed
    rows = [(i, t, fact.answer) for i, (fact, texts) in enumerate(asked) for t in texts]
    longest = max(len(t.split()) for _, t, _ in rows) * 2
    aims, resid, heard = [], [], []
    sites = {n: Site("resid_pre", layer=n, stack=lab.model.map.stacks[-1]) for n in layers}
    for chunk in lab.chunks(len(rows), longest):
        aim = lab.aim(
            [t for _, t, _ in rows[chunk]], [Target(label=a, scale="logprob") for _, _, a in rows[chunk]]
        )
        seen = lab.run(aim.inputs, read=list(sites.values()), rows=aim.positions)
        aims.append(aim)
        resid.append({n: seen[s] for n, s in sites.items()})
        heard.append(_heard(aim, seen.logits))
    of = np.array([i for i, _, _ in rows])
    before = _by_fact(np.concatenate(heard), of)
    return Sheet(tuple(f for f, _ in asked), of, tuple(aims), tuple(resid), before), failed


def _heard(aim: Aim, logits: Tensor) -> np.ndarray:
    """[text, 2]: log-probability of each text's answer, and whether each of its tokens is the first choice."""
    at = aim.positions
    if at is not None and logits.shape[1] != at.shape[1]:
        logits = pick(logits, at.to(logits.device))
    logp = logits.double().log_softmax(-1)
    found = []
    for x, rows in zip(logp, aim.rows):
        ids = torch.tensor([r.id for r in rows], device=x.device)
        x = x[: len(ids)]
        found.append((float(x.gather(-1, ids[:, None]).sum()), float((x.argmax(-1) == ids).all())))
    return np.array(found)


def _by_fact(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Means [fact, 2] over the wordings [wording, 2] of each fact."""
    return np.stack([values[of == i].mean(0) for i in range(of.max() + 1)])
