"""Probes of classes and numbers against scikit-learn, planted answers, and what theory says of labels that mean nothing."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SkRidge

from exegete.core.errors import InputError
from exegete.ops.probe import PENALTIES, axes, cross_entropy, fit_linear
from exegete.ops.probe_mlp import fit_mlp
from exegete.ops.probe_ridge import fit_ridge, great_circle


def rows(n=600, d=20, k=4, noise=1.0, seed=0):
    """Correlated features, and classes that are a noisy linear function of them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d) * 5
    x[:, 0] *= 1000  # an outlier dimension, as residual streams have
    logits = (x - x.mean(0)) / x.std(0) @ rng.standard_normal((d, k))
    return x.astype(np.float32), (logits + noise * rng.gumbel(size=(n, k))).argmax(1)


@pytest.mark.parametrize(("n", "d"), [(600, 20), (80, 200)])
@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_the_same_fit_as_scikit_learn(n, d, penalty):
    x, y = rows(n, d)
    turned = axes(x)
    z = turned.of(x)
    ours = fit_linear(z, y, (z, y), 4, (penalty,), most_steps=2000)
    standard = (x - x.mean(0)) / x.std(0)
    twin = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-8, max_iter=5000).fit(standard, y)

    def loss(logits, weight):
        return cross_entropy(logits, y) + penalty / 2 * (weight**2).sum()

    best = loss(standard @ twin.coef_.T + twin.intercept_, twin.coef_)
    assert loss(ours.logits(z), ours.weight) == pytest.approx(best, abs=2e-3)
    assert (ours.predict(z) == twin.predict(standard)).mean() > 0.99
    untrained = cross_entropy(np.zeros((len(x), 4)), y)
    assert untrained > best + 0.1  # the comparison can fail


def test_axes_keep_distances_and_drop_what_never_moves():
    x, _ = rows()
    x = np.concatenate([x, np.full((len(x), 2), 3.0, np.float32)], axis=1)
    turned = axes(x)
    z = turned.of(x)
    assert z.shape[1] == 20
    standard = (x[:, :20] - x[:, :20].mean(0)) / x[:, :20].std(0)
    a, b = (((v[:50, None] - v[None, :50]) ** 2).sum(-1) for v in (z, standard))
    assert np.allclose(a, b, rtol=1e-2, atol=1e-2)
    assert np.allclose(z.T @ z / len(z), np.diag(turned.spread), atol=2e-2)


def test_the_penalty_is_chosen_on_the_rows_held_out():
    x, y = rows(noise=3.0)
    z = axes(x[:300]).of(x)
    fit = fit_linear(z[:300], y[:300], (z[300:450], y[300:450]), 4)
    held = {p: fit_linear(z[:300], y[:300], (z[300:450], y[300:450]), 4, (p,)).loss for p in PENALTIES}
    assert fit.penalty == min(held, key=lambda p: held[p])
    assert max(held.values()) > fit.loss + 0.05


def test_planted_classes_are_told_and_shuffled_ones_are_not():
    x, y = rows(1500, 10, noise=0.0)
    z = axes(x[:900]).of(x)
    fit = fit_linear(z[:900], y[:900], (z[900:1200], y[900:1200]), 4)
    assert (fit.predict(z[1200:]) == y[1200:]).mean() > 0.96
    wrong = np.random.default_rng(1).permutation(y)
    fit = fit_linear(z[:900], wrong[:900], (z[900:1200], wrong[900:1200]), 4)
    majority = np.bincount(wrong[1200:]).max() / 300
    assert (fit.predict(z[1200:]) == wrong[1200:]).mean() < majority + 2 * (0.25 / 300) ** 0.5


def test_a_class_without_training_rows_is_never_said():
    x, y = rows()
    z, seen = axes(x).of(x), y != 2
    fit = fit_linear(z[seen], y[seen], (z, y), 4)
    assert 2 not in fit.predict(z)
    assert np.isfinite(fit.loss)


def test_an_mlp_tells_what_no_linear_probe_can_and_repeats_itself():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1200, 6)).astype(np.float32)
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)
    held = (x[600:900], y[600:900])
    fit = fit_mlp(x[:600], y[:600], held, 2, seed=3)
    line = fit_linear(x[:600], y[:600], held, 2)
    assert (fit.predict(x[900:]) == y[900:]).mean() > 0.88
    assert (line.predict(x[900:]) == y[900:]).mean() < 0.62
    assert np.array_equal(fit.w1, fit_mlp(x[:600], y[:600], held, 2, seed=3).w1)


@pytest.mark.parametrize(("n", "d"), [(200, 15), (40, 100)])
def test_ridge_is_scikit_learns(n, d):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d)).astype(np.float32)
    t = x[:, :3] @ rng.standard_normal((3, 2)) + rng.standard_normal((n, 2))
    turned = axes(x)
    z = turned.of(x)
    fit = fit_ridge(z, t, turned.spread, (z, t), (0.1,))
    standard = (x - x.mean(0)) / x.std(0)
    twin = SkRidge(alpha=0.1 * n).fit(standard, t).predict(standard)
    assert np.allclose(fit.predict(z), twin, atol=1e-3 * t.std())
    assert fit.errors(z, t).sum() < fit.bars(t).sum()
    assert fit.bars(t).mean() == pytest.approx(2.0)  # the mean guess has the variance of both targets


def test_distances_on_the_globe():
    paris, london, quito, pole = (48.8566, 2.3522), (51.5074, -0.1278), (0.0, -78.5), (90.0, 10.0)
    found = great_circle(np.array([paris, quito]), np.array([london, pole]))
    assert found[0] == pytest.approx(343.6, abs=1)
    assert found[1] == pytest.approx(6371 * np.pi / 2, rel=1e-6)
    assert great_circle(np.array([paris]), np.array([paris]))[0] == 0


def test_vectors_that_are_no_numbers_are_refused():
    x, _ = rows()
    x[3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        axes(x)
