"""Scores of descriptions: intruder trials by hand; marks are those that fuzzing judges."""

import numpy as np
import pytest

from exegete.ops.description_scores import CROWD, fires, fuzzing, intruder, marks, trials

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
