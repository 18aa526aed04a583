"""How sure is a mean, and where does a value stand among draws.

`bootstrap_mean`: resample the values with replacement, take the mean each time, and read the interval off the means:
    percentile   the tails' quantiles as they are
    bca          quantiles shifted for bias (share of means below the mean) and skewness (the jackknife)
`few_mean`: Student's interval, for the mean of values too few to draw again: among three or six the bootstrap sees too little spread,
and none at all where they happen to be equal. A spread that chance alone would have can be given as the least.
`bounded_mean`: the same of few shares of few answers: the wider of Student's over the shares and the exact one over all answers.
`bootstrap_groups`: the same of values that stand in groups (words in texts): whole groups are drawn.
`mean_interval`, `groups_interval`: the same for any number of values within a `span`, few ones and equal ones too: exact where all stand
at the ends of the span, Student's where that is wider for fewer than ten, and `unseen` where all are equal.
`unseen`: how far the mean of n equal values may be from them. With n draws a share p > 1 - 0.025^(1/n) of other values is met in more
than 97.5 of 100 runs; so many may be anywhere in the span. Gains of 1 are told apart from 0 from six on, as by a sign test.
`midrank_percentile`: the share of draws a value beats, a tie counting one half.

Cost: O(n resamples) numbers, no model. Reference: Efron 1987, Better Bootstrap Confidence Intervals, eq. 2.2-2.3 (BCa);
Student 1908, The Probable Error of a Mean; Clopper & Pearson 1934, The Use of Confidence or Fiducial Limits.
"""

from typing import Literal

import numpy as np
from scipy.stats import beta, binomtest, norm, t

from exegete.core.seed import generator

FEW = 10  # from here on the bootstrap stands alone
MANY = 20_000  # from here on the mean of almost anything is normal, and resampling gives the same ends for far more work
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
    if len(x) >= MANY:
        return few_mean(x, level=level)
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


def bounded_mean(values: np.ndarray, trials: np.ndarray | int = 1) -> tuple[float, float] | None:
    """95 % interval of the mean of few `values` [n] between 0 and 1, each the mean of so many `trials` (answers); None for one answer.

    At each end the wider of two: Student's over the values, which sees how they differ, and Clopper-Pearson's over all answers, which
    sees how few they are: values that are all 1 do not differ, and three of them prove little. A value between 0 and 1 counts as that
    share of right answers: no number between these has a larger spread than right and wrong answers of the same mean.
    """
    x = np.clip(np.asarray(values, dtype=np.float64), 0, 1)
    m = np.broadcast_to(np.asarray(trials, dtype=np.float64), x.shape)
    n, right = float(m.sum()), float((x * m).sum())
    if n < 2:
        return None
    low = float(beta.ppf(0.025, right, n - right + 1)) if right > 0 else 0.0
    high = float(beta.ppf(0.975, right + 1, n - right)) if right < n else 1.0
    differ = few_mean(x)
    return (low, high) if differ is None else (max(0.0, min(low, differ[0])), min(1.0, max(high, differ[1])))


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


def unseen(value: float, n: int, span: tuple[float, float]) -> tuple[float, float]:
    """95 % interval of a mean of values within `span`, of which `n` were seen, all equal to `value`."""
    share = 1 - 0.025 ** (1 / n)
    return value - share * (value - span[0]), value + share * (span[1] - value)


def mean_interval(
    values: np.ndarray, seed: int = 0, span: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float] | None:
    """95 % interval of the mean of `values` [n], all within `span`; None for fewer than two."""
    x = np.asarray(values, dtype=np.float64)
    bounded = bool(np.isfinite(span).all())
    if len(x) >= 2 and bounded and np.isin(x, span).all():
        found, width = (
            binomtest(int((x == span[1]).sum()), len(x)).proportion_ci(0.95, "exact"),
            span[1] - span[0],
        )
        return float(span[0] + width * found.low), float(span[0] + width * found.high)
    if len(x) >= 2 and bounded and np.ptp(x) == 0:
        return unseen(float(x[0]), len(x), span)
    return _wider(bootstrap_mean(x, seed), few_mean(x) if len(x) < FEW else None, span)


def groups_interval(
    values: np.ndarray, groups: np.ndarray, seed: int = 0, span: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float] | None:
    """95 % interval of the mean of `values` [n] within `span` that stand in `groups` [n]; None for fewer than two groups."""
    x = np.asarray(values, dtype=np.float64)
    _, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    n = len(size)
    if n >= 2 and np.isfinite(span).all() and np.ptp(x) == 0:
        return unseen(float(x[0]), n, span)
    few = None
    if 2 <= n < FEW:  # Student's, of a mean whose weights are the sizes of the groups
        lean = np.bincount(member, x - x.mean())
        half = float(t.ppf(0.975, n - 1) * (n / (n - 1) * (lean**2).sum()) ** 0.5 / len(x))
        few = (float(x.mean()) - half, float(x.mean()) + half)
    return _wider(bootstrap_groups(x, groups, seed), few, span)


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


def _wider(
    one: tuple[float, float] | None, other: tuple[float, float] | None, span: tuple[float, float]
) -> tuple[float, float] | None:
    """From the lower of both low ends to the higher of both high ones, within `span`."""
    if one is None or other is None:
        return one
    return max(min(one[0], other[0]), span[0]), min(max(one[1], other[1]), span[1])


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
