"""How sure is a mean, and where does a value stand among draws.

`bootstrap_mean`: resample the values with replacement, take the mean each time, and read the interval off the means:
    percentile   the tails' quantiles as they are
    bca          quantiles shifted for bias (share of means below the mean) and skewness (the jackknife)
`few_mean`: Student's interval, for the mean of values too few to draw again: among three or six the bootstrap sees too little spread,
and none at all where they happen to be equal. A spread that chance alone would have can be given as the least.
`bootstrap_groups`: the same of values that stand in groups (words in texts): whole groups are drawn.
`midrank_percentile`: the share of draws a value beats, a tie counting one half.

Cost: O(n resamples) numbers, no model. Reference: Efron 1987, Better Bootstrap Confidence Intervals, eq. 2.2-2.3 (BCa);
Student 1908, The Probable Error of a Mean.
"""

from typing import Literal

import numpy as np
from scipy.stats import binomtest, norm, t

from exegete.core.seed import generator

_AT_ONCE = 1 << 20  # numbers drawn at once, so that memory stays bounded


def bootstrap_mean(
    values: np.ndarray,
    seed: int = 0,
    *,
    level: float = 0.95,
    n_resamples: int = 2000,
    kind: Literal["bca", "percentile"] = "bca",
) -> tuple[float, float] | None:
    """Interval of the mean of `values` [n] at `level`; None for fewer than two values, which say nothing about spread."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return None
    if np.ptp(x) == 0:
        return float(x[0]), float(x[0])
    means = _resampled(x, n_resamples, generator(seed, "bootstrap", len(x)))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if kind == "bca":
        tails = _bca(x, means, tails)
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def few_mean(values: np.ndarray, least: float = 0.0, *, level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of `values` [n] at `level`; None for fewer than two.

    The standard deviation counts as at least `least`.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return None
    half = t.ppf((1 + level) / 2, len(x) - 1) * max(float(x.std(ddof=1)), least) / len(x) ** 0.5
    return float(x.mean() - half), float(x.mean() + half)


def share_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of a mean of zeros and ones, exactly (Clopper-Pearson): three of three are no proof of all.

    Where there are shares between, the bootstrap's. None for fewer than two values.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2 or not np.isin(x, (0.0, 1.0)).all():
        return bootstrap_mean(x, seed)
    found = binomtest(int(x.sum()), len(x)).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


def bootstrap_groups(
    values: np.ndarray, groups: np.ndarray, seed: int = 0, *, n_resamples: int = 2000
) -> tuple[float, float] | None:
    """95 % interval of the mean of `values` [n] when whole `groups` [n] are drawn again; None for fewer than two groups."""
    _, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    if len(size) < 2:
        return None
    total = np.bincount(member, values)
    draws = generator(seed, "groups", len(size)).integers(0, len(size), (n_resamples, len(size)))
    low, high = np.quantile(total[draws].sum(1) / size[draws].sum(1), [0.025, 0.975])
    return float(low), float(high)


def midrank_percentile(
    value: float, draws: np.ndarray, better: Literal["higher", "lower"] = "higher"
) -> float:
    """Percent (0-100) of `draws` [n] that `value` beats; ties (to rounding error) count one half."""
    draws = np.asarray(draws, dtype=np.float64)
    gap = (value - draws) if better == "higher" else (draws - value)
    tied = np.isclose(draws, value, rtol=1e-6, atol=1e-9)
    return float(100 * np.mean(np.where(tied, 0.5, gap > 0)))


def best_crowd(
    value: float, draws: np.ndarray, better: Literal["higher", "lower"] = "higher"
) -> float | None:
    """Percent (0-100) of `draws` [n] as good as the best of them, when `value` is as good too; else None.

    As good: within 1 % of the spread of the draws.
    """
    sign = 1.0 if better == "higher" else -1.0
    x = sign * np.asarray(draws, dtype=np.float64)
    bar = x.max() - 0.01 * (x.max() - x.min())
    return float(100 * np.mean(x >= bar)) if sign * value >= bar else None


def _resampled(x: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Means [n_resamples] of samples drawn from `x` with replacement."""
    step = max(1, _AT_ONCE // len(x))
    parts = [min(step, n_resamples - i) for i in range(0, n_resamples, step)]
    return np.concatenate([x[rng.integers(0, len(x), (part, len(x)))].mean(1) for part in parts])


def _bca(x: np.ndarray, means: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """The quantiles to read instead of `tails`."""
    below = (np.mean(means < x.mean()) + np.mean(means <= x.mean())) / 2
    bias = norm.ppf(np.clip(below, 1 / (2 * len(means)), 1 - 1 / (2 * len(means))))
    lean = x - x.mean()  # the jackknife means lean by -lean/(n-1)
    skew = (lean**3).sum() / (6 * (lean**2).sum() ** 1.5)
    z = bias + norm.ppf(tails)
    return norm.cdf(bias + z / (1 - skew * z))
