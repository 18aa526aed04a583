"""LEACE: nothing linear is left, and no other erasing map moves the rows less."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from exegete.ops.leace import leace


def rows(n=400, d=10, n_labels=2, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_labels, n)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 2 * rng.normal(size=(n_labels, d))[y], y


def coefficients(x, y):
    return np.abs(LogisticRegression(C=10.0, tol=1e-8, max_iter=5000).fit(x, y).coef_).max()


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_no_linear_probe_beats_chance_after_erasure(n_labels):
    x, y = rows(n_labels=n_labels)
    erased = leace(x, y)(x)
    assert coefficients(erased, y) < 1e-4
    assert coefficients(x, y) > 1e-2
    means = np.array([erased[y == k].mean(0) for k in range(n_labels)])
    assert np.abs(means - means[0]).max() < 1e-10
    assert len(leace(x, y).a) == n_labels - 1


def test_taking_out_the_mean_difference_alone_moves_more():
    """The orthogonal projection erases as well and moves the rows further."""
    x, y = rows()
    v = x[y == 1].mean(0) - x[y == 0].mean(0)
    v /= np.linalg.norm(v)
    plain = x - np.outer((x - x.mean(0)) @ v, v)
    assert coefficients(plain, y) < 1e-4
    moved, other = (((e - x) ** 2).sum(1).mean() for e in (leace(x, y)(x), plain))
    assert moved < other


def test_no_map_that_erases_moves_the_rows_less():
    """Brute force over all rank-one maps x - a (b . (x - mean)) that make the means equal: b . gap must be 1 with a = gap."""
    x, y = rows(n=300, d=4)
    gap, centred = x[y == 1].mean(0) - x[y == 0].mean(0), x - x.mean(0)

    def moved(b):
        b = b / (b @ gap)
        return (((centred @ b)[:, None] * gap) ** 2).sum(1).mean()

    rng = np.random.default_rng(0)
    best = min(minimize(moved, rng.normal(size=4)).fun for _ in range(10))
    own = ((leace(x, y)(x) - x) ** 2).sum(1).mean()
    assert own == pytest.approx(best, rel=1e-5)


def test_what_does_not_vary_and_what_is_not_told_stay():
    x, y = rows(d=6)
    x[:, 2] = 7.0  # a unit that never changes
    erased = leace(x, y)(x)
    assert np.allclose(erased[:, 2], 7.0)
    assert coefficients(erased, y) < 1e-4
    twice = np.concatenate([x, x])
    assert np.allclose(leace(twice, np.repeat([0, 1], len(x)))(twice), twice)
    assert np.allclose(leace(x, y)(erased), erased, atol=1e-8)  # erasing again changes nothing


def test_shrunk_it_erases_as_exactly_and_moves_other_rows_less_where_rows_are_few():
    x, y = rows(n=40, d=30)
    other, _ = rows(n=500, d=30)
    plain, shrunk = leace(x, y), leace(x, y, shrink=True)
    assert coefficients(shrunk(x), y) < 1e-4
    assert ((shrunk(other) - other) ** 2).sum() < 0.5 * ((plain(other) - other) ** 2).sum()
