"""Leakage-adjusted simulatability: what explanations add to a simulator, in equal parts where they give the answer away and where not.

    LAS = mean over k in {leaking, not leaking} of mean over rows in k of [right from x and e] - [right from x]

A row leaks when the explanation alone is enough to be right. With no row of one kind the mean is that of the other.

Shapes: right [row] of 0 and 1 each. Cost: none. Reference: Hase et al. 2020 (arXiv:2010.04119), sec. 3.
"""

import numpy as np

from exegete.core.seed import generator

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
    """95 % interval of LAS when rows are drawn again (percentile bootstrap); None for fewer than two rows."""
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
    return float(low), float(high)
