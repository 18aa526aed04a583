"""Alignment: every token in exactly one unit, units in order, against a slow character-by-character twin."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.core.errors import InputError, UnknownName
from exegete.core.text import Token, sentences, units, words

TEXT = "Mr. O'Neil didn't pay $5.20! Was it well-known? 你好 yes"


def test_words():
    found = [TEXT[a:b] for a, b in words(TEXT)]
    assert found == [
        "Mr",
        ".",
        "O'Neil",
        "didn't",
        "pay",
        "$",
        "5",
        ".",
        "20",
        "!",
        "Was",
        "it",
        "well-known",
        "?",
        "你",
        "好",
        "yes",
    ]


def test_sentences():
    assert [TEXT[a:b] for a, b in sentences(TEXT)] == [
        "Mr. O'Neil didn't pay $5.20!",
        "Was it well-known?",
        "你好 yes",
    ]


def cut(text, cuts):
    edges = sorted({0, len(text), *[c for c in cuts if c < len(text)]})
    return [Token(i, text[a:b], a, b) for i, (a, b) in enumerate(pairwise(edges))]


@given(st.text(alphabet="ab ,.'\n", min_size=1, max_size=30), st.lists(st.integers(0, 30)))
def test_every_token_is_in_one_unit_whatever_the_cuts(text, cuts):
    tokens = cut(text, cuts)
    for level in ("token", "word", "sentence"):
        found = units(tokens, text, level)
        assert [i for u in found for i in u.tokens] == list(range(len(tokens)))


@given(st.lists(st.sampled_from(["the", "cat", "didn't", ",", "x"]), min_size=1, max_size=8))
def test_words_cut_into_characters_come_back_whole(parts):
    text = " ".join(parts)
    tokens = cut(text, range(len(text)))
    slow = [text[a:b] for a, b in words(text)]
    assert [u.text for u in units(tokens, text, "word")] == slow


def test_a_token_over_two_words_ties_them():
    tokens = [Token(0, "ab c", 0, 4), Token(1, "d", 4, 5)]
    assert [u.tokens for u in units(tokens, "ab cd", "word")] == [(0, 1)]


def test_special_and_prefix_tokens():
    tokens = [Token(9, "[CLS]", role="special"), Token(1, "hi", 0, 2), Token(5, "yo", role="prefix")]
    assert [u.text for u in units(tokens, "hi")] == ["hi"]
    assert [u.text for u in units(tokens, "hi", roles=("prompt", "prefix"))] == ["hi", "yo"]


def test_letters():
    with pytest.raises(UnknownName, match="word"):
        units([Token(1, "hi", 0, 2)], "hi", "wrod")
    with pytest.raises(InputError, match="span"):
        units([Token(1, "hi", 0, 2)], "hi", "span")


def test_spans_given_by_the_user():
    tokens = cut("one two three", [4, 8])
    found = units(tokens, "one two three", "span", spans=[(0, 7)])
    assert [u.text for u in found] == ["one two", "three"]


def test_a_single_small_letter_ends_a_sentence_and_an_initial_does_not():
    text = "This is plan b. J. Smith made it."
    assert [text[a:b] for a, b in sentences(text)] == ["This is plan b.", "J. Smith made it."]
