"""Scores of descriptions: intruder trials by hand; marks are those that fuzzing judges."""

import numpy as np
import pytest

from exegete.ops.description_scores import (
    CROWD,
    embedding,
    fires,
    fuzzing,
    intruder,
    marks,
    nearness,
    trials,
)

TRUE = [
    np.array([0.0, 3.0]),
    np.array([3.0, 0.0]),
    np.array([0.0]),
    np.array([0.5, 0.1]),
    np.array([0.0, 5.0, 1.0]),
]


def draw() -> np.random.Generator:
    return np.random.default_rng(3)


def test_each_silent_text_is_the_intruder_once_among_firing_ones():
    found = trials(TRUE, 1.5, draw())
    assert sorted(shown[odd] for shown, odd in found) == [2, 3]
    on = fires(TRUE, 1.5)
    assert all(len(set(shown)) == CROWD and on[list(shown)].sum() == CROWD - 1 for shown, _ in found)
    assert trials(TRUE[:1] + TRUE[2:4], 1.5, draw()) == []  # a single text fires
    assert trials(TRUE[:2], 1.5, draw()) == []  # none is silent


def test_intruders_are_found_by_what_is_foretold():
    found = trials(TRUE, 1.5, draw())
    assert intruder(TRUE, found) == 1.0
    assert intruder([-y for y in TRUE], found) < 1.0
    assert intruder([np.zeros(len(y)) for y in TRUE], found) == pytest.approx(1 / CROWD)
    assert np.isnan(intruder(TRUE, []))


def test_intruders_by_chance_are_found_a_third_of_the_time():
    rng = draw()
    y = [np.array([float(v)]) for v in rng.integers(0, 2, 400)]
    rates = [intruder([rng.normal(size=1) for _ in y], trials(y, 0.5, rng)) for _ in range(300)]
    assert np.mean(rates) == pytest.approx(1 / CROWD, abs=0.03)


def test_marks_are_one_right_and_one_silent_token_a_firing_text():
    found = marks(TRUE, 1.5, draw())
    assert [(t, i) for t, i, right in found if right] == [(0, 1), (1, 0), (4, 1)]
    assert all(TRUE[t][i] <= 1.5 for t, i, right in found if not right)
    assert fuzzing(TRUE, TRUE, 1.5, draw()) == 1.0


def planted(n: int = 60) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Texts in an embedding [text, 8] of two topics, on axes 0 and 1, over much in common; unit 0 fires on one topic, unit 1 on the other."""
    rng = np.random.default_rng(5)
    topic = rng.integers(0, 3, n)
    vectors = rng.normal(scale=0.2, size=(n, 8)) + 10
    vectors[topic < 2, topic[topic < 2]] += 3
    return vectors, [np.array([0.0, t == 0]) for t in topic], [np.array([float(t == 1)]) for t in topic]


def test_a_right_description_is_nearer_and_a_swapped_one_loses():
    vectors, first, second = planted()
    rng = np.random.default_rng(6)
    said = np.full((2, 8), 10.0) + 2 * np.eye(2, 8) + rng.normal(scale=0.1, size=(2, 8))
    near = nearness(said, vectors)
    for i, true in enumerate((first, second)):
        assert embedding(near[i], true, 0.5) == 1.0
        assert embedding(near[1 - i], true, 0.5) < 0.5


def test_a_description_that_says_nothing_is_as_near_to_all():
    vectors, first, _ = planted()
    silent = nearness(np.full((1, 8), np.nan), vectors)[0]
    assert embedding(silent, first, 0.5) == 0.5
    at_the_mean = nearness(vectors.mean(0, keepdims=True), vectors)[0]
    assert embedding(at_the_mean, first, 0.5) == 0.5


def test_the_embedding_score_is_the_share_of_pairs_whatever_the_balance():
    rng = np.random.default_rng(7)
    near = np.round(rng.normal(size=40), 1)  # with ties
    on = rng.random(40) < 0.15
    slow = np.mean([(a > b) + (a == b) / 2 for a in near[on] for b in near[~on]])
    true = [np.array([float(x)]) for x in on]
    assert embedding(near, true, 0.5) == pytest.approx(slow)
    many = [embedding(rng.normal(size=40), true, 0.5) for _ in range(400)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.03)
    assert np.isnan(embedding(near, [np.ones(1)] * 40, 0.5))


def test_texts_without_a_vector_change_no_other():
    vectors = planted()[0]
    said = vectors[:1] + 0.5
    whole = nearness(said, vectors)
    more = nearness(said, np.vstack([vectors, np.full((1, 8), np.nan)]))
    assert np.array_equal(more[:, :-1], whole) and more[0, -1] == 0
