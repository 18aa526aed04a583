"""The interval of a share is exact at the ends, where a bootstrap has no width."""

import numpy as np
import pytest

from exegete.ops.stats import bootstrap_mean, share_interval


def test_all_of_three_is_no_proof_of_all():
    """The least share of which three of three is still 2.5 % likely has p^3 = 0.025."""
    low, high = share_interval(np.ones(3))
    assert low == pytest.approx(0.025 ** (1 / 3))
    assert high == 1.0
    assert bootstrap_mean(np.ones(3)) == (1.0, 1.0)  # what it stands in for


def test_it_covers_the_true_share():
    rng = np.random.default_rng(0)
    ends = [share_interval((rng.random(12) < 0.9).astype(float)) for _ in range(400)]
    assert np.mean([low <= 0.9 <= high for low, high in ends]) >= 0.95


def test_shares_between_are_the_bootstraps_and_one_value_has_none():
    x = np.array([0.0, 0.5, 1.0, 0.5])
    assert share_interval(x, 3) == bootstrap_mean(x, 3)
    assert share_interval(np.ones(1)) is None
