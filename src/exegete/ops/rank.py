"""Orders and their agreement: ordering with stable ties, random orders, rank correlation, overlap of the strongest.

    spearman   Pearson correlation of mid-ranks
    kendall    tau-b = sum over pairs of sign(a_i - a_j) sign(b_i - b_j), divided by the root of the pairs untied in each

Shapes: M rows (methods), U units, N draws. Cost: O(M U log U), for Kendall O(M U^2).
References: Kendall 1945 (tau-b, ties); Spearman 1904.
"""

from typing import Literal

import numpy as np
from scipy.stats import rankdata

Agreement = Literal["spearman", "kendall"]


def descending(scores: np.ndarray) -> np.ndarray:
    """Indices [..., U] from the largest to the smallest score; equal scores stay in their order."""
    return np.argsort(-np.asarray(scores, dtype=np.float64), axis=-1, kind="stable")


def random_orders(n_units: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` uniformly random orders [n, n_units] in pairs of an order and its reverse.

    Each order is uniform by itself; pairs make their mean steadier, and removing the first k of one leaves the same units
    as keeping the last ones of the other, so that both need the same model inputs.
    """
    half = np.argsort(rng.random(((n + 1) // 2, n_units)), axis=1)
    return np.stack([half, half[:, ::-1]], axis=1).reshape(-1, n_units)[:n]


def rank_correlation(rows: np.ndarray, kind: Agreement = "spearman") -> np.ndarray:
    """Correlation [M, M] of the orders that score rows [M, U] stand for; NaN where a row is constant."""
    rows = np.asarray(rows, dtype=np.float64)
    if kind == "spearman":
        marks = np.stack([rankdata(r) for r in rows])
        marks = marks - marks.mean(1, keepdims=True)
    else:
        i, j = np.triu_indices(rows.shape[1], 1)
        marks = np.sign(rows[:, i] - rows[:, j])
    return _cosine(marks)


def row_correlation(
    a: np.ndarray, b: np.ndarray, kind: Literal["pearson", "spearman", "kendall"] = "pearson"
) -> np.ndarray:
    """Correlation [M] of each row of `a` [M, U] with the same row of `b` [M, U]; NaN where a row is constant."""
    if kind == "kendall":
        return np.array([rank_correlation(np.stack(pair), "kendall")[0, 1] for pair in zip(a, b)])
    if kind == "spearman":
        a, b = rankdata(a, axis=-1), rankdata(b, axis=-1)
    flat = (np.ptp(a, axis=-1) == 0) | (np.ptp(b, axis=-1) == 0)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    flat |= size == 0
    found = np.divide((a * b).sum(-1), size, out=np.full(size.shape, np.nan), where=~flat)
    return found.clip(-1, 1)


def top_overlap(rows: np.ndarray, k: int) -> np.ndarray:
    """Share [M, M] of the `k` strongest units (by absolute score) that two score rows [M, U] have in common."""
    k = min(k, np.shape(rows)[1])
    member = np.zeros(np.shape(rows))
    np.put_along_axis(member, descending(np.abs(rows))[:, :k], 1.0, axis=1)
    return member @ member.T / max(k, 1)


def top_jaccard(rows: np.ndarray, k: int) -> np.ndarray:
    """Jaccard index [M, M] of the `k` strongest units of two score rows [M, U]."""
    share = top_overlap(rows, k)
    return share / (2 - share)


def _cosine(x: np.ndarray) -> np.ndarray:
    size = np.sqrt((x * x).sum(1))
    whole = np.outer(size, size)
    return np.divide(x @ x.T, whole, out=np.full(whole.shape, np.nan), where=whole > 0).clip(-1, 1)
