"""ACDC: cut every edge that can go without moving the output, one after another, from the logits back to the embedding.

1. start with every edge; d(C) is how far the circuit C is from the whole model, on half of the pairs: the divergence
   KL(whole model || C) of the output (`measure` "kl"), or the mean |target(C) - target(whole)| over the whole change
   from clean to corrupt ("target");
2. go through readers from the last to the first, and through each one's writers from the last to the first; cut an edge for
   good when d rises by less than `threshold`;
3. edges into what no longer leads to the logits go without being run;
4. judge what is left on the other half of the pairs (`circuit_verdict`).

Step 2 is greedy, and yet batched, with the very same outcome: circuits in which the next 1, 2, 3 ... edges are cut are run
together, and read up to the first edge that must stay; then the rest is run anew from there.

Shapes: keep [R, W]. The score of an edge is the rise of d when it was tried (0 where it was not). Cost: at least an edge
run an edge and pair that finds; more where edges stay. Reference: Conmy et al. 2023, "Towards Automated Circuit Discovery
for Mechanistic Interpretability" (arXiv:2304.14997), algorithm 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.circuits import Circuit
from exegete.core.target import Target
from exegete.methods.mechanisms.circuit_runs import Judge
from exegete.methods.mechanisms.circuit_study import CircuitStudy
from exegete.methods.mechanisms.circuit_verdict import trimmed
from exegete.models.forward import pick
from exegete.models.lab import Aim, Lab
from exegete.ops.circuit import live

Distance = Callable[[np.ndarray], np.ndarray]
AT_ONCE = 16  # edges whose cuts are tried together


@register
class ACDC(CircuitStudy):
    """The circuit that is left when every edge that can go without moving the output has been cut."""

    id: ClassVar[str] = "acdc"
    techniques: ClassVar[tuple[str, ...]] = ("H5", "H20")
    reference: ClassVar[Reference] = Reference(
        authors="Conmy et al.", year=2023, where="arXiv:2304.14997", equation="algorithm 1",
        title="Towards Automated Circuit Discovery for Mechanistic Interpretability",
    )  # fmt: skip
    passes: ClassVar[str] = "1 forward a pair, an edge run a pair and edge or more, and edge runs for judging"
    threshold: float = Field(0.01, ge=0, description="rise of the distance below which an edge is cut")
    measure: Literal["kl", "target"] = Field(
        "kl",
        description="distance from the whole model: KL of the output, or the share of the target's change",
    )

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Circuit:
        """Over pairs."""
        halves = self.halves(lab, items, target)
        judge = halves.find
        distance = kl_distance(judge) if self.measure == "kl" else target_distance(judge)
        keep, rises, order = prune(judge, distance, self.threshold)
        keep = trimmed(judge, keep)
        # kept edges come first on the curve, then those cut last
        strength = np.where(keep, 2.0 + rises / max(1e-12, np.abs(rises).max()), order)
        title = "Which edges can the answer not do without?"
        found = self.finding(halves, keep, strength, np.full(keep.shape, np.nan), title)
        scores = rises[found.edges[:, 1], found.edges[:, 0]]
        return found.model_copy(update={"scores": scores})


@dataclass
class _Search:
    """The greedy search: what is kept, how far it is from the whole model, and what each edge did when it was tried."""

    judge: Judge
    distance: Distance
    threshold: float
    keep: np.ndarray
    now: float = 0.0
    rises: np.ndarray = field(default_factory=lambda: np.zeros(0))
    order: np.ndarray = field(default_factory=lambda: np.zeros(0))
    n_cut: int = 0

    def reader(self, r: int, at_once: int) -> None:
        """Try every edge into reader r."""
        writers = [int(w) for w in np.flatnonzero(self.keep[r])[::-1]]
        while writers:
            some = writers[:at_once]
            nested = np.stack([self._without(r, some[: i + 1]) for i in range(len(some))])
            far = self.distance(nested)
            tried = self._walk(r, some, nested, far)
            writers = writers[tried:]

    def _walk(self, r: int, some: list[int], nested: np.ndarray, far: np.ndarray) -> int:
        """Cut up to the first edge that must stay; how many edges that decides."""
        for i, w in enumerate(some):
            self.rises[r, w] = far[i] - self.now
            if not far[i] - self.now < self.threshold:
                return i + 1
            self._cut(r, w)
            self.now = float(far[i])
        return len(some)

    def _cut(self, r: int, w: int) -> None:
        self.keep[r, w] = False
        self.n_cut += 1
        self.order[r, w] = self.n_cut / self.keep.size

    def _without(self, r: int, writers: list[int]) -> np.ndarray:
        less = self.keep.copy()
        less[r, writers] = False
        return less


def prune(
    judge: Judge, distance: Distance, threshold: float, at_once: int = AT_ONCE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The greedy search: kept edges, the rise of each when tried, and when it was cut (0 to 1; 0 for kept), all [R, W]."""
    allowed = judge.graph.allowed
    search = _Search(
        judge, distance, threshold, allowed.copy(), 0.0, np.zeros(allowed.shape), np.zeros(allowed.shape)
    )
    with judge.lab.working(len(allowed), "cutting edges") as step:
        for r in reversed(range(len(allowed))):
            leads = live(search.keep, judge.graph.feeds, forward=False)
            if leads[r].any():
                search.reader(r, at_once)
            else:
                for w in np.flatnonzero(search.keep[r]):
                    search.keep[r, w] = False
            step()
    return search.keep, search.rises, search.order


def target_distance(judge: Judge) -> Distance:
    """Mean over pairs of |target - that of the whole model|, as a share of the mean change from clean to corrupt."""
    span = float(np.abs(judge.full - judge.empty).mean()) or 1.0
    return lambda keep: np.abs(judge.values(keep) - judge.full).mean(1) / span


def kl_distance(judge: Judge) -> Distance:
    """Mean over pairs of KL(whole model || circuit) at the place of the answer, in nats."""
    whole: dict[int, Tensor] = {}

    def note(aim: Aim, logits: Tensor) -> Tensor:
        whole[id(aim)] = _log_probs(aim, logits)
        return logits.new_zeros(len(aim))

    def against(aim: Aim, logits: Tensor) -> Tensor:
        p = whole[id(aim)]
        q = _log_probs(aim, logits).unflatten(0, (-1, len(p)))
        return torch.where(p.exp() > 0, p.exp() * (p - q), 0.0).sum(-1).flatten()

    judge.measured(judge.graph.allowed[None], note)
    return lambda keep: judge.measured(keep, against).mean(1)


def _log_probs(aim: Aim, logits: Tensor) -> Tensor:
    """Log-probabilities [batch, vocab] (of one logit: [batch, 2]) at the place of each text's answer."""
    at = aim.positions
    if logits.dim() == 3 and logits.shape[1] != 1 and at is not None:  # the head was run on every place
        logits = pick(logits, at.to(logits.device).repeat(len(logits) // len(at), 1))
    logits = (logits[:, 0] if logits.dim() == 3 else logits).double()
    if logits.shape[-1] == 1:  # a classifier of one logit: yes or no
        logits = torch.cat([torch.zeros_like(logits), logits], -1)
    return logits.log_softmax(-1)
