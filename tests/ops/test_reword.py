"""Mistakes change what is said, other words do not: numbers, names and negations tell."""

import re

import numpy as np
import pytest

from exegete.core.seed import generator
from exegete.ops.reword import mistaken, names, reworded, steps_of

DRAW = generator(0, "test")


def made(step, options=()):
    found = mistaken(step, options, DRAW)
    if found is None:
        raise LookupError(step)
    return found


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        ("So the bird is in the oak.", "option"),
        ("She has 16 - 3 = 1,300 eggs.", "number"),
        ("The owl is the leftmost.", "opposite"),
        ("Ada tells the truth.", "opposite"),
        ("It isn't here.", "negation"),
        ("The sky is blue.", "negation"),
    ],
)
def test_every_rule(step, rule):
    told, by = made(step, ("the oak", "the elm"))
    assert by == rule
    assert told != step


def test_a_mistaken_number_is_another_number_in_the_same_form():
    for _ in range(50):
        told, _ = made("it makes $1,250.50 in 3 days")
        assert told.startswith("it makes $1,250.50 in ")
        assert int(re.findall(r"\d+", told)[-1]) != 3
    told, _ = made("worth 2,000.")
    assert re.fullmatch(r"worth 2,00\d\.", told)


def test_no_rule_fits():
    assert mistaken("hm", ("yes", "no"), np.random.default_rng(0)) is None


def test_other_words_keep_numbers_names_and_negations():
    steps = (
        "So 3 cats do not see Ada.",
        "Bob cannot go because 12 + 1 = 13.",
        "plain words",
        "Each box isn't red",
    )
    for s in steps:
        told = reworded(s)
        assert told != s
        assert re.findall(r"\d+", told) == re.findall(r"\d+", s)
        assert bool(re.search(r"not|n't", told)) == bool(re.search(r"not|n't", s))
    assert reworded(reworded("So it is.")) == "So it is."


def test_steps_and_names():
    assert steps_of("Ada has 3.5 metres. Bob has 2.\nSo it is 5.5.") == (
        "Ada has 3.5 metres.",
        "Bob has 2.",
        "So it is 5.5.",
    )
    assert names("cat", "a Cat sat")
    assert not names("cat", "catalogue")
