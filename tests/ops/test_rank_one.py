"""Rank-one arithmetic against its own optimality, a slow twin, and counted texts."""

import math

import numpy as np
import pytest

from exegete.ops.rank_one import direction, ngram_entropy


@pytest.fixture
def problem():
    draw = np.random.default_rng(0)
    keys = draw.normal(size=(200, 6)) @ draw.normal(size=(6, 6))
    return keys, keys.T @ keys / len(keys), draw.normal(size=6), draw.normal(size=4)


def disturbance(keys: np.ndarray, change: np.ndarray) -> float:
    """Mean squared change of what other keys are answered with."""
    return float(np.mean([np.sum((k @ change) ** 2) for k in keys]))


def test_no_other_change_that_writes_the_value_disturbs_less(problem):
    keys, moment, key, value = problem
    best = np.outer(direction(moment, key), value)
    assert key @ best == pytest.approx(value)
    draw = np.random.default_rng(1)
    for size in (1.0, 0.1, 1e-3):
        other = size * draw.normal(size=best.shape)
        other -= np.outer(key / (key @ key), key @ other)  # what leaves the value at the key alone
        assert key @ (best + other) == pytest.approx(value)
        assert disturbance(keys, best + other) > disturbance(keys, best)
    shortest = np.outer(direction(np.eye(6), key), value)
    assert shortest == pytest.approx(np.outer(key / (key @ key), value))
    assert disturbance(keys, shortest) > disturbance(keys, best)  # C = I is not the best for these keys


def test_a_ridge_bounds_what_no_text_used():
    """A singular C has no inverse; with a ridge the unused direction is preferred, and finite."""
    moment, key = np.diag([1.0, 0.0]), np.array([1.0, 1.0])
    r = direction(moment, key, ridge=1e-6)
    assert r @ key == pytest.approx(1.0)
    assert r == pytest.approx([0.0, 1.0], abs=1e-5)


def test_entropy_of_counted_texts():
    assert ngram_entropy("aaaaaa") == 0.0
    # bigrams ab ba: 3 and 2 of 5; trigrams aba bab: 2 and 2 of 4
    two = -(0.6 * math.log2(0.6) + 0.4 * math.log2(0.4))
    assert ngram_entropy("ababab") == pytest.approx((2 / 3 * two + 4 / 3 * 1.0) / 2)
    assert ngram_entropy(range(9)) == pytest.approx((2 / 3 * 3 + 4 / 3 * math.log2(7)) / 2)
    assert ngram_entropy([1]) == ngram_entropy([]) == 0.0
