"""Shares of what separates two runs: how much of it each patched place moves, over pairs.

1. pair i has a span s_i (clean value less corrupt value) and place c moves m_ic of it;
2. the share of a place is mean_i m_ic / mean_i s_i: 0 for nothing, 1 for all; means come before the ratio, so that a pair
   whose span is near zero does not blow up;
3. its 95 % interval resamples pairs, all places by the same draws.

Shapes: moved [pair, place], span [pair] -> share [place]. Cost: n_resamples x pairs x places numbers, no model.
Reference: Wang et al. 2022 (arXiv:2211.00593), sec. 3.1 (normalised logit difference).
"""

import numpy as np

from exegete.core.seed import generator

NOISE = 1e-5  # of the largest value: a span below it is rounding


def shares(moved: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Share of the span that each place moves [place]; NaN where the spans add up to nothing."""
    total = float(span.mean())
    if abs(total) <= NOISE * max(1e-30, float(np.abs(span).max())):
        return np.full(moved.shape[1], np.nan)
    return moved.mean(0) / total


def share_intervals(moved: np.ndarray, span: np.ndarray, seed: int = 0, n: int = 1000) -> np.ndarray:
    """95 % intervals of `shares` [place, 2]; NaN for fewer than two pairs, which say nothing about spread."""
    pairs = len(span)
    if pairs < 2 or np.isnan(shares(moved, span)).all():
        return np.full((moved.shape[1], 2), np.nan)
    draw = generator(seed, "patching", pairs).integers(0, pairs, (n, pairs))
    weight = np.apply_along_axis(np.bincount, 1, draw, minlength=pairs) / pairs
    below = weight @ span
    kept = np.abs(below) > NOISE * np.abs(span).max()
    return np.quantile(weight[kept] @ moved / below[kept, None], [0.025, 0.975], axis=0).T


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two vectors [n]; NaN where one of them is constant."""
    return float(np.corrcoef(a, b)[0, 1]) if len(a) > 1 and np.ptp(a) and np.ptp(b) else float("nan")


def correlation_interval(
    a: np.ndarray, b: np.ndarray, seed: int = 0, n: int = 1000
) -> tuple[float, float] | None:
    """95 % interval of `correlation`, resampling entries; None where it cannot be told."""
    draw = generator(seed, "correlation", len(a)).integers(0, len(a), (n, len(a)))
    found = np.array([correlation(a[d], b[d]) for d in draw])
    if np.isnan(found).all():
        return None
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def picked_elsewhere(moved: np.ndarray, span: np.ndarray) -> np.ndarray:
    """For each pair the place that moves most on the other pairs [pair]; on the pair itself where it is the only one."""
    if len(span) == 1:
        return np.array([int((moved[0] * np.sign(span[0])).argmax())])
    others = moved.sum(0) - moved
    total = span.sum() - span
    return (others * np.sign(total)[:, None]).argmax(1)
