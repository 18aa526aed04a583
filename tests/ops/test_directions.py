"""Directions against planted ones, scikit-learn, and finite differences; the pitfall of pairs in fixed order."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from exegete.ops.directions import WAYS, consistency_loss, direction, midway


def planted(n=300, d=32, shift=3.0, pair_noise=1.0, seed=0):
    """Pairs of rows with a common part of their own, which differ along one direction."""
    rng = np.random.default_rng(seed)
    u = rng.normal(size=d)
    u /= np.linalg.norm(u)
    own = 5 * rng.normal(size=(n, d))
    noise = pair_noise * rng.normal(size=(2, n, d)) * 0.3
    return own + shift * u + noise[0], own - shift * u + noise[1], u


@pytest.mark.parametrize("way", ["pair PCA"])
def test_pairs_in_fixed_order_are_no_pitfall(way):
    first, second, u = planted()
    found = direction(way, first, second, np.random.default_rng(0))
    assert found @ u >= 0.99
    fixed = PCA(1).fit(first - second).components_[0]
    assert abs(fixed @ u) < 0.5  # the same pairs in fixed order: the direction is centred away


@pytest.mark.parametrize("way", WAYS)
def test_every_way_finds_the_planted_direction_where_noise_is_round(way):
    rng = np.random.default_rng(1)
    u = np.eye(12)[3]
    first, second = rng.normal(size=(400, 12)) + 4 * u, rng.normal(size=(400, 12)) - 4 * u
    v = direction(way, first, second, rng)
    assert v @ u > 0.95
    assert np.linalg.norm(v) == pytest.approx(1)
    assert abs(midway(v, first, second)) < 0.5
    assert direction(way, second, first, rng) @ u < -0.95


def test_mass_mean_is_linear_discriminant_analysis():
    rng = np.random.default_rng(2)
    mix = np.eye(8) + 0.3 * rng.normal(size=(8, 8))
    first, second = rng.normal(size=(4000, 8)) @ mix + 1, rng.normal(size=(3000, 8)) @ mix
    lda = LinearDiscriminantAnalysis()
    lda.fit(np.concatenate([first, second]), np.repeat([1, 0], [4000, 3000]))
    w = lda.coef_[0] / np.linalg.norm(lda.coef_[0])
    assert direction("mass mean", first, second, rng) @ w > 0.995


def test_the_gradient_of_the_consistency_loss():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 20, 5))
    gap = check_grad(
        lambda w: consistency_loss(w, a, b)[0], lambda w: consistency_loss(w, a, b)[1], rng.normal(size=6)
    )
    assert gap < 1e-5
