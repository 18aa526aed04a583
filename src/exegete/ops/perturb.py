"""Designs: which units are kept in each perturbed input, as masks [V, U] bool, and the game that answers them.

subsets      every subset, in binary order                        2^U rows
bernoulli    each unit kept with probability p                    (ContextCite, RISE)
removals     all kept once, then k units removed, k uniform       (LIME on text)
distinct     different subsets of one size, each equally likely   (strata of kernel SHAP)

A game is a callable from masks [V, U] to values [V, R]. `with_total` appends the explained scalar as a last column, so
that an estimator that is linear in the game explains every output and their total from the same passes.
"""

from collections.abc import Callable
from itertools import combinations, islice
from math import comb

import numpy as np

Game = Callable[[np.ndarray], np.ndarray]


def with_total(game: Game, total: Callable[[np.ndarray], np.ndarray]) -> Game:
    """The game with values [V, R + 1]: its outputs and, last, `total` of them."""

    def joined(keep: np.ndarray) -> np.ndarray:
        values = game(keep)
        return np.column_stack([values, total(values)])

    return joined


def subsets(n: int) -> np.ndarray:
    """All masks of n units [2^n, n]; row k keeps the units whose bits are set in k."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) % 2 == 1


def bernoulli(rng: np.random.Generator, m: int, n: int, p: float = 0.5) -> np.ndarray:
    """m masks [m, n] that keep each unit with probability p."""
    return rng.random((m, n)) < p


def removals(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """m masks [m, n]: the first keeps everything, the others remove 1..n units, the number and then the set uniform."""
    order = rng.random((m, n)).argsort(1).argsort(1)
    keep = order >= rng.integers(1, n + 1, size=(m, 1))
    keep[:1] = True
    return keep


def distinct(rng: np.random.Generator, n: int, size: int, k: int) -> np.ndarray:
    """k different masks [k, n] that keep `size` of n units, every set of k equally likely; k <= C(n, size).

    Few subsets are listed and drawn from; of many, random ones are drawn until k differ (on average < 2k draws).
    """
    whole = comb(n, size)
    if whole <= 2 * k:
        rows = np.zeros((whole, n), dtype=bool)
        for row, chosen in zip(rows, combinations(range(n), size)):
            row[list(chosen)] = True
        return rows[np.sort(rng.permutation(whole)[:k])]
    found: dict[bytes, np.ndarray] = {}
    while len(found) < k:
        drawn = rng.random((k, n)).argsort(1).argsort(1) < size
        found.update((row.tobytes(), row) for row in drawn)
    return np.array(list(islice(found.values(), k))).reshape(k, n)
