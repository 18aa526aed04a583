"""The greedy Gaussian probe against fitting every candidate again, and against scipy; planted dimensions; a copy is skipped."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from exegete.core.errors import InputError
from exegete.ops import subset_probe
from exegete.ops.gaussian_probe import along, fit, greedy


def planted(n=400, dim=9, seed=0, noise=1.0):
    """Three dimensions (1, 4, 6) carry the label of four classes, each less than the one before; 7 is a copy of 1."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    x = rng.normal(size=(n, dim))
    x[:, 1] += 4.0 * (y // 2) * noise
    x[:, 4] += 3.0 * (y % 2) * noise
    x[:, 6] += 1.2 * (y == 3) * noise
    x[:, 7] = x[:, 1] + 0.1 * rng.normal(size=n)
    return x, y


def refit(x, y, dims):
    """Mean log p(label | row) of Gaussians with the prior, fitted on these dimensions alone; scipy's densities."""
    joint = np.empty((len(x), y.max() + 1))
    within = sum(((x[y == v][:, dims] - x[y == v][:, dims].mean(0)) ** 2).sum(0) for v in range(4)) / len(x)
    for v in range(joint.shape[1]):
        rows = x[y == v][:, dims]
        n = len(rows)
        scatter = (rows - rows.mean(0)).T @ (rows - rows.mean(0))
        covariance = (10.0 * np.diag(within) + scatter) / (10.0 + n)
        joint[:, v] = multivariate_normal(rows.mean(0), covariance).logpdf(x[:, dims]) + np.log(n / len(x))
    top = joint.max(1, keepdims=True)
    return float((joint[np.arange(len(x)), y] - top[:, 0] - np.log(np.exp(joint - top).sum(1))).mean())


def slow(x, y, k):
    order, told = [], []
    for _ in range(k):
        worth = {j: refit(x, y, [*order, j]) for j in range(x.shape[1]) if j not in order}
        order.append(max(worth, key=worth.__getitem__))
        told.append(worth[order[-1]])
    return order, told


@pytest.mark.parametrize("seed", range(3))
def test_the_update_is_the_full_refit(seed):
    rng = np.random.default_rng(seed)
    x, y = planted(seed=seed, noise=0.5)
    x = x @ (np.eye(9) + 0.3 * rng.normal(size=(9, 9)))  # everything correlated
    found = greedy(fit(x, y, 4), x, y, 6)
    order, told = slow(x, y, 6)
    assert found.order.tolist() == order
    assert np.allclose(found.told[1:], told, atol=1e-9)
    assert found.told[0] == pytest.approx(np.log(np.bincount(y) / len(y))[y].mean())


def test_chunks_do_not_change_anything(monkeypatch):
    x, y = planted()
    whole = greedy(fit(x, y, 4), x, y, 5)
    monkeypatch.setattr("exegete.ops.gaussian_probe.AT_ONCE", 4 * len(x) * 2)
    parts = greedy(fit(x, y, 4), x, y, 5)
    assert whole.order.tolist() == parts.order.tolist()
    assert np.allclose(whole.told, parts.told)


def test_the_posterior_is_what_greedy_says():
    x, y = planted()
    model = fit(x, y, 4)
    found = greedy(model, x, y, 4)
    for k in range(1, 5):
        told = model.log_posterior(x, found.order[:k])[np.arange(len(x)), y].mean()
        assert told == pytest.approx(found.told[k], abs=1e-9)
    assert np.allclose(along(model, x, y, found.order).mean(1), found.told, atol=1e-9)
    assert sorted([*found.order, *found.rest]) == list(range(9))


def test_planted_dimensions_come_first_and_the_copy_is_skipped():
    x, y = planted(4000)
    order = greedy(fit(x, y, 4), x, y, 4).order.tolist()
    assert set(order[:3]) - {1, 7} == {4, 6}
    assert len({1, 7} & set(order[:3])) == 1  # one of the two copies, not both


def test_an_exact_copy_stays_finite():
    x, y = planted()
    x[:, 7] = x[:, 1]
    x[:, 8] = 2.0  # constant
    found = greedy(fit(x, y, 4), x, y, 9)
    assert np.isfinite(found.told).all()
    assert sorted(found.order.tolist()) == list(range(9))


def test_labels_that_say_nothing_gain_nothing():
    x, y = planted(noise=0.0)
    train, test = np.arange(200), np.arange(200, 400)
    model = fit(x[train], y[train], 4)
    found = greedy(model, x[test], y[test], 5)
    assert found.told[1:].max() - found.told[0] < 0.05


def test_a_class_without_rows_is_refused():
    with pytest.raises(InputError, match="no rows"):
        fit(np.zeros((3, 2)), np.array([0, 0, 2]), 3)


def test_a_subset_probe_is_the_probe_fitted_on_the_subset():
    x, y = planted(noise=0.6)
    whole = subset_probe.fit(x, y, 4)
    for dims in ([1], [4, 6], [0, 2, 6, 8]):
        part = subset_probe.fit(x[:, dims], y, 4)
        assert np.allclose(whole.scores(x, dims), part.scores(x[:, dims], range(len(dims))), atol=1e-8)


def test_a_subset_probe_agrees_with_scikit_learn():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = planted(2000, noise=0.6)
    ours = subset_probe.fit(x, y, 4).hits(x, y, range(6))
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x[:, :6], y).predict(x[:, :6]) == y
    assert np.mean(ours == theirs) > 0.998
    assert ours.mean() > 0.5
