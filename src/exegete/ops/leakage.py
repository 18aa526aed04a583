"""Leakage-adjusted simulatability: what explanations add to a simulator, in equal parts where they give the answer away and where not.

    LAS = mean over k in {leaking, not leaking} of mean over rows in k of [right from x and e] - [right from x]

A row leaks when the explanation alone is enough to be right. With no row of one kind the mean is that of the other. Few rows of a kind
have half of the weight: drawing them again says too little of what others of the kind would give, so that the interval is then that of
both means (`stats.mean_interval`), where it is wider.

Shapes: right [row] of 0 and 1 each. Cost: none. Reference: Hase et al. 2020 (arXiv:2010.04119), sec. 3.
"""

import numpy as np

from exegete.core.seed import generator
from exegete.ops.stats import FEW, mean_interval, unseen

_RESAMPLES = 2000


def las(
    from_input: np.ndarray, from_both: np.ndarray, from_explanation: np.ndarray
) -> tuple[float, float, float]:
    """(LAS, gain where explanations leak, gain where they do not); NaN for a kind of which there is no row."""
    gain, leaks = from_both - from_input, from_explanation == 1
    each = [float(gain[k].mean()) if k.any() else float("nan") for k in (leaks, ~leaks)]
    return float(np.nanmean(each)) if len(gain) else float("nan"), each[0], each[1]


def las_interval(
    from_input: np.ndarray, from_both: np.ndarray, from_explanation: np.ndarray, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of LAS when rows are drawn again (percentile bootstrap, wider for few); None for fewer than two rows."""
    n = len(from_input)
    if n < 2:
        return None
    at = generator(seed, "leakage", n).integers(0, n, (_RESAMPLES, n))
    gain, leaks = (from_both - from_input)[at], (from_explanation == 1)[at]
    each = []
    for k in (leaks, ~leaks):
        size = k.sum(1)
        each.append(np.where(size > 0, (gain * k).sum(1) / np.maximum(size, 1), np.nan))
    low, high = np.quantile(np.nanmean(np.stack(each), axis=0), [0.025, 0.975])
    wide = _of_few(from_both - from_input, from_explanation == 1, seed)
    return (
        (float(low), float(high)) if wide is None else (min(float(low), wide[0]), max(float(high), wide[1]))
    )


def _of_few(gain: np.ndarray, leaks: np.ndarray, seed: int) -> tuple[float, float] | None:
    """The interval of the mean of both means of gain [row], which are independent; None where each is of many different rows."""
    kinds = [gain[k] for k in (leaks, ~leaks) if k.any()]
    if all(len(x) >= FEW and np.ptp(x) > 0 for x in kinds):
        return None
    span = (-1.0, 1.0)
    ranges = [mean_interval(x, seed, span) or unseen(float(x[0]), 1, span) for x in kinds]
    value = float(np.mean([x.mean() for x in kinds]))
    down, up = (float(np.hypot.reduce([x.mean() - r[end] for x, r in zip(kinds, ranges)])) for end in (0, 1))
    return max(-1.0, value - down / len(kinds)), min(1.0, value + up / len(kinds))
