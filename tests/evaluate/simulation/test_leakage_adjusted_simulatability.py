"""LAS: explanations that name the answer, that help without naming it, and that do not help, come out apart."""

from functools import cache

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.evaluate.respond import ChatRespondent
from exegete.evaluate.simulation.leakage_adjusted_simulatability import LeakageAdjustedStudy
from support.answerers import Planted, PlantedChat

STUDY = LeakageAdjustedStudy(n_shuffles=3, n_parts=4)
# two hidden halves make the answer: the question shows the first, an explanation may show the second
CORNERS = ("northwest", "northeast", "southwest", "southeast")


def asked(n, why, seed=5):
    """Questions about a corner; `why(corner, rng)` explains the answer."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        k = int(rng.integers(4))
        up = "cold" if k < 2 else "warm"
        found.append(
            Choice(
                question=f"house {i} is {up}. where?",
                options=CORNERS,
                id=str(k),
                steps=(why(k, rng),),
                lead="",
            )
        )
    return tuple(found)


def knows(every):
    """Answers the corner that was drawn for the question, whatever is said."""
    at = {q.question.split()[1]: int(q.id) for q in every}
    return lambda text, options: at[text.split("house ")[1].split()[0]]


def side(k, rng):
    return "the sun sets there." if k % 2 == 0 else "the sun rises there."


def names(k, rng):
    """Names the answer nine times in ten, and else says nothing."""
    return f"because it is {CORNERS[k]}." if rng.random() < 0.9 else "because it is there."


def empty(k, rng):
    return str(rng.choice(["houses stand somewhere.", "that is the place."]))


@cache
def judged(why, n=120):
    every = asked(n, why)
    return STUDY.judge(Planted(knows(every)), every)


def test_an_explanation_that_gives_the_other_half_helps_and_does_not_leak():
    """From either half one of two is right, from both all: the gain is one half, in both kinds."""
    found = judged(side)
    adjusted, plain = found.trust.scores
    x, e, both = found.right.mean(1)
    assert both == 1.0 and x == pytest.approx(0.5, abs=0.1) and e == pytest.approx(0.5, abs=0.1)
    assert adjusted.value == pytest.approx(0.5, abs=0.1)
    assert adjusted.value == pytest.approx(plain.value, abs=0.05)
    assert adjusted.beats_chance and adjusted.beats_control
    assert found.lede.endswith("The explanations help.")


def test_one_that_names_the_answer_gains_where_it_leaks_only():
    found = judged(names)
    adjusted, plain = found.trust.scores
    assert found.leaks.mean() > 0.8
    assert found.gain[1] == pytest.approx(0.5, abs=0.17)
    assert found.gain[2] < 0.1
    assert adjusted.value == pytest.approx(np.mean(found.gain[1:]))
    assert adjusted.value < plain.value - 0.1
    assert adjusted.value < judged(side).trust.scores[0].value - 0.1


def test_one_that_says_nothing_does_not_help():
    adjusted, plain = judged(empty).trust.scores
    assert abs(plain.value) < 0.1
    assert not (adjusted.beats_chance and adjusted.beats_control)


def test_a_language_model_can_simulate():
    """One that reads both halves; what it says is taken as it is, or turned round where it is always wrong."""
    every = asked(60, side)

    def reads(text, options):
        return 2 * ("warm" in text) + ("rises" in text)

    found = STUDY.judge(Planted(knows(every)), every, ChatRespondent(PlantedChat(reads)))
    assert found.right[2].mean() == 1.0
    assert found.trust.scores[0].beats_control


def test_letters_and_failures():
    every = asked(12, side)
    bare = [q.model_copy(update={"steps": ()}) for q in every]
    with pytest.raises(InputError, match="both answered and explained"):
        STUDY.judge(Planted(knows(every)), bare)
    found = STUDY.judge(Planted(knows(every)), (*every[:8], *bare[8:]))
    assert found.trust.scores[0].n_failed == 4
    with pytest.raises(InputError, match="same question"):
        STUDY.judge(Planted(knows(every)), [every[0]] * 2)
    told = STUDY.model_copy(update={"explanation": "written"}).judge(
        Planted(knows(every), "the sun is there"), bare
    )
    assert {c[1] for c in told.cases} == {"the sun is there"}
