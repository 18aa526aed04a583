"""Gaussians of a stream: the same as all at once, and as scipy's."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from exegete.core.errors import InputError
from exegete.ops.gaussian import Gaussian, Moments

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)) @ RNG.normal(size=(5, 5)) + 1e4


def moments(*chunks):
    m = Moments(5)
    for c in chunks:
        m.add(c)
    return m


def test_chunks_are_as_good_as_all_at_once():
    m = moments(X[:1], X[1:50], X[:0], X[50:])
    assert m.n == 300
    assert m.mean == pytest.approx(X.mean(0), rel=1e-12)
    assert m.covariance == pytest.approx(np.cov(X.T, bias=True), rel=1e-8)
    naive = (X.astype(np.float32).T @ X.astype(np.float32)) / 300 - np.outer(X.mean(0), X.mean(0))
    assert np.abs(naive - np.cov(X.T, bias=True)).max() > 1e-3  # what sums of squares would give


@pytest.mark.parametrize("shrink", [0.0, 0.1, 1.0])
def test_surprisal_is_that_of_scipy(shrink):
    cov = np.cov(X.T, bias=True)
    cov = (1 - shrink) * cov + shrink * np.trace(cov) / 5 * np.eye(5)
    theirs = -multivariate_normal(X.mean(0), cov).logpdf(X[:20])
    assert Gaussian.of(moments(X), shrink).surprisal(X[:20]) == pytest.approx(theirs, rel=1e-6)


def test_what_does_not_vary_gets_a_letter():
    with pytest.raises(InputError, match="do not vary"):
        Gaussian.of(moments(np.ones((4, 5))), 0.1)
