"""How often do two things that stand in a relation have the same answer? Pairs of a sample, and a bootstrap of the sample.

    m_i = (number of j != i related to i with y_j = y_i) / (number of j != i related to i);   m = mean of the m_i that exist

Given i and its relation, m_i is an unbiased estimate of Pr[y' = y_i | x' related to x_i], for x' drawn as the sample was: i itself is
left out, which would agree for certain. An i without partners has no m_i. In the bootstrap a member drawn twice is no partner of itself.
Where all m_i are equal no resample differs: the interval is then what as many equal values leave open as there are pairs of which no
two share a member, which is half of the members (`ops.stats.unseen`).

Shapes: N members. Cost: O(N^2) a resample, no model.
Reference: Dasgupta, Frost & Moshkovitz 2022 (arXiv:2202.00734), sections 2 and 4; Hoeffding 1948 (means over pairs).
"""

import numpy as np

from exegete.core.seed import generator
from exegete.ops.stats import unseen


def pair_agreement(related: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """m [N] from `related` [N, N] bool (row i: the partners of i) and `answers` [N]; NaN without a partner."""
    return _weighed(related, answers, np.ones(len(answers)))


def agreement_interval(
    related: np.ndarray, answers: np.ndarray, seed: int = 0, n_resamples: int = 1000
) -> tuple[float, float] | None:
    """95 % interval of the mean of m over members drawn anew; None where fewer than two members have a partner."""
    n, each = len(answers), pair_agreement(related, answers)
    there = each[np.isfinite(each)]
    if len(there) < 2:
        return None
    if np.ptp(there) == 0:
        return unseen(float(there[0]), len(there) // 2, (0.0, 1.0))
    rng = generator(seed, "pairs", n)
    means = []
    for _ in range(n_resamples):
        weight = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        m = _weighed(related, answers, weight)
        known = np.isfinite(m) & (weight > 0)
        if known.any():
            means.append(np.average(m[known], weights=weight[known]))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _weighed(related: np.ndarray, answers: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """m [N] where member j counts `weight` [N] times."""
    partners = related & ~np.eye(len(answers), dtype=bool)
    same = partners & (answers[:, None] == answers[None])
    most = partners @ weight
    return np.divide(same @ weight, most, out=np.full(len(answers), np.nan), where=most > 0)
