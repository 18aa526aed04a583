"""Mixtures: the density of scipy, the fit of scikit-learn, and as many Gaussians as there are."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from exegete.ops.gaussian import Gaussian, Moments
from exegete.ops.gaussian_mixture import chosen_mixture, fit_mixture


def rows(n_kinds: int, n=900, seed=0):
    """Correlated rows of some kinds, far apart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4))
    return x + 30 * rng.normal(size=(n_kinds, 4))[rng.integers(0, n_kinds, n)]


def test_the_fit_is_that_of_scikit_learn():
    x = rows(3)
    mine = fit_mixture(x, 3, 0.0, np.random.default_rng(0))
    theirs = GaussianMixture(3, random_state=0, n_init=5, reg_covar=0.0).fit(x)
    assert mine is not None
    assert -mine.surprisal(x).mean() == pytest.approx(float(theirs.score(x)), abs=0.01)
    assert np.sort(np.exp(mine.logs)) == pytest.approx(np.sort(np.asarray(theirs.weights_)), abs=0.01)
    one = fit_mixture(x, 1, 0.0, np.random.default_rng(0))
    assert one is not None and one.surprisal(x).mean() > mine.surprisal(x).mean() + 1


def test_surprisal_is_that_of_the_weighted_densities():
    x = rows(2)
    m = fit_mixture(x, 2, 0.1, np.random.default_rng(0))
    assert m is not None
    theirs = (multivariate_normal(g.mean, g.factor @ g.factor.T) for g in m.parts)  # type: ignore[arg-type]
    density = sum(np.exp(w) * t.pdf(x) for w, t in zip(m.logs, theirs))
    assert m.surprisal(x) == pytest.approx(-np.log(np.asarray(density)))


@pytest.mark.parametrize("shrink", [0.0, 1e-4])
@pytest.mark.parametrize("kinds", [1, 2, 4])
def test_as_many_are_chosen_as_there_are(kinds, shrink):
    x = rows(kinds)
    m = chosen_mixture(x[:600], x[600:], 8, shrink, np.random.default_rng(0))
    assert len(m.parts) == kinds


def test_more_gaussians_than_rows_allow_are_not_fitted():
    x = rows(1, 5)
    assert len(chosen_mixture(x, x[:0], 4, 0.1, np.random.default_rng(0)).parts) == 1
    assert fit_mixture(x, 4, 0.1, np.random.default_rng(0)) is None
    assert len(chosen_mixture(x, x, 4, 0.1, np.random.default_rng(0)).parts) == 1


def test_one_is_the_gaussian_of_a_stream_and_rows_that_are_alike_make_no_needle():
    x = rows(1)
    moments = Moments(4)
    moments.add(x)
    one = fit_mixture(x, 1, 0.02, np.random.default_rng(0))
    assert one is not None
    assert one.surprisal(x) == pytest.approx(Gaussian.of(moments, 0.02).surprisal(x))
    alike = np.concatenate([x, np.repeat(x[:1] + 50, 40, axis=0)])
    two = fit_mixture(alike, 2, 0.02, np.random.default_rng(0))
    assert two is not None and np.isfinite(two.surprisal(alike)).all()
    assert two.surprisal(alike[-1:])[0] > -10
