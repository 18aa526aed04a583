"""Intervals of few and of equal values: by coverage, by the sign test, and by the ends that are known exactly."""

import numpy as np
import pytest

from exegete.ops.stats import (
    bootstrap_groups,
    bootstrap_mean,
    groups_interval,
    mean_interval,
    share_interval,
    unseen,
)
from exegete.ops.verdicts import critical

SIGNS = (-1.0, 1.0)


@pytest.mark.parametrize("n", [3, 6, 9, 14])
def test_it_holds_the_mean_where_the_bootstrap_does_not(n):
    """Gains of which most are 0: three in four samples of three have no spread at all."""
    rng, truth = np.random.default_rng(n), 0.1
    held, naive = 0, 0
    for k in range(300):
        x = rng.choice([-1.0, 0.0, 1.0], n, p=[0.05, 0.8, 0.15])
        low, high = mean_interval(x, k, SIGNS)
        held += low <= truth <= high
        low, high = bootstrap_mean(x, k, n_resamples=200)
        naive += low <= truth <= high
    assert held / 300 >= 0.93
    assert n > 9 or naive / 300 < 0.9


@pytest.mark.parametrize("n", range(2, 12))
def test_equal_gains_are_told_apart_from_nothing_as_by_a_sign_test(n):
    low, high = mean_interval(np.ones(n), 0, SIGNS)
    assert (low > 0) == (critical(n) <= n)
    assert high == 1.0


def test_the_ends_are_exact_and_equal_values_as_wide():
    for x in (np.ones(5), np.array([0.0, 1, 1, 1])):
        assert mean_interval(x, 0, (0.0, 1.0)) == pytest.approx(share_interval(x))
    assert mean_interval(np.ones(5), 0, (0.0, 1.0)) == pytest.approx(unseen(1.0, 5, (0.0, 1.0)))
    # of four values one in 1 - 0.025^(1/4) may be another, which stands at either end
    share = 1 - 0.025**0.25
    assert mean_interval(np.full(4, 0.5), 0, (0.0, 1.0)) == pytest.approx((0.5 - share / 2, 0.5 + share / 2))
    x = np.random.default_rng(0).normal(size=30)
    assert mean_interval(x, 3) == bootstrap_mean(x, 3)
    assert mean_interval(np.ones(1)) is None


def test_two_values_on_one_side_are_no_proof_of_that_side():
    """Two draws of anything even about 0 are on one side half of the time."""
    low, high = mean_interval(np.array([0.4, 0.6]))
    assert low < 0 < high
    assert bootstrap_mean(np.array([0.4, 0.6]))[0] > 0  # what it stands in for


@pytest.mark.parametrize("texts", [3, 5, 20])
def test_groups_hold_the_mean(texts):
    rng = np.random.default_rng(texts)
    groups = np.repeat(np.arange(texts), 3)
    held = 0
    for k in range(300):
        x = (rng.normal(size=(texts, 1)) + 0.3 * rng.normal(size=(texts, 3))).ravel()
        low, high = groups_interval(x, groups, k)
        held += low <= 0 <= high
    assert held / 300 >= 0.91
    x = rng.normal(size=60)
    assert groups_interval(x, np.repeat(np.arange(20), 3), 2) == bootstrap_groups(
        x, np.repeat(np.arange(20), 3), 2
    )


def test_equal_values_count_by_groups():
    groups = np.repeat(np.arange(4), 9)
    assert groups_interval(np.zeros(36), groups, 0, (0.0, 1.0)) == pytest.approx(unseen(0.0, 4, (0.0, 1.0)))
    assert groups_interval(np.zeros(9), np.zeros(9), 0, (0.0, 1.0)) is None
