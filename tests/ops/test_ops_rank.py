"""Orders and agreement against slow twins and scipy."""

import numpy as np
import pytest
from scipy import stats

from exegete.ops.rank import (
    descending,
    random_orders,
    rank_correlation,
    row_correlation,
    top_jaccard,
    top_overlap,
)

RNG = np.random.default_rng(3)
ROWS = np.round(RNG.normal(size=(4, 12)), 1)  # rounded, so that there are ties


def test_descending_keeps_ties_in_order():
    assert descending(np.array([1.0, 3.0, 1.0, 3.0])).tolist() == [1, 3, 0, 2]
    many = np.tile([0.0, 1.0], 50)  # long enough that an unstable sort would mix them
    assert descending(many).tolist() == [*range(1, 100, 2), *range(0, 100, 2)]


def test_spearman_and_kendall_agree_with_scipy():
    for i in range(4):
        for j in range(4):
            rho, tau = stats.spearmanr(ROWS[i], ROWS[j])[0], stats.kendalltau(ROWS[i], ROWS[j])[0]
            assert rank_correlation(ROWS)[i, j] == pytest.approx(rho, abs=1e-12)
            assert rank_correlation(ROWS, "kendall")[i, j] == pytest.approx(tau, abs=1e-12)


def test_a_constant_row_has_no_correlation():
    both = np.stack([np.ones(5), np.arange(5.0)])
    for kind in ("spearman", "kendall"):
        found = rank_correlation(both, kind)
        assert np.isnan(found[0]).all() and found[1, 1] == pytest.approx(1)
    assert np.isnan(row_correlation(both[:1], both[1:])[0])


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [("pearson", stats.pearsonr), ("spearman", stats.spearmanr), ("kendall", stats.kendalltau)],
)
def test_row_correlation_is_scipys(kind, theirs):
    other = np.round(RNG.normal(size=ROWS.shape), 1)
    slow = [theirs(a, b)[0] for a, b in zip(ROWS, other)]
    assert row_correlation(ROWS, other, kind) == pytest.approx(slow, abs=1e-12)


def test_top_overlap_and_jaccard_against_sets():
    k = 4
    tops = [{int(i) for i in sorted(range(12), key=lambda u: (-abs(r[u]), u))[:k]} for r in ROWS]
    for i, a in enumerate(tops):
        for j, b in enumerate(tops):
            assert top_overlap(ROWS, k)[i, j] == pytest.approx(len(a & b) / k)
            assert top_jaccard(ROWS, k)[i, j] == pytest.approx(len(a & b) / len(a | b))


def test_random_orders_are_permutations_in_reversed_pairs():
    found = random_orders(7, 11, np.random.default_rng(0))
    assert found.shape == (11, 7)
    assert (np.sort(found, 1) == np.arange(7)).all()
    assert (found[0:10:2] == found[1:10:2, ::-1]).all()


def test_random_orders_are_uniform():
    """Each of the six orders of three things comes equally often (chi-square over independent halves)."""
    first = random_orders(3, 12_000, np.random.default_rng(1))[::2]
    counts = np.unique(first @ [9, 3, 1], return_counts=True)[1]
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 0.01
