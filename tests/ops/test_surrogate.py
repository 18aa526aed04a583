"""Linear fits against scikit-learn, standard errors against repetition, surrogates against known functions."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso, Ridge

from exegete.ops.linear import bootstrap, lasso, r_squared, ridge
from exegete.ops.perturb import bernoulli, removals, subsets
from exegete.ops.surrogate import Surrogate, contrast, cosine_weights, effective, rank_agreement


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = bernoulli(rng, 60, 7)
    return x, x @ rng.normal(size=(7, 2)) + rng.normal(size=(60, 2)), rng.random(60) + 0.1


@pytest.mark.parametrize("alpha", [0.0, 0.3, 5.0])
def test_ridge_is_scikit_learns(data, alpha):
    x, y, w = data
    want = Ridge(alpha=alpha).fit(x, y, sample_weight=w)
    found = ridge(x, y, w, alpha)
    assert found.coef == pytest.approx(want.coef_.T, abs=1e-8)
    assert found.intercept == pytest.approx(want.intercept_, abs=1e-8)
    assert found(x) == pytest.approx(want.predict(x), abs=1e-8)


def test_weighted_least_squares_written_out(data):
    x, y, w = data
    z = np.column_stack([np.ones(len(x)), x])
    want = np.linalg.solve(z.T @ np.diag(w) @ z, z.T @ np.diag(w) @ y)
    assert ridge(x, y, w).coef == pytest.approx(want[1:], abs=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.1, 3.0])
def test_lasso_is_scikit_learns(data, alpha):
    x, y, w = data
    found = lasso(x, y, w, alpha)
    for c in range(2):
        if alpha:
            want = Lasso(alpha=alpha, tol=1e-10, max_iter=100_000).fit(x, y[:, c], sample_weight=w)
            assert found.coef[:, c] == pytest.approx(want.coef_, abs=1e-5)
            assert found.intercept[c] == pytest.approx(want.intercept_, abs=1e-5)
        else:
            assert found.coef == pytest.approx(ridge(x, y, w).coef, abs=1e-5)
    assert (lasso(x, y, w, 50.0).coef == 0).all()


def test_sandwich_errors_are_calibrated():
    """Unequal noise: 95 % intervals cover the truth in about 95 % of 300 repetitions; so does the bootstrap."""
    rng, truth = np.random.default_rng(1), np.array([1.0, -2.0, 0.5])
    hit, boot = [], []
    for s in range(300):
        x = bernoulli(rng, 80, 3)
        y = (x @ truth + rng.normal(size=80) * (0.2 + x[:, 0]))[:, None]
        fit = ridge(x, y, np.ones(80))
        hit.append(np.abs(fit.coef[:, 0] - truth) < 1.96 * fit.stderr[:, 0])
        if s < 60:
            error = bootstrap(
                lambda rows, x=x, y=y: ridge(x[rows], y[rows], np.ones(80)).coef[:, 0], 80, rng, 60
            )
            boot.append(np.abs(fit.coef[:, 0] - truth) < 1.96 * error)
    assert 0.92 < np.mean(hit) < 0.98
    assert 0.87 < np.mean(boot) <= 1.0


def test_no_spare_data_no_standard_error():
    x = np.eye(3, dtype=bool)
    assert np.isnan(ridge(x, np.arange(3.0)[:, None], np.ones(3)).stderr).all()


def test_surrogate_finds_an_additive_game_exactly():
    rng = np.random.default_rng(2)
    w, keep = rng.normal(size=(8, 3)), removals(rng, 100, 8)
    found = Surrogate().fit(keep, 1.5 + keep @ w, cosine_weights(keep, 0.25))
    assert found.coef == pytest.approx(w, abs=1e-8)
    assert found.intercept == pytest.approx(1.5, abs=1e-8)


def test_surrogate_with_features_keeps_the_largest_and_errors_by_bootstrap():
    rng = np.random.default_rng(3)
    keep = removals(rng, 200, 6)
    values = keep @ np.array([[3.0], [0.1], [-4.0], [0.0], [0.2], [0.1]])
    surrogate = Surrogate(n_features=2)
    fit = surrogate.fit(keep, values, np.ones(200))
    assert (np.flatnonzero(fit.coef[:, 0]) == [0, 2]).all()
    error = surrogate.stderr(keep, values, np.ones(200), fit, rng)
    assert (error[[0, 2]] > 0).all()
    assert (error[[1, 3]] == 0).all()


def test_inactive_units_stay_out_of_the_fit():
    rng = np.random.default_rng(4)
    keep = removals(rng, 60, 4)
    values = np.column_stack([keep[:, 0], keep[:, 0] + keep[:, 3]]) + rng.normal(size=(60, 2))
    fit = Surrogate().fit(keep, values, np.ones(60), np.array([[True, True, False, False], [True] * 4]))
    assert (fit.coef[2:, 0] == 0).all()
    assert fit.coef[:2, 0] == pytest.approx(ridge(keep[:, :2], values[:, :1], np.ones(60)).coef[:, 0])
    assert (fit.coef[:, 1] != 0).all()


def test_cosine_weights_by_hand():
    keep = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)
    ones = np.ones(4)
    cosine = [1.0, ones[:1] @ ones[:1] / np.linalg.norm(ones), 0.0]
    want = [np.exp(-((1 - c) ** 2) / 0.25**2) for c in cosine]
    assert cosine_weights(keep, 0.25) == pytest.approx(want)


def test_rank_agreement_is_spearman():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 30))
    a[:5] = 0
    assert rank_agreement(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_agreement(np.ones(4), np.arange(4.0)) == 0


def test_r_squared():
    y = np.array([0.0, 1.0, 2.0, 3.0])
    assert r_squared(y, y) == 1
    assert r_squared(y, np.full(4, 1.5)) == pytest.approx(0)
    assert r_squared(y, -y) < 0
    assert r_squared(np.ones(4), np.ones(4)) == 1
    assert r_squared(np.ones(4), np.zeros(4)) == 0
    assert r_squared(y, np.array([0, 1.0, 2, 9]), np.array([1.0, 1, 1, 0])) == pytest.approx(1)


def test_contrast_by_hand_and_without_weights_on_all_subsets():
    keep = subsets(5)
    w = np.random.default_rng(6).normal(size=(5, 2))
    found, error = contrast(keep, keep @ w, np.ones(32))
    assert found == pytest.approx(w)
    assert (error > 0).all()
    weight = np.random.default_rng(7).random(32)
    values = np.random.default_rng(8).normal(size=(32, 1))
    found, error = contrast(keep, values, weight)
    for i in range(5):
        a, b = keep[:, i], ~keep[:, i]
        want = np.average(values[a, 0], weights=weight[a]) - np.average(values[b, 0], weights=weight[b])
        assert found[i, 0] == pytest.approx(want)
        variance = sum(
            (weight[s] ** 2 * (values[s, 0] - np.average(values[s, 0], weights=weight[s])) ** 2).sum()
            / weight[s].sum() ** 2
            for s in (a, b)
        )
        assert error[i, 0] == pytest.approx(np.sqrt(variance))
    constant = contrast(np.ones((4, 2), dtype=bool), np.ones((4, 1)), np.ones(4))
    assert (constant[0] == 0).all()
    assert np.isnan(constant[1]).all()


def test_effective_samples():
    assert effective(np.ones(10)) == pytest.approx(10)
    assert effective(np.array([1.0, 0, 0])) == pytest.approx(1)
