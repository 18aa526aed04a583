"""Explanations of a known rule: those that give it, those that give another, and those that give all of it."""

from functools import cache

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.seed import generator
from exegete.evaluate.respond import ChatRespondent
from exegete.evaluate.simulation.counterfactual_simulatability import (
    UNKNOWN,
    CounterfactualSimulatabilityStudy,
)
from exegete.evaluate.simulation.counterfactuals import alike, exchangeable, inferred, overlap, varied
from exegete.models.chat.base import Reply
from support.answerers import Planted, PlantedChat

STUDY = CounterfactualSimulatabilityStudy()
DOES = {"lark": "sings", "wren": "sings", "wolf": "runs", "fox": "runs"}
COLOURS = ("red", "blue", "grey")
OPTIONS = ("sings", "runs")
ALL = " ".join(f"a {animal} {does}." for animal, does in DOES.items())


def asked(why):
    """The rule is about the animal alone; `why(colour, animal)` explains."""
    return tuple(
        Choice(question=f"what does the {c} {a} do?", options=OPTIONS, lead="it", steps=(why(c, a),))
        for c in COLOURS
        for a in DOES
    )


def rule(text, options):
    return options.index(next((d for a, d in DOES.items() if a in text), "runs"))


FAITHFUL = asked(lambda c, a: f"a {a} {DOES[a]}.")
UNFAITHFUL = asked(lambda c, a: f"what is {c} {DOES[a]}.")
WHOLE = asked(lambda c, a: ALL)


@cache
def judged(every):
    return STUDY.judge(Planted(rule), every)


def test_one_that_gives_the_rule_is_always_right():
    found = judged(FAITHFUL)
    precision = found.trust.scores[0]
    assert found.precision.tolist() == [1.0] * 12
    assert precision.beats_chance and (precision.chance or 0) < 0.9
    assert "They say what the model does" in found.lede


def test_one_that_gives_another_reason_is_right_as_often_as_a_guess():
    """Those others that keep the colour are answered by their animal, whatever the explanation says: counted one by one."""
    found = judged(UNFAITHFUL)
    precision = found.trust.scores[0]
    pool = exchangeable([q.question for q in UNFAITHFUL])
    for i, q in enumerate(UNFAITHFUL):
        colour, animal = q.question.split()[3], q.question.split()[4].rstrip("?")
        others = varied(q, "it", pool, STUDY.n_others, STUDY.n_words, generator(0, "others", i))
        kept = [o for o in others if colour in o.question.split()]
        same = [rule(o.question, OPTIONS) == OPTIONS.index(DOES[animal]) for o in kept]
        assert found.precision[i] == pytest.approx(np.mean(same))
        assert found.simulatable[i] == pytest.approx(len(kept) / len(others))
    assert precision.value < 0.85 and not precision.beats_chance
    assert precision.value < judged(FAITHFUL).trust.scores[0].value - 0.15


def test_the_whole_rule_is_as_precise_and_more_general():
    whole, narrow = judged(WHOLE), judged(FAITHFUL)
    assert np.nanmin(whole.precision) == 1.0
    assert whole.simulatable.mean() > narrow.simulatable.mean() + 0.1
    assert np.nanmean(whole.generality) > np.nanmean(narrow.generality)
    assert not whole.trust.scores[0].beats_control  # every question has the same explanation
    assert np.nanmean(narrow.generality) < np.nanmean(narrow.generality_drawn)


def test_a_reason_for_this_answer_is_no_reason_for_another():
    """Explanations that name no option say the answer they are given for; another's, given for this answer, are wrong half of the time."""
    found = judged(asked(lambda c, a: f"because it is a {a}."))
    precision = found.trust.scores[0]
    assert precision.value == 1.0 and precision.beats_chance and precision.beats_control
    assert found.lede.endswith("They say what the model does.")


def test_what_says_nothing_has_no_precision():
    empty = judged(asked(lambda c, a: "that is how it goes."))
    precision = empty.trust.scores[0]
    assert (precision.n, precision.n_failed) == (0, 12) and np.isnan(precision.value)
    assert "nothing of other questions" in empty.lede


def test_what_an_explanation_says_by_rule():
    words = frozenset(("lark", "wolf", "red"))

    def say(why, text):
        return int(inferred(why, [text], OPTIONS, 0, words)[0])

    assert say("a lark sings. a wolf runs.", "the red wolf") == 1
    assert say("a lark sings. what is red runs.", "the red lark") == -1  # two say different things
    assert say("the red lark sings.", "the blue lark") == -1  # not all of its cues are there
    assert say("because it is a lark.", "the lark") == 0  # names no option: the answer it explains
    assert say("it sings.", "the lark") == -1  # no cue
    assert say("a lark sings and never runs.", "the lark") == -1  # names both


def test_overlap_and_exchange_by_hand():
    shared = overlap(["the red lark", "a red wolf", "blue wolf", "the"])
    assert alike(shared, np.arange(3)) == pytest.approx((1 / 3 + 0 + 1 / 3) / 3)
    assert alike(shared, np.array([0, 2])) == 0.0
    assert np.isnan(alike(shared, np.array([1])))
    q = Choice(question="Lark and lark sing", options=OPTIONS)
    pool = {"lark": ("wolf",), "sing": ("wolf",)}
    made = varied(q, "the lark", pool, 9, 1, np.random.default_rng(0))
    assert {(o.question, o.lead) for o in made} == {
        ("Wolf and wolf sing", "the wolf"),
        ("Lark and lark wolf", "the lark"),
    }
    assert varied(q, "", {"lark": ("sing",)}, 9, 1, np.random.default_rng(0)) == ()
    places = exchangeable(["does the red fox run?", "does the blue fox sing?", "does the red owl run?"])
    assert places["red"] == ("blue",) and places["fox"] == ("owl",) and places["run"] == ("sing",)


def test_language_models_can_write_and_simulate():
    def writes(prompt, most):
        return "1. what does the old wolf do?\n2. what does the old lark do?\n3. what does the cow do?"

    class Writer(Planted):
        def write(self, prompt, most):
            return writes(prompt, most)

    def guesses(text, options):
        other = text.rsplit("?", 2)[-2]
        told = {a: d for a, d in DOES.items() if f"a {a} {d}" in text}
        return options.index(next((d for a, d in told.items() if a in other), UNKNOWN))

    found = STUDY.judge(Planted(rule), WHOLE, Writer(rule), ChatRespondent(PlantedChat(guesses)))
    assert set(found.n_others) == {3}
    assert found.precision.tolist() == [1.0] * 12
    assert np.allclose(found.simulatable, 2 / 3)


def test_what_a_simulator_says_that_cannot_be_read_is_left_out_and_counted():
    """It answers in other words to all that is asked of the first question; of the others, to every question about a fox."""

    class Mumbles(PlantedChat):
        def _say(self, ask):
            text = ask.messages[-1].content
            mute = text.startswith(WHOLE[0].question) or "fox" in text.split("like")[-1].split("?")[-2]
            return Reply(text="Who knows.") if mute else super()._say(ask)

    def guesses(text, options):
        return rule(text.split("answer to this? ")[1], options)

    found = STUDY.judge(Planted(rule), WHOLE, None, ChatRespondent(Mumbles(guesses)))
    assert np.isnan(found.precision[0]) and np.isnan(found.simulatable[0])
    assert found.trust.scores[0].n_failed == 1 and found.trust.scores[0].value == 1.0
    assert (found.simulatable[1:] == 1.0).all()  # of all that can be read
    assert "cannot be read" in found.notes[0]
    silent = PlantedChat(guesses)
    silent._say = lambda ask: Reply(text="Who knows.")
    with pytest.raises(InputError, match="names an option"):
        STUDY.judge(Planted(rule), WHOLE, None, ChatRespondent(silent))


def test_few_questions_are_no_proof():
    """Two explanations, both always right: what is right half of the time is so in one of four runs."""
    found = judged((FAITHFUL[0], FAITHFUL[6])).trust.scores[0]
    assert found.value == 1.0 and found.interval[0] < 0.2
    assert found.over_chance[0] < 0


def test_how_much_is_said_is_held_against_other_explanations_alone():
    """More than nothing is said by all that says anything."""
    said = judged(FAITHFUL).trust.scores[1]
    assert said.chance is None and said.beats_control is not None


def test_letters_and_failures():
    with pytest.raises(InputError, match="both answered and explained"):
        judged(tuple(q.model_copy(update={"steps": ()}) for q in FAITHFUL))
    with pytest.raises(InputError, match="No other question"):
        judged((FAITHFUL[0], FAITHFUL[0]))
    some = judged((*FAITHFUL[:6], FAITHFUL[6].model_copy(update={"steps": ()})))
    assert some.trust.scores[0].n_failed == 1


@pytest.mark.parametrize("by", [None, "chat"])
def test_questions_alone_give_the_whole_where_a_writer_makes_the_others(by):
    """Among them one without an explanation, and one of which no other question is made."""

    class Writer(Planted):
        def write(self, prompt, most):
            if "grey fox" in prompt:
                return ""
            animal = next(a for a in DOES if a in prompt)
            return f"1. what does the old wolf do?\n2. what does the {animal} do?\n3. what does the cow do?"

    def guesses(text, options):
        told = {a: d for a, d in DOES.items() if f"a {a} {d}" in text}
        other = text.split("answer to this? ")[1]
        return options.index(next((d for a, d in told.items() if a in other), UNKNOWN))

    items = (*FAITHFUL, FAITHFUL[0].model_copy(update={"steps": ()}))
    who, writer = Planted(rule), Writer(rule)
    simulator = ChatRespondent(PlantedChat(guesses)) if by else None
    parts = [p for q in items for p in STUDY._asked(who, [q], writer, simulator)]
    whole = STUDY.judge(who, items, writer, simulator)
    found = STUDY._told(who.name, items, parts, simulator, 2)
    for name in (
        "n_others",
        "simulatable",
        "precision",
        "stays",
        "generality",
        "simulatable_other",
        "precision_other",
    ):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert found.cases == whole.cases and len(found.n_others) == 11
    assert np.nanmin(found.precision) == 1.0
    assert [b.n_failed - a.n_failed for a, b in zip(whole.trust.scores, found.trust.scores)] == [2] * 3
    assert "writer" in STUDY.whole and not STUDY.model_copy(update={"writer": "local:some"}).whole
