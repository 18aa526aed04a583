"""How far coders agree beyond chance: Krippendorff's alpha and Fleiss' kappa, for categories without order.

    alpha = 1 - D_o / D_e      D_o: share of pairs of values within a unit that differ; D_e: among all values, whoever gave them where.
                               Units and coders may be incomplete: a missing value is no value, a unit with one value counts nothing
    kappa = (P - P_e) / (1 - P_e)      P: share of pairs of coders that agree on a unit, P_e: of pairs drawn by the shares of the
                                       categories; every unit has the same number of values

Both are 1 where all agree, 0 where they agree as values dealt out at random do, negative where less; NaN where all values are the same,
which nobody can disagree on. Cost: linear. Shapes: K coders, N units, C categories.
References: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; Fleiss 1971, "Measuring nominal scale agreement among many
raters".
"""

import numpy as np


def counts_of(values: np.ndarray) -> np.ndarray:
    """How often each category was given [N, C], from values [K, N]; NaN is no value."""
    known = np.unique(values[np.isfinite(values)])
    return (values[:, :, None] == known).sum(0).astype(np.float64)


def krippendorff_alpha(counts: np.ndarray) -> float:
    """Alpha from how often each category was given to each unit [N, C]."""
    several = counts[counts.sum(1) > 1]
    m = several.sum(1, keepdims=True)
    total, by_category = several.sum(), several.sum(0)
    if total == 0 or (by_category == total).any():
        return float("nan")
    same = (several * (several - 1) / (m - 1)).sum()
    expected = (by_category * (by_category - 1)).sum() / (total - 1)
    return float(1 - (total - same) / (total - expected))


def fleiss_kappa(counts: np.ndarray) -> float:
    """Kappa from how often each category was given to each unit [N, C], every unit by the same number of coders."""
    m = counts.sum(1)
    if not len(counts) or m[0] < 2 or (m != m[0]).any():
        return float("nan")
    agreed = float(((counts * (counts - 1)).sum(1) / (m * (m - 1))).mean())
    by_chance = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")
