"""How good is a circuit? Faithfulness, completeness, minimality and its curve over sizes, each against random circuits.

With m(C) the mean target when only the edges of C carry the clean text:

    faithfulness   f(C) = (m(C) - m(empty)) / (m(full) - m(empty)): 0 for no edge, 1 for all, by definition
    completeness   f of everything but C: what the circuit leaves out should do nothing (lower is better)
    minimality     the share of its edges (and of its nodes) without which f moves by more than 1 %
    curve          f of the k strongest edges for growing k; CPR is the area under f, CMD that under |1 - f|

Control of each: random circuits of as many edges, made of walks from the logits back to the embedding.

Cost, in edge runs a pair: 2 (full and empty) + 2 draws + 1 (completeness) + 2 edges and nodes (minimality) + sizes (1 + draws).
References: Wang et al. 2022 (arXiv:2211.00593), sec. 4; Mueller et al. 2025 (arXiv:2504.13151), sec. 3.2.
"""

from dataclasses import dataclass

import numpy as np
import torch

from exegete.core.trust import Check, Score
from exegete.methods.mechanisms.circuit_runs import Judge, without
from exegete.ops.circuit import area, live, normalised, normalised_interval, random_circuit
from exegete.ops.stats import bootstrap_mean

MATTERS = 0.01  # of the whole model's target: what an edge must carry for its loss to count
FLAT = "clean and corrupt texts move the target alike"
_NAME = "random circuits of the same size"


@dataclass(frozen=True)
class Verdict:
    """What was measured: means of the target, the curve [S] and random ones [S, draw], loss [R, W] (NaN: not made), scores."""

    full: float
    empty: float
    value: float
    sizes: np.ndarray
    curve: np.ndarray
    random: np.ndarray
    loss: np.ndarray
    scores: tuple[Score, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Bench:
    """What circuits are judged with: draws of random circuits, edges dropped one by one, points of the curve."""

    judge: Judge
    n_draws: int
    n_dropped: int
    n_sizes: int

    def share(self, keep: np.ndarray) -> np.ndarray:
        """f of circuits keep [circuit, R, W]: [circuit]."""
        j = self.judge
        return np.array([normalised(v, j.empty, j.full) for v in j.values(keep)])

    def draws(self, n: int) -> np.ndarray:
        """Random circuits of n edges [draw, R, W]."""
        graph, lab = self.judge.graph, self.judge.lab
        made = [
            random_circuit(graph.allowed, graph.feeds, n, lab.rng("circuit", n, i))
            for i in range(self.n_draws)
        ]
        return np.stack(made)


def verdict(bench: Bench, keep: np.ndarray, strength: np.ndarray) -> Verdict:
    """Judge the circuit keep [R, W]; `strength` [R, W] orders edges for the curve."""
    j = bench.judge
    random = bench.draws(int(keep.sum()))
    loss, minimal = _minimality(bench, keep, random[0])
    sizes, curve, others, areas = _curve(bench, strength)
    whole = j.graph.allowed
    scores = (
        _score(bench, "faithfulness", keep, random),
        _score(bench, "faithfulness of everything else", whole & ~keep, whole & ~random, "lower"),
        *minimal,
        *areas,
    )
    if not np.isfinite(scores[0].value):
        scores = tuple(_untold(s) for s in scores)
        sizes, curve, others = sizes[:0], curve[:0], others[:0]
    return Verdict(
        full=float(j.full.mean()), empty=float(j.empty.mean()), value=float(j.values(keep[None]).mean()),
        sizes=sizes, curve=curve, random=others, loss=loss, scores=scores, checks=_checks(j),
    )  # fmt: skip


def _score(bench: Bench, name: str, keep: np.ndarray, random: np.ndarray, better: str = "higher") -> Score:
    j = bench.judge
    value = j.values(keep[None])[0]
    return Score(
        name=name,
        value=normalised(value, j.empty, j.full),
        better="higher" if better == "higher" else "lower",
        chance=0.0 if better == "higher" else 1.0,
        control=float(bench.share(random).mean()),
        control_name=_NAME if better == "higher" else f"the rest of {_NAME}",
        interval=normalised_interval(value, j.empty, j.full, j.lab.seed),
        n=len(value),
    )


def _untold(score: Score) -> Score:
    """A score where clean and corrupt texts move the target alike: there is nothing to carry, and nothing is told."""
    nothing = {"value": float("nan"), "chance": None, "control": None, "control_name": "", "interval": None}
    return score.model_copy(update={**nothing, "skipped": FLAT, "n": 0, "n_failed": score.n})


def _checks(j: Judge) -> tuple[Check, ...]:
    """With every edge cut, the model must say what it says on the corrupt text itself."""
    if j.ablation != "corrupt":
        return ()
    told, empty = j.described
    gap = float(np.abs(told - empty).max() / max(1.0, np.abs(told).max()))
    words = "with every edge cut the model says what it says on the corrupt text, relative"
    rounding = 8 * torch.finfo(j.lab.model.dtype).eps  # half precision sums what is written with larger steps
    return (Check.at_most("every edge is described", gap, max(1e-3, rounding), words),)


# -- minimality --------------------------------------------------------------------------------------------------------


def _minimality(bench: Bench, keep: np.ndarray, random: np.ndarray) -> tuple[np.ndarray, tuple[Score, ...]]:
    """Loss [R, W] of f without each edge, and the shares that matter of edges and nodes."""
    edges, lost = _edge_losses(bench, keep)
    loss = np.full(keep.shape, np.nan)
    loss[edges[:, 1], edges[:, 0]] = lost
    pairs = (
        ("edges that matter", lost, _edge_losses(bench, random)[1]),
        ("nodes that matter", _node_losses(bench, keep), _node_losses(bench, random)),
    )
    return loss, tuple(_matter(name, found, other) for name, found, other in pairs)


def _matter(name: str, lost: np.ndarray, other: np.ndarray) -> Score:
    moved = (np.abs(lost) > MATTERS).astype(float)
    return Score(
        name=name,
        value=float(moved.mean()) if len(moved) else float("nan"),
        control=float((np.abs(other) > MATTERS).mean()) if len(other) else None,
        control_name="a random circuit of the same size" if len(other) else "",
        interval=bootstrap_mean(moved),
        n=len(moved),
        skipped="" if len(moved) else "no edge is kept",
    )


def _edge_losses(bench: Bench, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r, w = np.nonzero(keep)
    edges = np.stack([w, r], 1)
    draw = bench.judge.lab.rng("dropped", len(edges)).permutation(len(edges))[: bench.n_dropped]
    edges = edges[np.sort(draw)]
    less = list(without(keep, edges))
    return edges, bench.share(keep[None])[0] - bench.share(np.stack(less)) if less else np.zeros(0)


def _node_losses(bench: Bench, keep: np.ndarray) -> np.ndarray:
    """Loss of f [node] without each node (all edges from it)."""
    nodes = np.flatnonzero(keep.any(0))
    nodes = nodes[bench.judge.lab.rng("nodes", len(nodes)).permutation(len(nodes))[: bench.n_dropped]]
    less = [np.where(np.arange(keep.shape[1]) == n, False, keep) for n in nodes]
    return bench.share(keep[None])[0] - bench.share(np.stack(less)) if less else np.zeros(0)


# -- the curve over sizes ----------------------------------------------------------------------------------------------


def strongest(strength: np.ndarray, allowed: np.ndarray, k: int) -> np.ndarray:
    """The mask [R, W] of the k edges of largest absolute strength, ties in order."""
    flat = np.where(allowed, np.abs(strength), -1.0).ravel()
    keep = np.zeros(allowed.size, dtype=bool)
    keep[np.argsort(-flat, kind="stable")[:k]] = True
    return keep.reshape(allowed.shape) & allowed


def sizes_of(n_edges: int, n_sizes: int) -> np.ndarray:
    """Numbers of edges from one to all, in even ratios."""
    return np.unique(np.geomspace(1, n_edges, n_sizes).round().astype(int))


def trimmed(judge: Judge, keep: np.ndarray) -> np.ndarray:
    """A circuit without the edges that lead nowhere (and, where cut edges carry a whole other text, come from nowhere)."""
    return live(keep, judge.graph.feeds, forward=judge.ablation == "corrupt")


def _curve(
    bench: Bench, strength: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[Score, ...]]:
    j = bench.judge
    total = int(j.graph.allowed.sum())
    sizes = sizes_of(total, bench.n_sizes)
    circuits = np.stack([trimmed(j, strongest(strength, j.graph.allowed, int(k))) for k in sizes])
    values = j.values(circuits)
    curve = bench.share(circuits)
    random = np.stack([bench.share(bench.draws(int(k))) for k in sizes])
    share = np.concatenate([[0.0], sizes / total])
    found = np.array(area(share, np.concatenate([[0.0], curve])))
    other = np.mean([area(share, np.concatenate([[0.0], r])) for r in random.T], axis=0)
    spread = _spread(j, share, values)
    made = zip(("CPR", "CMD"), found, other, ("higher", "lower"), spread)
    return sizes, curve, random, tuple(
        Score(name=n, value=float(v), control=float(c), control_name=_NAME, better="higher" if b == "higher" else "lower",
              interval=i, n=len(j)) for n, v, c, b, i in made
    )  # fmt: skip


def _spread(j: Judge, share: np.ndarray, values: np.ndarray) -> list[tuple[float, float] | None]:
    """95 % bootstrap intervals of CPR and CMD over pairs."""
    if len(j) < 2:
        return [None, None]
    full, empty, found = j.full, j.empty, []
    for i in range(400):
        at = j.lab.rng("areas", i).integers(0, len(j), len(j))
        curve = [normalised(v[at], empty[at], full[at]) for v in values]
        found.append(area(share, np.array([0.0, *curve])))
    low, high = np.nanquantile(np.array(found), [0.025, 0.975], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high)]
