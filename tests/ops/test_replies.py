"""Answers are read by their form; what does not fit is no answer."""

import pytest

from exegete.ops.replies import chosen, listed, numbers


def test_a_list_keeps_words_that_begin_with_numbers():
    text = "Here:\n1. 1990s music\n2) 3.5 metres\n- the 1990s\n* **bold**"
    assert listed(text) == ("1990s music", "3.5 metres", "the 1990s", "bold")
    assert listed("1990s music\n2.5 times") == ("1990s music", "2.5 times")
    assert listed(text, 2) == ("1990s music", "3.5 metres")
    assert listed(" \n ") is None


@pytest.mark.parametrize(
    ("text", "n", "want"),
    [
        ("1. 7\n2. 0\n3. 10", 3, (7.0, 0.0, 10.0)),
        ("7, 0, 10", 3, (7.0, 0.0, 10.0)),
        ("I cannot say.", 1, None),
        ("7 8", 1, None),
        ("11", 1, None),
        ("-1", 1, None),
        ("", 1, None),
        ("1. 7\n2. 0", 3, None),
        ("1. 0\n2. 5", 4, None),  # the numbers of the list are no answers
    ],
)
def test_numbers(text, n, want):
    assert numbers(text, n, 0, 10) == want


def test_a_choice_is_named_once():
    assert chosen("The answer is Yes.", ("yes", "no")) == 0
    assert chosen("I know it: no", ("yes", "no")) == 1  # "know" holds no "no"
    assert chosen("yes or no", ("yes", "no")) is None
    assert chosen("perhaps", ("yes", "no")) is None
