"""Orders of dimensions against brute force and scikit-learn; sparse probes against scikit-learn; correlations against theorems."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import f1_score

from exegete.ops.cross_correlation import correlations, regression, standard, svcca
from exegete.ops.elastic_net import elastic_net
from exegete.ops.neuron_rank import by_mass, contrast, heaviest, probeless
from exegete.ops.sparse_probe import adaptive, always_yes, f1, logistic


def rows(n=300, dim=6, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return rng.normal(size=(n, dim)) + rng.normal(size=(classes, dim))[y], y


def test_probeless_is_the_sum_over_pairs():
    x, y = rows()
    q = [x[y == v].mean(0) for v in range(4)]
    slow = sum(np.abs(q[a] - q[b]) for a in range(4) for b in range(a))
    assert np.allclose(probeless(x, y, 4), slow)


def test_contrast_by_hand():
    x, y = rows()
    slow = np.stack([np.abs(x[y == v].mean(0) - x[y != v].mean(0)) / x.std(0) for v in range(4)], 1)
    assert np.allclose(contrast(x, y, 4), slow)


def test_mass_by_hand():
    weight = np.array([[4.0, 0.0], [-3.0, 0.0], [1.0, 1.0], [0.0, -9.0], [0.0, 0.0]])
    assert by_mass(weight) == pytest.approx([0.0, 0.5, 0.875, 0.0, 1.0])
    assert [c.tolist() for c in heaviest(weight, 0.5)] == [[0], [3]]
    assert [c.tolist() for c in heaviest(weight, 0.8)] == [[0, 1], [3]]
    assert [c.tolist() for c in heaviest(weight, 1.0)] == [[0, 1, 2], [3, 2]]


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.005), (0.02, 0.01), (0.0, 0.05)])
def test_elastic_net_is_scikit_learns(l1, l2):
    x, y = rows()
    ours = elastic_net(x, y, 4, l1, l2, tolerance=1e-8, most_steps=20_000)
    c = 1 / (len(x) * (l1 + 2 * l2))
    theirs = LogisticRegression(
        solver="saga", C=c, l1_ratio=l1 / (l1 + 2 * l2), penalty="elasticnet", tol=1e-8, max_iter=20_000
    ).fit(x, y)
    assert np.allclose(ours.weight, theirs.coef_.T, atol=2e-3)
    assert ((ours.weight == 0).sum() > 0) == (l1 > 0)


def test_a_balanced_probe_is_scikit_learns():
    x, y = rows()
    own = y == 1
    side = logistic(x, own, np.array([0, 2, 5]))
    # ridge w^2 / 200 beside a mean loss: C = 1 / (n ridge)
    theirs = LogisticRegression(C=100 / len(x), class_weight="balanced", tol=1e-8).fit(x[:, [0, 2, 5]], own)
    assert np.allclose(side.weight, theirs.coef_[0], atol=1e-3)
    says = side.says(x)
    assert f1(says, own) == pytest.approx(f1_score(own, says))
    assert f1(np.ones_like(own), own) == pytest.approx(always_yes(own))
    assert f1(says, own, np.ones((1, len(x))))[0] == pytest.approx(f1_score(own, says))


def test_adaptive_keeps_the_planted_dimension():
    rng = np.random.default_rng(0)
    own = rng.random(500) < 0.3
    x = rng.normal(size=(500, 20))
    x[:, 13] += 2.5 * own
    found = adaptive(x, own, np.arange(20), (1, 4, 8))
    assert found[1].dims.tolist() == [13]
    assert 13 in found[4].dims
    assert set(found[4].dims) <= set(found[8].dims)


def test_regression_and_svcca_against_scikit_learn():
    """With whole subspaces SVCCA is the share of variance that a linear fit explains on the rows that it was fitted on."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5))
    y = x @ rng.normal(size=(5, 7)) + 0.8 * rng.normal(size=(400, 7))
    explained = [LinearRegression().fit(y, x[:, i]).score(y, x[:, i]) for i in range(5)]
    assert np.allclose(svcca(x, y, 1.0), explained, atol=1e-9)
    fitted, judged = np.arange(200), np.arange(200, 400)
    held_out = [
        LinearRegression().fit(y[fitted], x[fitted, i]).score(y[judged], x[judged, i]) for i in range(5)
    ]
    assert np.allclose(regression(x, y, fitted, judged), held_out, atol=0.02)
    assert np.allclose(correlations(x, y), np.abs(np.corrcoef(x.T, y.T)[:5, 5:]))


def test_a_turned_copy_is_found_by_regression_and_noise_by_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8))
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    noise = rng.normal(size=(2000, 8))
    half = np.arange(1000), np.arange(1000, 2000)
    assert regression(x, x @ turn, *half).min() > 0.99
    assert svcca(x, x @ turn, 1.0).min() > 0.999
    assert correlations(x, x @ turn).max(1).min() < 0.9  # no single dimension is the same
    assert regression(x, noise, *half).max() < 0.02
    assert svcca(x, noise, 1.0).max() < 0.05
    assert not standard(np.ones((5, 2))).any()
