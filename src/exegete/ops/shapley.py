"""Shapley values of a game of n players, exactly and by permutations.

phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))

exact         the sum itself, from the values of all 2^n subsets
permutation   the mean of v(before + i) - v(before) over random orders of the players; each order is followed by its
              reverse, so that linear and pairwise games are exact at once (antithetic sampling); the standard error is that
              of the mean over the independent pairs

Cost: 2^n evaluations; n_samples (n - 1) + 2. Shapes: keep [V, n] -> values [V, C]; results [n, C].
Reference: Shapley 1953; Castro, Gomez & Tejada 2009 (permutations); Mitchell et al. 2022 (antithetic pairs).
"""

from dataclasses import dataclass
from math import comb

import numpy as np

from exegete.core.trust import Check
from exegete.ops.perturb import Game, subsets

BLOCK = 2048  # masks asked for at a time by the permutation estimator


@dataclass(frozen=True)
class Estimate:
    """Shapley values [n, C], their standard errors [n, C] (0: exact, NaN: unknown), and v of nobody and of all [C]."""

    values: np.ndarray
    stderr: np.ndarray
    nobody: np.ndarray
    everybody: np.ndarray

    def completeness(self) -> Check:
        """Self-check: the values of the last output add up to v(all) - v(nobody)."""
        change = float(self.everybody[-1] - self.nobody[-1])
        gap = abs(float(self.values[:, -1].sum()) - change)
        words = "how far the scores are from adding up to f(everything) - f(nothing)"
        return Check.at_most("completeness", gap, 1e-6 * max(1.0, abs(change)), words)


def exact(values: np.ndarray) -> np.ndarray:
    """Shapley values [n, C] from the values [2^n, C] of all subsets in binary order."""
    n = len(values).bit_length() - 1
    index = np.arange(2**n)
    size = subsets(n).sum(1)
    weight = np.array([1 / (n * comb(n - 1, s)) if s < n else 0.0 for s in range(n + 1)])[size]
    phi = np.empty((n, values.shape[1]))
    for i in range(n):
        without = index[(index >> i) % 2 == 0]
        phi[i] = weight[without] @ (values[without | (1 << i)] - values[without])
    return phi


def exhaustive(game: Game, n: int) -> Estimate:
    """Exact values of a game, asking all 2^n subsets at once."""
    values = game(subsets(n))
    phi = exact(values)
    return Estimate(phi, np.zeros_like(phi), values[0], values[-1])


def permutation(game: Game, n: int, n_samples: int, rng: np.random.Generator) -> Estimate:
    """Estimate from `n_samples` orders (rounded up to pairs of an order and its reverse)."""
    pairs = max(1, (n_samples + 1) // 2)
    step = max(1, BLOCK // (2 * (n + 1)))
    found = [_pair_means(game, n, min(step, pairs - p), rng) for p in range(0, pairs, step)]
    means = np.concatenate([f[0] for f in found])
    spread = means.std(0, ddof=1) / np.sqrt(pairs) if pairs > 1 else np.full(means.shape[1:], np.nan)
    nobody, everybody = found[0][1], found[0][2]
    return Estimate(means.mean(0), spread, nobody, everybody)


def _pair_means(game: Game, n: int, pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Mean contribution [pairs, n, C] of each player in random orders and their reverses; v of nobody and all."""
    forth = rng.random((pairs, n)).argsort(1)
    orders = np.stack([forth, forth[:, ::-1]], axis=1).reshape(2 * pairs, n)
    rank = orders.argsort(1)
    keep = rank[:, None, :] < np.arange(n + 1)[None, :, None]
    values = game(keep.reshape(-1, n)).reshape(2 * pairs, n + 1, -1)
    steps = np.take_along_axis(np.diff(values, axis=1), rank[:, :, None], axis=1)
    return steps.reshape(pairs, 2, n, -1).mean(1), values[0, 0], values[0, -1]
