"""Differences between methods that were scored on the same items: paired bootstrap, with Holm's correction over the pairs.

1. for every pair (a, b) the differences d_i of the items that both have; t = mean(d) / se(d);
2. items are drawn anew with replacement, all pairs together; t* = (mean(d*) - mean(d)) / se(d*);
3. p = share of draws with |t*| >= |t| (one counted in, so that p is never 0); Holm's step-down over all pairs.

Studentised, as the plain percentile test rejects too often on few items. Shapes: values [method, item], NaN where missing.
Cost: O(draws items pairs). References: Efron & Tibshirani 1993, chapter 16; Koehn 2004 (pairing); Holm 1979.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from exegete.core.seed import generator
from exegete.ops.set_test import holm

LEAST = 5  # fewer common items tell nothing about a spread


@dataclass(frozen=True)
class Paired:
    """All pairs of methods: `first` and `second` [pair] indices, `mean` of first less second, `p` as it is and `adjusted`."""

    first: np.ndarray
    second: np.ndarray
    mean: np.ndarray
    p: np.ndarray
    adjusted: np.ndarray
    n: np.ndarray


def paired_bootstrap(values: np.ndarray, seed: int = 0, n_draws: int = 10_000) -> Paired:
    """Every pair of rows of values [method, item]; p is NaN where a pair has fewer than five items in common."""
    pairs = np.array(list(combinations(range(len(values)), 2)), dtype=np.int64).reshape(-1, 2)
    gap = values[pairs[:, 0]] - values[pairs[:, 1]]
    there = np.isfinite(gap)
    n = there.sum(1)
    gap = np.where(there, gap, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(n > 0, gap.sum(1) / n, np.nan)
        spread = np.sqrt(np.maximum((gap**2).sum(1) / n - mean**2, 0))
        t = _ratio(mean, spread)
        count = generator(seed, "paired").multinomial(
            values.shape[1], np.full(values.shape[1], 1 / max(values.shape[1], 1)), size=n_draws
        )  # [draw, item]
        drawn = count @ there.T
        means = count @ gap.T / drawn
        spreads = np.sqrt(np.maximum(count @ (gap**2).T / drawn - means**2, 0))
        beyond = np.abs(_ratio(means - mean, spreads)) >= np.abs(t) * (1 - 1e-12)
    p = np.where(n >= LEAST, (beyond.sum(0) + 1) / (n_draws + 1), np.nan)
    adjusted = np.full(len(p), np.nan)
    adjusted[n >= LEAST] = holm(p[n >= LEAST])
    return Paired(pairs[:, 0], pairs[:, 1], mean, p, adjusted, n)


def _ratio(mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """mean / spread; 0 where both are 0, and without bound where the spread alone is."""
    still = spread <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
    return np.where(still, np.where(np.abs(mean) > 0, np.copysign(np.inf, mean), 0.0), mean / spread)
