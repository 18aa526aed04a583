"""The statistics of structure against hand counts, theorems and brute force."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from exegete.ops.structure import banding, correlations, matching, mutual_information


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40))
def test_mutual_information_is_that_of_another_implementation(pairs):
    branch, kind = (np.array(column) for column in zip(*pairs))
    assert mutual_information(branch, kind) == pytest.approx(mutual_info_score(branch, kind), abs=1e-9)


def test_sorted_units_reach_the_entropy_and_mixed_ones_nothing():
    branch = np.repeat(np.arange(4), 8)
    assert mutual_information(branch, branch) == pytest.approx(np.log(4))
    assert mutual_information(branch, np.tile(np.arange(8), 4)) == pytest.approx(0, abs=1e-12)


def test_banding_is_one_for_bands_and_nothing_for_none():
    rows = np.outer(np.arange(1, 7), np.ones(5))
    assert banding(rows) == pytest.approx((1, 0))
    assert banding(-rows.T) == pytest.approx((0, 1))
    assert banding(rows[:, :4] + np.arange(4)) == pytest.approx(
        (sum(banding(rows[:, :4] + np.arange(4))), 0), abs=1
    )
    assert sum(banding(rows[:, :4] + np.arange(4))) == pytest.approx(
        1
    )  # row term + column term holds everything
    assert banding(np.full((3, 4), -2.0)) == (0.0, 0.0)
    noise = np.random.default_rng(0).standard_normal((200, 300))
    assert sum(banding(noise)) < 0.02


def test_banding_adds_up_as_an_analysis_of_variance():
    w = np.random.default_rng(1).standard_normal((6, 7))
    x = np.abs(w)
    fit = x.mean(1, keepdims=True) + x.mean(0, keepdims=True) - x.mean()
    rest = ((x - fit) ** 2).sum() / ((x - x.mean()) ** 2).sum()
    assert sum(banding(w)) == pytest.approx(1 - rest)


def test_correlations_are_numpys_and_zero_where_nothing_varies():
    draw = np.random.default_rng(2)
    x, y = draw.standard_normal((20, 3)), draw.standard_normal((20, 4))
    assert np.allclose(correlations(x, y), np.corrcoef(x.T, y.T)[:3, 3:])
    x[:, 1] = 5.0
    assert (correlations(x, y)[1] == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_matching_is_the_best_of_all_permutations(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.standard_normal((12, 5)), draw.standard_normal((12, 5))
    table = correlations(x, y)
    best = max(permutations(range(5)), key=lambda p: sum(table[i, p[i]] for i in range(5)))
    found, mean = matching(x, y)
    assert tuple(found) == best
    assert mean == pytest.approx(np.mean([table[i, best[i]] for i in range(5)]))


def test_matching_finds_a_planted_permutation():
    draw = np.random.default_rng(9)
    x, order = draw.standard_normal((50, 16)), draw.permutation(16)
    y = np.empty_like(x)
    y[:, order] = x
    found, mean = matching(x, y + 0.01 * draw.standard_normal(x.shape))
    assert (found == order).all()
    assert mean > 0.99
