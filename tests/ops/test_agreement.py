"""Agreement of coders against published worked examples and against the definition by pairs."""

from itertools import combinations

import numpy as np
import pytest

from exegete.ops.agreement import counts_of, fleiss_kappa, krippendorff_alpha

NO = float("nan")
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": section A (two observers, binary), section C (four, nominal, missing)
BINARY = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], dtype=float)
NOMINAL = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NO, NO, NO],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NO, 3],
        [NO, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NO],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NO],
    ]
)
# the worked example of Fleiss' kappa: 14 raters put 10 subjects into 5 categories
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ],
    dtype=float,
)  # fmt: skip


def test_published_examples():
    assert krippendorff_alpha(counts_of(BINARY)) == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(counts_of(NOMINAL)) == pytest.approx(0.743, abs=5e-4)
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_alpha_is_one_minus_disagreement_within_over_disagreement_among_all():
    """By pairs of values, each unit's weighted by one over its number of values less one."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, (4, 15)).astype(float)
    values[rng.random(values.shape) < 0.3] = NO
    within, n, pool = 0.0, 0, []
    for unit in values.T:
        known = unit[np.isfinite(unit)]
        if len(known) > 1:
            within += 2 * sum(a != b for a, b in combinations(known, 2)) / (len(known) - 1)
            n += len(known)
            pool += known.tolist()
    among = 2 * sum(a != b for a, b in combinations(pool, 2)) / (n * (n - 1))
    assert krippendorff_alpha(counts_of(values)) == pytest.approx(1 - within / n / among)


def test_ends():
    same = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]], dtype=float)
    assert krippendorff_alpha(counts_of(same)) == fleiss_kappa(counts_of(same)) == pytest.approx(1)
    assert np.isnan(krippendorff_alpha(counts_of(np.ones((3, 4)))))
    assert np.isnan(fleiss_kappa(np.array([[3.0, 0], [2, 0]])))
    dealt = np.random.default_rng(1).integers(0, 2, (3, 4000)).astype(float)
    assert abs(krippendorff_alpha(counts_of(dealt))) < 0.03 and abs(fleiss_kappa(counts_of(dealt))) < 0.03
