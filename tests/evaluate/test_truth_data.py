"""Mislabelled points, corpora and functions: the truths hold by retraining, by another fit, and by counting."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from exegete.core.errors import UnknownName, UsageError
from exegete.evaluate.truth.corpora import KINDS, PAIR, WORD, corpora
from exegete.evaluate.truth.mislabelled import PENALTY, WORDS, fitted, losses, mislabelled
from exegete.evaluate.truth.synthetic_functions import embedded, functions, indicator, texts_for, unit_tests
from exegete.ops.clues import describe


@pytest.fixture(scope="module")
def what():
    return mislabelled()


def test_the_head_is_the_one_solution(what):
    theirs = LogisticRegression(
        C=1 / (PENALTY * len(what.texts)), fit_intercept=False, tol=1e-10, max_iter=5000
    )
    theirs.fit(what.features, what.labels)
    assert what.weights == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert what.features.shape == (60, len(WORDS) + 1)


def test_influence_is_what_retraining_from_nothing_gives(what):
    """By another optimiser, from zero, with the point's loss left out of the sum."""
    for i in (0, int(np.flatnonzero(what.wrong)[0])):
        kept = np.arange(len(what.texts)) != i

        def goal(w, kept=kept):
            return (
                losses(w, what.features[kept], what.labels[kept]).sum()
                + len(what.texts) * PENALTY / 2 * w @ w
            )

        w = minimize(goal, np.zeros(len(what.weights)), method="BFGS", options={"gtol": 1e-9}).x
        moved = losses(w, what.test_features, what.test_labels) - losses(
            what.weights, what.test_features, what.test_labels
        )
        assert what.influence[i] == pytest.approx(moved, abs=1e-5)


def test_the_first_order_formula_finds_nearly_the_same(what):
    """Koh & Liang's influence function is the first order of what is exact here."""
    x, y, w = what.features, what.labels, what.weights
    p = 1 / (1 + np.exp(-(x @ w)))
    hessian = (x * (p * (1 - p))[:, None]).T @ x + len(x) * PENALTY * np.eye(len(w))
    q = 1 / (1 + np.exp(-(what.test_features @ w)))
    slopes, test = x * (p - y)[:, None], what.test_features * (q - what.test_labels)[:, None]
    first = slopes @ np.linalg.solve(hessian, test.T)
    assert np.corrcoef(first.ravel(), what.influence.ravel())[0, 1] > 0.99


def test_mislabelled_points_hurt_and_true_ones_help(what):
    mean = what.influence.mean(1)
    assert what.wrong.sum() == 6
    assert mean[what.wrong].max() < mean[~what.wrong].min()
    shuffled = np.random.default_rng(0).permutation(what.wrong)
    assert not mean[shuffled].max() < mean[~shuffled].min()
    again = mislabelled()
    assert again.texts == what.texts and not set(what.texts) & set(what.test_texts)
    assert fitted(what.features, what.labels) == pytest.approx(what.weights)


def test_letters():
    with pytest.raises(UsageError, match="nothing to find"):
        mislabelled(10, 0.01)
    with pytest.raises(UsageError, match="nothing to find"):
        mislabelled(10, 1.0)
    with pytest.raises(UnknownName, match="longer"):
        corpora("longr")


@pytest.mark.parametrize("name", KINDS)
def test_corpora_differ_as_planted_and_in_nothing_else(name):
    found = corpora(name, 400)
    for texts, share in zip((found.first, found.second), found.shares):
        assert np.mean([found.holds(t) for t in texts]) == pytest.approx(share, abs=0.07)
    rest = [
        [w for t in texts for w in t.split() if w not in found.words] for texts in (found.first, found.second)
    ]
    words = sorted(set(rest[0]))
    assert words == sorted(set(rest[1]))
    rates = [np.array([r.count(w) / len(r) for w in words]) for r in rest]
    assert np.abs(rates[0] - rates[1]).max() < 0.03  # about four standard errors
    assert all(w in (WORD, *PAIR) for w in found.words)
    assert found.first != found.second
    lengths = [np.mean([len(t.split()) for t in texts]) for texts in (found.first, found.second)]
    assert (lengths[0] < lengths[1]) == (name == "longer")


@pytest.mark.parametrize("function", functions(), ids=lambda f: f.name)
def test_a_function_passes_its_own_tests_and_what_says_nothing_does_not(function):
    assert unit_tests(function.f, function) == 1.0
    assert indicator(function.f, function) == pytest.approx(1.0)
    assert unit_tests(lambda t: np.zeros(len(t)), function) == 0.5
    assert indicator(lambda t: np.zeros(len(t)), function) == 0.0
    for on, off in function.tests:
        differ = [a != b for a, b in zip(on.split(), off.split())]
        assert sum(differ) == 1
        assert function.f(on.split()).sum() > function.f(off.split()).sum()


def test_the_embedded_writer_describes_functions_and_shuffled_values_say_little():
    mine, other, blind = [], [], []
    every = functions()
    for i, function in enumerate(every):
        told = embedded(function)
        mine.append((unit_tests(told.simulate, function), indicator(told.simulate, function)))
        other.append(indicator(embedded(every[i - 1]).simulate, function))
        texts, rng = texts_for(120, 0), np.random.default_rng(i)
        values = rng.permutation(np.concatenate([function.f(t) for t in texts])).reshape(len(texts), -1)
        blind.append(indicator(describe(list(zip(texts, values))).simulate, function))
    assert np.mean(mine, axis=0).min() > 0.8
    assert np.mean(other) < 0.5
    assert np.mean(blind) < 0.3
