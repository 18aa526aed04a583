"""Questions about units and how answers are read; expected values against sums by hand."""

import math

import numpy as np
import pytest

from exegete.ops.unit_prompts import choice, expected, joined, marking, simulated, told, writing


def test_activations_are_told_from_0_to_10():
    assert told(np.array([-3.0, 0.0, 1.0, 2.0, 9.0]), 4.0).tolist() == [0, 0, 2, 5, 10]
    assert told(np.array([-3.0, -1.0]), -1.0).tolist() == [0, 0]


def test_the_writer_reads_tokens_with_activations():
    assert "- the food[10] was" in writing([((" the", " food", " was"), np.array([0, 10, 0]))])


def test_tokens_without_blanks_are_read_as_words():
    assert joined(("un", "##able", "to"), ("un", "##able", "to")) == "unable to"
    assert joined((" un", "able", " to"), (" un", "able", " to")) == " unable to"
    assert "the <<food>> was" in marking("x", (" the", " food", " was"), 1)
    assert "un<<able>> to" in marking("x", (" un", "able", " to"), 1)


@pytest.mark.parametrize(
    "text",
    [
        "It depends on the context.",
        "",
        "1. 0\n2. 5",  # four numbers in all, but two lines for four tokens
        "1. 0\n2. 5\n3. 5\n4. 11",
        "1. 0\n2. 5\n3. 5\n4. high",
        "0, 5, 5",
        "2. 0\n1. 5\n3. 0\n4. 0",
    ],
)
def test_answers_that_cannot_be_read(text):
    assert simulated(text, 4) is None


def test_answers_that_can_be_read():
    assert simulated("1. 0\n2. 5\n3. 5\n4. 10", 4).tolist() == [0, 5, 5, 10]  # type: ignore[union-attr]
    assert simulated("0, 5, 5, 10", 4).tolist() == [0, 5, 5, 10]  # type: ignore[union-attr]


def steps(*said: list[tuple[str, float]]) -> list[list[tuple[str, float]]]:
    return [[(t, math.log(p)) for t, p in s] for s in said]


def test_numbers_are_means_over_alternatives():
    first = [(" 3", 0.5), (" 8", 0.25), (" x", 0.2)]
    given = steps(
        [("1", 1.0)], [(".", 1.0)], first, [("\n", 1.0)], [("2.", 1.0)], [(" ", 1.0)], [("10", 1.0)]
    )
    found = simulated("1. 3\n2. 10", 2, given)
    assert found is not None
    assert found[0] == pytest.approx((3 * 0.5 + 8 * 0.25) / 0.75)
    assert found[1] == 10
    parted = steps([("1. ", 1.0)], [("1", 0.9), ("7", 0.1)], [("0", 1.0)])
    assert expected("1. 10", 1, parted).tolist() == [10]  # type: ignore[union-attr]


def test_alternatives_that_do_not_spell_the_answer_are_not_used():
    assert expected("1. 3", 1, steps([("something else", 1.0)])) is None
    assert simulated("1. 3", 1, steps([("something else", 1.0)])).tolist() == [3]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "at"),
    [("2", 1), ("Text 3.", 2), ("1.", 0), ("4", None), ("1 or 2", None), ("a text", None), ("1.5", None)],
)
def test_a_text_is_named_by_one_number(text, at):
    assert choice(text, 3) == at
