"""Concept vectors against scikit-learn and planted directions; the set test against SciPy, and its level."""

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_ind
from sklearn.linear_model import LogisticRegression, Ridge

from exegete.ops.concept_vectors import (
    concept_vectors,
    held_out_accuracy,
    mean_cosine,
    shares,
    thresholds,
)
from exegete.ops.set_test import holm, set_test

LABELS = np.repeat([1.0, -1.0], 8)


def rows(n_fits=5, d=12, shift=2.0, seed=0):
    rng = np.random.default_rng(seed)
    planted = rng.normal(size=d)
    planted /= np.linalg.norm(planted)
    x = rng.normal(size=(n_fits, 16, d))
    return x + shift * planted * (LABELS[:, None] > 0), planted


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_ridge_and_logistic_are_those_of_scikit_learn():
    x, _ = rows()
    found = {fit: concept_vectors(x, LABELS, fit, 0.3) for fit in ("ridge", "logistic")}
    for i, one in enumerate(x):
        scale = ((one - one.mean(0)) ** 2).sum(1).mean()
        ridge = Ridge(alpha=0.3 * scale).fit(one, LABELS).coef_
        logistic = (
            LogisticRegression(C=1 / (0.3 * scale), tol=1e-10, max_iter=10_000).fit(one, LABELS).coef_[0]
        )
        assert cosine(found["ridge"][i], ridge) > 1 - 1e-8
        assert cosine(found["logistic"][i], logistic) > 1 - 1e-6
    assert np.allclose(np.linalg.norm(found["ridge"], axis=1), 1)


@pytest.mark.parametrize("fit", ["difference", "ridge", "logistic"])
def test_a_planted_direction_is_found_and_an_empty_fit_is_zero(fit):
    x, planted = rows(shift=30.0)
    assert (concept_vectors(x, LABELS, fit) @ planted > 0.97).all()
    assert (concept_vectors(np.ones((1, 16, 12)), LABELS, fit) == 0).all()


def test_held_out_accuracy_by_hand():
    x, _ = rows(n_fits=3, shift=1.0)
    v = concept_vectors(x, LABELS, "difference")
    cut = thresholds(v, x, LABELS)
    slow = []
    for i in range(3):
        others = np.concatenate([x[j] for j in range(3) if j != i])
        sides = np.concatenate([LABELS] * 2)
        right = (others @ v[i] > cut[i]) == (sides > 0)
        slow.append((right[sides > 0].mean() + right[sides < 0].mean()) / 2)
    assert np.allclose(held_out_accuracy(v, x, LABELS), slow)
    pairs = [v[i] @ v[j] for i in range(3) for j in range(3) if i != j]
    assert mean_cosine(v) == pytest.approx(np.mean(pairs))
    assert shares(np.array([[1.0, 0.0], [-1.0, 0.0]])).tolist() == [0.5, 0.5]


def test_the_set_test_is_the_larger_of_student_and_the_exact_test():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.8, 1, (4, 6)), rng.normal(0, 1, (4, 9))
    p, t = set_test(a, b, np.random.default_rng(0), 20_000)
    assert np.allclose(t, ttest_ind(a, b, axis=1).pvalue)
    for i in range(4):
        exact = permutation_test(
            (a[i], b[i]), lambda x, y: abs(x.mean() - y.mean()), n_resamples=np.inf, alternative="greater"
        )
        assert p[i] == pytest.approx(max(t[i], exact.pvalue), abs=0.01)
    nothing, everything = np.full((1, 4), 0.5), np.ones((1, 4))
    assert set_test(nothing, np.full((1, 5), 0.5), rng)[0] == 1.0
    assert set_test(everything, np.zeros((1, 5)), rng)[0] == pytest.approx(1 / 126, abs=0.003)


def test_holm_by_hand():
    assert np.allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])


@pytest.mark.parametrize("fit", ["difference", "ridge", "logistic"])
def test_random_concepts_keep_the_level_and_one_set_against_many_does_not(fit):
    """Scores from sets that share nothing: at most 5 % at 0.05. The usual design finds half of all random concepts."""
    rng = np.random.default_rng(2)
    d, k, r, m = 24, 8, 16, 4
    gradients = rng.normal(size=(20, d)) + rng.normal(size=d)
    y, spread = np.repeat([1.0, -1.0], m), np.exp(rng.normal(size=d))
    found, usual = [], []
    for _ in range(200):
        x = rng.normal(size=(k + r, 2 * m, d)) * spread
        s = shares(gradients @ concept_vectors(x, y, fit).T)
        found.append(set_test(s[None, :k], s[None, k:], rng, 500)[0][0])
        shared = np.concatenate([np.repeat(x[:1, :m], r, 0), x[k:, m:]], 1)
        one = shares(gradients @ concept_vectors(shared, y, fit).T)
        usual.append(ttest_ind(one, s[k:], equal_var=False).pvalue if np.ptp([*one, *s[k:]]) else 1.0)
    assert np.mean(np.array(found) < 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
    assert np.mean(np.array(usual) < 0.05) > 0.25
