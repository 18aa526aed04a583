"""Are scores of a concept's sets other than those of random sets: a two-sided test that keeps its level, and Holm's correction.

1. each score comes from a set of its own: no text stands in two sets. Scores that share a set (one concept against many random
   sets) move together, and a t-test over them finds something in nothing (with ten random sets, more often than not);
2. Student's two-sided t-test of the concept's scores against the random ones, with one variance for both: under the null they
   are draws of one kind. (Welch's test takes the variance of few scores of 0 or 1 at its word, which may be zero.)
3. the exact test beside it: how often do as many of all scores, drawn at random, differ as much from the rest? p is the larger
   of the two, so that the level holds whatever the scores' distribution (shares pile up at 0 and 1);
4. Holm's step-down correction over all cells.

Cost: n_permutations * (k + r) numbers a cell, no model. Shapes: scores [cell, k], random [cell, r], p [cell].
Reference: Holm 1979, A simple sequentially rejective multiple test procedure; Pitman 1937 (the permutation test).
"""

import numpy as np
from scipy.stats import t as student

_CELLS = 64


def set_test(
    scores: np.ndarray, random: np.ndarray, rng: np.random.Generator, n_permutations: int = 9999
) -> tuple[np.ndarray, np.ndarray]:
    """(p, p of the t-test alone), both [cell], two-sided, that `scores` [cell, k] and `random` [cell, r] are of one kind."""
    return np.maximum(t := _student(scores, random), _exact(scores, random, rng, n_permutations)), t


def holm(p: np.ndarray) -> np.ndarray:
    """p values [cell] corrected over all cells: the chance of one false finding among them is at most the level."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)
    factor = np.arange(len(p), 0, -1)
    out = np.empty_like(p)
    out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factor))
    return out


def _student(scores: np.ndarray, random: np.ndarray) -> np.ndarray:
    k, r = scores.shape[1], random.shape[1]
    gap = np.abs(scores.mean(1) - random.mean(1))
    square = ((scores - scores.mean(1, keepdims=True)) ** 2).sum(1)
    square += ((random - random.mean(1, keepdims=True)) ** 2).sum(1)
    error = np.sqrt(square / (k + r - 2) * (1 / k + 1 / r))
    # no spread at all: the gap is nothing or everything, and the exact test decides
    t = np.divide(gap, error, out=np.where(gap > 1e-12, np.inf, 0.0), where=error > 1e-12)
    return 2 * student.sf(t, k + r - 2)


def _exact(
    scores: np.ndarray, random: np.ndarray, rng: np.random.Generator, n_permutations: int
) -> np.ndarray:
    both = np.concatenate([scores, random], 1)
    k, n = scores.shape[1], both.shape[1]
    drawn = np.argsort(rng.random((n_permutations, n)), axis=1)[:, :k]
    chosen = np.zeros((n_permutations, n))
    np.put_along_axis(chosen, drawn, 1.0, axis=1)
    # the gap of the two means, of every draw: of fixed scores it is a line in the sum of those chosen
    seen = np.abs(scores.mean(1) - random.mean(1))
    found = np.empty(len(both))
    for at in range(0, len(both), _CELLS):  # all at once, many concepts at many layers would take gigabytes
        rows = slice(at, at + _CELLS)
        total = chosen @ both[rows].T
        gap = np.abs(total / k - (both[rows].sum(1) - total) / (n - k))
        found[rows] = (1 + (gap >= seen[rows] - 1e-12).sum(0)) / (n_permutations + 1)
    return found
