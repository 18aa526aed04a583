"""Intervals against scipy and by coverage; percentiles by hand."""

import numpy as np
import pytest
from scipy import stats

from exegete.ops.stats import best_crowd, bootstrap_groups, bootstrap_mean, bounded_mean, midrank_percentile


@pytest.mark.parametrize("kind", ["bca", "percentile"])
def test_bootstrap_agrees_with_scipy(kind):
    x = np.random.default_rng(0).exponential(size=40)
    mine = bootstrap_mean(x, kind=kind, n_resamples=20_000)
    method = {"bca": "BCa", "percentile": "percentile"}[kind]
    rng = np.random.default_rng(1)
    twin = stats.bootstrap((x,), np.mean, n_resamples=20_000, method=method, rng=rng).confidence_interval
    assert mine == pytest.approx(tuple(twin), abs=0.02)


def test_bca_differs_from_percentile_on_a_skewed_sample():
    x = np.random.default_rng(0).exponential(size=20) ** 2
    assert bootstrap_mean(x)[1] > bootstrap_mean(x, kind="percentile")[1]


def test_coverage_is_near_its_level():
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(300):
        low, high = bootstrap_mean(rng.normal(size=30), seed=trial, n_resamples=500)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_small_and_constant_samples():
    assert bootstrap_mean(np.array([1.0])) is None
    assert bootstrap_mean(np.array([])) is None
    assert bootstrap_mean(np.full(5, 0.25)) == (0.25, 0.25)


def test_the_same_seed_gives_the_same_interval():
    x = np.random.default_rng(2).normal(size=15)
    assert bootstrap_mean(x, 3) == bootstrap_mean(x, 3) != bootstrap_mean(x, 4)


def test_percentile_by_hand():
    draws = np.array([0.0, 1.0, 1.0, 2.0])
    assert midrank_percentile(1.0, draws) == 50.0  # beats one, ties two halves
    assert midrank_percentile(3.0, draws) == 100.0
    assert midrank_percentile(0.0, draws, "lower") == 87.5
    assert midrank_percentile(-1.0, draws) == 0.0


def test_best_crowd_counts_the_draws_at_the_top_only_for_a_value_that_is_there_too():
    draws = np.array([0.0, 0.2, 0.995, 1.0])
    assert best_crowd(1.2, draws) == 50.0
    assert best_crowd(0.991, draws) == 50.0
    assert best_crowd(0.5, draws) is None
    assert best_crowd(0.0, draws, "lower") == 25.0
    assert best_crowd(0.2, draws, "lower") is None


def test_groups_are_drawn_whole():
    """Values that agree within groups are worth as many as there are groups; the mean is over values, whatever the groups' sizes."""
    each = np.repeat(np.arange(2.0), 50)
    assert bootstrap_groups(each, np.repeat([0, 1], 50)) == (0.0, 1.0)
    low, high = bootstrap_groups(each, np.arange(100))
    assert 0.3 < low < high < 0.7
    assert bootstrap_groups(each, np.zeros(100)) is None
    assert bootstrap_groups(np.ones(9), np.repeat([0, 1, 2], [1, 2, 6])) == (1.0, 1.0)


def test_the_mean_of_few_answers_is_as_unsure_as_clopper_and_pearson_say():
    """Of shares that are all of the same answers, exactly; and not narrower than the spread between them."""
    exact = stats.binomtest(11, 12).proportion_ci(0.95, "exact")
    equal = bounded_mean(np.full(3, 11 / 12), 4)
    assert equal == pytest.approx((exact.low, exact.high))
    x = np.array([0.2, 0.9, 0.9])
    student = stats.t.interval(0.95, 2, x.mean(), stats.sem(x))
    low, high = bounded_mean(x, 100)
    assert low == max(0.0, student[0]) and high == min(1.0, student[1])
    assert bounded_mean(np.array([1.0])) is None
    assert bounded_mean(np.array([1.0]), 4) == pytest.approx((0.025 ** (1 / 4), 1.0))


@pytest.mark.parametrize("p", [0.5, 0.8, 0.97])
def test_few_answers_cover_the_share_they_are_drawn_with(p):
    """Three draws of two answers; right answers, and numbers between 0 and 1 of the same mean."""
    rng = np.random.default_rng(2)
    for draw in (lambda: rng.binomial(2, p, 3) / 2, lambda: rng.beta(2 * p, 2 * (1 - p), (3, 2)).mean(1)):
        spans = [bounded_mean(draw(), 2) for _ in range(400)]
        assert np.mean([low <= p <= high for low, high in spans]) > 0.94
