"""The choosing head: scikit-learn's softmax regression where every question has the same options, and a hand count where not."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from exegete.ops.choice_head import held_out, word_features

OPTIONS = ("north", "south", "west")


def test_with_the_same_options_it_is_softmax_regression():
    """Another implementation, on the same words and the same parts."""
    rng = np.random.default_rng(0)
    bags = rng.random((60, 12)) < 0.3
    right = (bags @ rng.normal(size=(12, 3)) + rng.normal(size=(60, 3))).argmax(1)
    rows = [word_features({"x": " ".join(f"w{j}" for j in np.flatnonzero(b))}, OPTIONS) for b in bags]
    parts = np.array_split(np.arange(60), 4)
    found = np.array(held_out(rows, right, parts, strength=0.5))
    for part in parts:
        rest = np.setdiff1d(np.arange(60), part)
        x = np.hstack([bags, np.ones((60, 1))]).astype(float)
        twin = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-10, max_iter=5000).fit(
            x[rest], right[rest]
        )
        assert np.allclose(found[part], twin.predict_log_proba(x[part]), atol=1e-4)


def test_one_feature_has_the_weight_of_its_odds():
    """Named options are right in 3 of 4 questions of two options: w = log 3 without a penalty."""
    rows = [[{"named": 1.0}, {}]] * 9
    right = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0])
    found = held_out(rows, right, [np.array([8])], strength=1e-9)
    assert np.allclose(np.exp(found[8]), [0.75, 0.25], atol=1e-5)


def test_options_of_their_own_and_names_that_no_other_question_has():
    def row(text, *options):
        return word_features({"x": text}, options)

    rows = [
        row("it is a fox", "cat", "fox"),
        row("a cat, so an owl", "owl", "cat", "dog"),
        row("the bee", "bee", "ant"),
    ]
    assert rows[1][0]["x", "named last"] == 1.0 and ("x", "named last") not in rows[1][1]
    assert ("x", "named") in rows[1][1] and ("x", "named") not in rows[1][2]
    logs = held_out(rows, np.array([1, 0, 0]), [np.array([0, 1]), np.array([2])], strength=0.1)
    assert [len(x) for x in logs] == [2, 3, 2]
    assert logs[2][0] > logs[2][1]
    assert [float(np.exp(x).sum()) for x in logs] == pytest.approx([1.0] * 3)
