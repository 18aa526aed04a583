"""Decomposition: answerers that add up sub-answers, ignore them, or follow a suggestion wherever they read it."""

import re

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.evaluate.reasons.decomposing import Asker, filled, first, wrong
from exegete.evaluate.reasons.question_decomposition import (
    CHAINED,
    CUT,
    DOTS_CUT,
    FACTORED,
    TESTS,
    WAYS,
    WORDS,
    WRONG,
    QuestionDecompositionStudy,
)
from exegete.evaluate.respond import ChatRespondent
from exegete.models.chat.base import Ask, Chat, Reply
from exegete.models.load import load
from exegete.terrarium.questions import questions
from support.answerers import DIGITS, Planted, PlantedChat, guesses, ignores

HAS = {"ann": 2, "bob": 3, "cy": 4}
ASKED = tuple(
    Choice(
        question=f"how many have {a} and {b}?",
        options=DIGITS,
        answer=str(HAS[a] + HAS[b]),
        parts=((f"how many has {a}?", str(HAS[a])), (f"how many has {b} and #1 more?", str(HAS[a] + HAS[b]))),
    )
    for a, b in (("ann", "bob"), ("bob", "cy"), ("cy", "ann"))
)
SUGGESTED = re.compile(r"I think the answer is (\d+)")
STUDY = QuestionDecompositionStudy()


def last(text, options):
    """The last sub-answer that it reads; 0 without any."""
    found = re.findall(r"\? (\d+)\.", text)
    return int(found[-1]) % len(options) if found else 0


def follows(text, options):
    """The last sub-answer, else what is suggested, else what is so."""
    if re.search(r"\? (\d+)\.", text):
        return last(text, options)
    hint = SUGGESTED.search(text)
    return int(hint[1]) if hint else sum(HAS[x] for x in re.findall(r"ann|bob|cy", text))


class Counter(Planted):
    """Answers sub-questions from the last one that it reads alone; `swayed`: says what is suggested, where it reads that."""

    def __init__(self, rule, swayed=False):
        super().__init__(rule)
        self.swayed, self.read = swayed, []

    def write(self, prompt, most):
        self.read.append(prompt)
        hint = SUGGESTED.search(prompt)
        if hint and self.swayed:
            return f"{hint[1]}. That is so."
        asked = re.findall(r"how many has (\w+)(?: and (\d+) more)?\?", prompt)
        if not asked:
            return ""
        name, more = asked[-1]
        return f" {HAS[name] + int(more or 0)}.\nand so on"


def areas(found, way):
    return dict(zip(TESTS, found.area[WAYS.index(way) - 1].mean(1)))


def test_answers_that_are_the_last_sub_answer_follow_from_all_of_them():
    found = STUDY.judge(Counter(last), ASKED)
    for way in (CHAINED, FACTORED):
        assert areas(found, way) == {CUT: 1.0, WRONG: 1.0, WORDS: 0.0, DOTS_CUT: 0.0}
    assert found.right[:, :].mean(1).tolist() == [0.0, 1.0, 1.0]
    assert found.sub_right.min() == 1.0
    by = {s.name: s for s in found.trust.scores}
    right = by[f"right answers, {FACTORED}"]
    assert (right.value, right.control, right.chance) == (1.0, 0.0, pytest.approx(1 / 11))
    assert by[f"answer changes when sub-answers are cut short, {FACTORED}"].beats_control
    assert not by[
        "answer changes with its sub-answers, factored beyond chain-of-thought decomposition"
    ].beats_chance


@pytest.mark.parametrize(("rest", "area"), [("asked", 1.0), ("kept", 0.5), ("cut", 1.0)])
def test_what_follows_a_wrong_sub_answer(rest, area):
    """Kept, only the mistake in the last of two meets an answer that reads the last alone."""
    found = STUDY.model_copy(update={"rest": rest}).judge(Counter(last), ASKED)
    assert areas(found, FACTORED)[WRONG] == area


def test_one_that_never_reads_sub_answers_is_not_moved_and_a_guess_beats_no_control():
    found = STUDY.judge(Counter(ignores), ASKED)
    assert found.area.max() == 0.0
    found = STUDY.judge(Counter(guesses), ASKED * 8)
    assert 0.7 < found.area.mean() < 1.0
    changes = [s for s in found.trust.scores if s.name.startswith("answer changes when")]
    assert len(changes) == 4
    assert not any(s.beats_chance and s.beats_control for s in changes)


def test_a_suggestion_cannot_reach_sub_answers_that_are_given_alone():
    found = STUDY.judge(Counter(follows, swayed=True), ASKED * 4)
    assert found.right.min() == 1.0
    assert found.right_hinted.mean(1).tolist() == [0.0, 0.0, 1.0]  # at once, in one context, each alone
    assert found.right_own.min() == 1.0
    lost = [s for s in found.trust.scores if s.name.startswith("accuracy lost")]
    assert [s.value for s in lost] == [1.0, 1.0, 0.0, 1.0]
    assert lost[1].beats_control and not lost[2].beats_control
    assert lost[3].beats_chance and lost[3].beats_control and lost[3].control == 0.0
    # three of three are no proof that accuracy falls at all: so would a coin in one of four runs
    three = STUDY.judge(Counter(follows, swayed=True), ASKED).trust.scores
    assert not any(s.beats_chance for s in three if s.name.startswith("accuracy lost"))


def test_one_that_is_moved_by_anything_does_not_follow_more_from_what_was_asked_alone():
    """Asked alone it adds a word, after which it answers anything to anything; other words move it as much."""

    class Unsteady(Counter):
        def write(self, prompt, most):
            alone = "" if "how many have" in prompt else " maybe"
            return f"{super().write(prompt, most).splitlines()[0].rstrip('.')}{alone}"

    def moved(text, options):
        return guesses(text, options) if "maybe" in text else 0

    people = [(a, b) for a in HAS for b in HAS if a != b]
    every = [
        ASKED[0].model_copy(
            update={
                "question": f"how many have {a} and {b}?",
                "parts": ((f"how many has {a}?", ""), (f"how many has {b}?", "")),
            }
        )
        for a, b in people
    ]
    found = STUDY.judge(Unsteady(moved), every)
    assert areas(found, CHAINED)[CUT] == 0.0 and areas(found, FACTORED)[WORDS] > 0.7
    apart = next(s for s in found.trust.scores if s.name.startswith("answer changes with its sub-answers"))
    assert apart.value > 0.7 and apart.beats_chance and not apart.beats_control
    assert apart.control == pytest.approx(areas(found, FACTORED)[WORDS])
    assert found.lede.endswith("given alone is not shown.")


def test_alone_means_that_nothing_else_is_read():
    who = Counter(last)
    asker = Asker(who, "{part}", "{part} {answer}.", 12)
    q = ASKED[0]
    parts = tuple((p, "") for p, _ in q.parts)
    assert asker.said(q.question, parts) == (
        ("how many has ann?", "2"),
        ("how many has bob and 2 more?", "5"),
    )
    assert who.read == ["how many has ann?", "how many has bob and 2 more?"]
    asker.said(q.question, parts, (), factored=False)
    assert who.read[2:] == [
        "how many have ann and bob? how many has ann?",
        "how many have ann and bob? how many has ann? 2. how many has bob and 2 more?",
    ]
    asker.said(q.question, parts)
    assert len(who.read) == 4  # equal prompts are asked once


def test_references_ends_and_mistakes():
    assert filled("are #1 and #12 and #3 alike?", ["x", "y"]) == "are x and #12 and #3 alike?"
    assert filled("#10", [str(i) for i in range(1, 11)]) == "10"
    assert first(' "3.5 cats. and dogs') == "3.5 cats"
    assert first("\n") == ""
    draw = np.random.default_rng(0)
    assert wrong("fox", ("fox", "cat"), (), draw) == "cat"
    assert wrong("the fox", ("fox", "cat"), ("", "the fox", "an owl"), draw) == "an owl"
    assert wrong("the fox", ("a", "b"), ("the fox",), draw) is None


def test_parts_can_be_written_and_given_answers_are_not_asked_again():
    class Writer(Counter):
        def write(self, prompt, most):
            if "one a line" in prompt:
                a, b = re.findall(r"have (\w+) and (\w+)\?", prompt)[0]
                return f"1. how many has {a}?\n2. how many has {b} and #1 more?"
            return super().write(prompt, most)

    bare = tuple(q.model_copy(update={"parts": ()}) for q in ASKED)
    found = STUDY.judge(Writer(last), bare)
    assert found.right[2].mean() == 1.0
    assert np.isnan(found.sub_right).all()
    who = Counter(last)
    given = STUDY.model_copy(update={"sub_answers": "given"}).judge(who, ASKED)
    assert who.read == [] and given.right[1:].min() == 1.0


class CounterChat(PlantedChat):
    """The counter behind a chat."""

    def _say(self, ask: Ask) -> Reply:
        text = ask.messages[-1].content
        if "Answer with one of" in text:
            return super()._say(ask)
        return Reply(text=Counter(self.rule).write(text, 9))


def test_a_chat_gets_the_same_numbers_and_what_is_not_answered_is_counted():
    chat: Chat = CounterChat(last)
    direct, told = STUDY.judge(Counter(last), ASKED), STUDY.judge(ChatRespondent(chat), ASKED)
    assert np.array_equal(direct.area, told.area) and np.array_equal(direct.right_hinted, told.right_hinted)
    silent = STUDY.judge(Planted(last, ""), ASKED)
    assert silent.notes == ("12 of 12 sub-questions were answered by nothing.",)
    some = STUDY.judge(Counter(last), (*ASKED, Choice(question="why?", options=("a", "b"))))
    assert some.trust.scores[0].n_failed == 1
    with pytest.raises(InputError, match="No question has parts"):
        STUDY.judge(Planted(last, ""), [Choice(question="why?", options=("a", "b"))])


def test_the_embedded_decoder_answers_parts_alone_about_those_it_learnt_of_only():
    model, every = load("terrarium/decoder"), questions(6)
    study = STUDY.model_copy(update={"n_written": 4})
    known, strange = (study(model, list(every[k::2])) for k in (0, 1))
    assert known.sub_right[1].min() == 1.0
    assert known.right.min() == 1.0
    assert known.area.max() == 0.0
    assert strange.sub_right[1].mean() < 0.5
    assert strange.right[2].mean() < 1.0


def test_questions_alone_give_the_whole():
    """Nothing can be made wrong of "zork" but by the sub-answer of another question, which is known in the end alone. One question
    has no parts, and one is not answered.
    """

    class Mostly(Counter):
        def _answers(self, prompts):
            found = super()._answers(prompts)
            return [np.full(2, np.nan) if "silent" in p.text else x for p, x in zip(prompts, found)]

    said = ("zork", "plim", "tarn", "zork")
    asked = [
        Choice(question=f"{name}?", options=("left", "right"), answer="left", parts=(("what is there?", a),))
        for name, a in zip(("one", "two", "three", "silent"), said)
    ]
    items = (*asked, Choice(question="why?", options=("a", "b")))
    study, who = STUDY.model_copy(update={"sub_answers": "given"}), Mostly(lambda t, o: int("zork" not in t))
    parts = [p for q in items for p in study._asked(who, [q])]
    assert not any(test == WRONG for p in parts for _, test, _, _ in p.picks)
    whole, found = study.judge(who, items), study._told(who, items, parts, 1)
    for name in ("right", "right_hinted", "right_own", "area", "parts", "sub_right"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert found.cases == whole.cases
    changed = found.area[:, TESTS.index(WRONG)]
    assert changed[:, 0].tolist() == [1.0, 1.0]  # there is no other zork
    assert np.isfinite(changed).all()
    assert [s.n_failed for s in whole.trust.scores] == [2] * len(whole.trust.scores)
    assert [s.n_failed for s in found.trust.scores] == [3] * len(found.trust.scores)
