"""Arithmetic of circuits: which edges are alive, random circuits, areas, overlap, and how well scores find known edges.

A circuit is a mask keep [R, W] over the edges reader x writer, both in order of computation; `feeds[r]` are the writers
that reader r feeds, the last reader is the output and writer 0 the input.

    live      an edge counts only if its reader leads to the output and, unless a writer that hears nothing still says
              something, its writer is led to from the input
    paths     a random circuit of n edges: random walks from the output back to the input, joined until there are n
    area      trapezoids over the share of edges: CPR of f, CMD of |1 - f|
    overlap   of two sets of a and b among N, by chance hypergeometric with mean ab / N
    auroc     the share of (gold, other) pairs in which gold scores higher, ties one half (Mann-Whitney)

Cost: O(R W) numbers each, no model. References: Mueller et al. 2025 (arXiv:2504.13151), sec. 3 (CPR, CMD); Conmy et al.
2023 (arXiv:2304.14997), sec. 4.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import hypergeom, rankdata

from exegete.core.seed import generator

Feeds = Sequence[Sequence[int]]
NOISE = 1e-5  # of the target: what float32 may move it by


def live(keep: np.ndarray, feeds: Feeds, forward: bool = True) -> np.ndarray:
    """The edges of keep [R, W] that lie on a path to the output and, with `forward`, from the input."""
    keep = keep.copy()
    while True:
        before = keep.sum()
        needed = np.zeros(keep.shape[1], dtype=bool)
        for r in reversed(range(len(keep))):
            if feeds[r] and not needed[list(feeds[r])].any():
                keep[r] = False
            needed |= keep[r]
        if forward:
            _hear(keep, feeds)
        if keep.sum() == before:
            return keep


def _hear(keep: np.ndarray, feeds: Feeds) -> None:
    """Take away, in place, the edges of writers that hear nothing."""
    heard = np.zeros(keep.shape[1], dtype=bool)
    heard[0] = True
    for r in range(len(keep)):
        # readers stand in order, and all readers of a writer before those that it can reach
        keep[r] &= heard
        if keep[r].any():
            heard[list(feeds[r])] = True


def random_circuit(allowed: np.ndarray, feeds: Feeds, n: int, rng: np.random.Generator) -> np.ndarray:
    """A random circuit of `n` edges [R, W] made of walks from the output back to the input, and of any edges to fill up.

    More than half of all edges are drawn one by one, for walks would hardly add any.
    """
    keep = np.zeros(allowed.shape, dtype=bool)
    by = [[r for r in range(len(feeds)) if w in feeds[r]] for w in range(allowed.shape[1])]
    counts = allowed.sum(1)  # the writers that a reader can read are the first so many
    missed = 0
    while keep.sum() < n and missed < 50 and 2 * n < counts.sum():
        walk, reader = [], len(feeds) - 1
        while reader >= 0:
            writer = int(rng.integers(counts[reader]))
            walk.append((reader, writer))
            reader = by[writer][int(rng.integers(len(by[writer])))] if by[writer] else -1
        at = tuple(np.array(walk).T)
        fits = keep.sum() + (~keep[at]).sum() <= n
        missed += not fits
        if fits:
            keep[at] = True
    spare = np.flatnonzero(allowed & ~keep)
    keep.flat[rng.permutation(spare)[: n - int(keep.sum())]] = True
    return keep


def normalised(value: np.ndarray, empty: np.ndarray, full: np.ndarray) -> float:
    """Mean of `value` [n] on the scale on which the mean of `empty` [n] is 0 and that of `full` [n] is 1.

    NaN where the two means are equal, or differ by no more than float32 noise.
    """
    span = float(full.mean() - empty.mean())
    noise = NOISE * float(np.abs([full, empty]).max())
    return float(value.mean() - empty.mean()) / span if abs(span) > noise else float("nan")


def normalised_interval(
    value: np.ndarray, empty: np.ndarray, full: np.ndarray, seed: int = 0, n: int = 2000
) -> tuple[float, float] | None:
    """95 % bootstrap interval of `normalised` over the n examples; None for fewer than two."""
    if len(value) < 2 or not np.isfinite(normalised(value, empty, full)):
        return None
    draw = generator(seed, "circuit", len(value)).integers(0, len(value), (n, len(value)))
    top, span = (value - empty)[draw].mean(1), (full - empty)[draw].mean(1)
    found = np.divide(top, span, out=np.full(n, np.nan), where=span != 0)
    if np.isnan(found).all():
        return None
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def area(share: np.ndarray, faithfulness: np.ndarray) -> tuple[float, float]:
    """(CPR, CMD): areas under f and |1 - f| over the share of edges kept, by trapezoids."""
    f = np.asarray(faithfulness, dtype=np.float64)
    return float(np.trapezoid(f, share)), float(np.trapezoid(np.abs(1 - f), share))


def auroc(scores: np.ndarray, gold: np.ndarray) -> float:
    """How well `scores` [n] find the `gold` ones [n] bool; NaN where all or none are gold."""
    gold = np.asarray(gold, dtype=bool)
    n, m = int(gold.sum()), int((~gold).sum())
    if not n or not m:
        return float("nan")
    ranks = rankdata(np.asarray(scores, dtype=np.float64))
    return float((ranks[gold].sum() - n * (n + 1) / 2) / (n * m))


def overlap_by_chance(a: int, b: int, total: int) -> tuple[float, int, int]:
    """Overlap of random sets of `a` and `b` among `total`: mean, and the 95 % range."""
    low, high = hypergeom(total, a, b).ppf([0.025, 0.975])
    return a * b / total, int(low), int(high)


def iou(overlap: float, a: int, b: int) -> float:
    """Intersection over union of sets of `a` and `b` with that overlap; 0 for two empty ones."""
    union = a + b - overlap
    return float(overlap / union) if union else 0.0
