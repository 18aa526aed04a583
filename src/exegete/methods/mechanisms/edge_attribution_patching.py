"""Edge attribution patching (EAP, EAP-IG): every edge's effect estimated at once, the best ones checked exactly.

1. score every edge by gradient times change (`edge_scores`) on half of the pairs;
2. patch the `n_top` strongest edges and as many others, one by one, exactly, and compare: the correlation is a score;
3. keep the `n_edges` strongest, or as few as carry `enough` of the target on the pairs that find;
4. judge the circuit on the other half against random circuits of the same size (`circuit_verdict`).

Shapes: scores [R, W]. Cost of step 1: 2 forwards + 1 backward a pair (`ig_steps` 0), else 2 + n forwards and n backwards.
References: Syed et al. 2023, "Attribution Patching Outperforms Automated Circuit Discovery" (arXiv:2310.10348), eq. 3;
Hanna et al. 2024, "Have Faith in Faithfulness" (arXiv:2403.17806), eq. 4.
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.circuits import Circuit
from exegete.core.target import Target
from exegete.core.trust import Score
from exegete.methods.mechanisms.circuit_runs import Judge, without
from exegete.methods.mechanisms.circuit_study import CircuitStudy, Halves
from exegete.methods.mechanisms.circuit_verdict import sizes_of, strongest, trimmed
from exegete.methods.mechanisms.edge_scores import edge_scores
from exegete.models.lab import Lab
from exegete.ops.circuit import normalised

_MANY = 200  # shuffles of the control, resamples of the interval


@register
class EdgeAttributionPatching(CircuitStudy):
    """Which edges between heads, feed-forward parts and logits carry the answer, estimated by gradients and checked by patching."""

    id: ClassVar[str] = "edge_attribution_patching"
    techniques: ClassVar[tuple[str, ...]] = ("H5", "H20")
    reference: ClassVar[Reference] = Reference(
        authors="Syed et al.", year=2023, where="arXiv:2310.10348", equation="eq. 3",
        title="Attribution Patching Outperforms Automated Circuit Discovery",
    )  # fmt: skip
    passes: ClassVar[str] = (
        "2 forwards + 1 backward a pair (more with ig_steps), and edge runs for checking and judging"
    )
    ig_steps: int = Field(
        5,
        ge=0,
        le=200,
        description="points on the line between both embeddings; 0: the gradient at the clean text",
    )
    n_edges: int = Field(0, ge=0, description="edges kept; 0: as few as carry `enough`")
    enough: float = Field(0.85, gt=0, le=1, description="share of the target that the kept edges must carry")
    n_top: int = Field(32, ge=2, le=10000, description="strongest edges patched exactly, and as many others")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Circuit:
        """Over pairs."""
        halves = self.halves(lab, items, target)
        scores = edge_scores(lab, halves.graph, halves.find.grounds, self.ig_steps)
        exact = exact_effects(halves.find, checked(halves, scores, self.n_top))
        keep = self._keep(halves, scores)
        title = "Which edges carry the answer?"
        return self.finding(halves, keep, scores, exact, title, (agreement(lab, scores, exact),))

    def _keep(self, halves: Halves, scores: np.ndarray) -> np.ndarray:
        allowed = halves.graph.allowed
        if self.n_edges:
            return trimmed(halves.find, strongest(scores, allowed, self.n_edges))
        return smallest(halves.find, scores, self.enough)


def smallest(judge: Judge, scores: np.ndarray, enough: float) -> np.ndarray:
    """The fewest strongest edges [R, W] that carry `enough` of the target: sizes in even ratios, then halving the last step."""
    allowed = judge.graph.allowed
    circuit = lambda k: trimmed(judge, strongest(scores, allowed, int(k)))  # noqa: E731
    carries = lambda k: normalised(judge.values(circuit(k)[None])[0], judge.empty, judge.full) >= enough  # noqa: E731
    below = 0
    for size in sizes_of(int(allowed.sum()), 12):
        high = int(size)
        if carries(high):
            break
        below = high
    while high - below > 1:
        middle = (high + below) // 2
        below, high = (below, middle) if carries(middle) else (middle, high)
    return circuit(high)


def checked(halves: Halves, scores: np.ndarray, n: int) -> np.ndarray:
    """The n strongest edges and n others at random [2 n, 2] as (writer, reader)."""
    edges = halves.graph.edges
    order = np.argsort(-np.abs(scores[edges[:, 1], edges[:, 0]]), kind="stable")
    rest = halves.find.lab.rng("checked").permutation(order[n:])[:n]
    return edges[np.concatenate([order[:n], rest])]


def exact_effects(judge: Judge, edges: np.ndarray) -> np.ndarray:
    """What the mean target loses when each of `edges` alone is cut [R, W]; NaN elsewhere. Cost: an edge run a pair and edge."""
    found = np.full(judge.graph.shape, np.nan)
    full, step = judge.full.mean(), 256
    for i in range(0, len(edges), step):
        some = edges[i : i + step]
        values = judge.values(np.stack(list(without(judge.graph.allowed, some))))
        found[some[:, 1], some[:, 0]] = full - values.mean(1)
    return found


def agreement(lab: Lab, scores: np.ndarray, exact: np.ndarray) -> Score:
    """Correlation of estimate and exact effect over the edges that were patched."""
    at = np.isfinite(exact)
    a, b = scores[at], exact[at]
    shuffled = [_correlation(a, lab.rng("shuffled", i).permutation(b)) for i in range(_MANY)]
    again = [lab.rng("resampled", i).integers(0, len(a), len(a)) for i in range(_MANY)]
    spread = [c for at in again if np.isfinite(c := _correlation(a[at], b[at]))]
    value = _correlation(a, b)
    flat = not np.isfinite(value)
    return Score(
        name="correlation with exact patching",
        value=value,
        chance=0.0,
        control=None if flat else float(np.mean(shuffled)),
        control_name="" if flat else "the same scores shuffled among edges",
        interval=None
        if flat or not spread
        else (float(np.quantile(spread, 0.025)), float(np.quantile(spread, 0.975))),
        n=0 if flat else len(a),
        n_failed=len(a) if flat else 0,
    )


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else float("nan")
