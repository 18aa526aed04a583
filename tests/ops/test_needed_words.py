"""Patterns against their definition: equal ones merge, wider ones stand for narrower ones, and a match is what brute force finds."""

import itertools

import numpy as np

from exegete.ops.clues import describe
from exegete.ops.needed_words import ANY, Context, Pattern, decode, merged, pattern_of, told


def context(tokens: str, marked: str, value: float = 1.0) -> Context:
    words = tokens.split()
    return Context(
        tuple(f" {w}" for w in words), np.array([float(w in marked.split()) for w in words]), value
    )


def test_only_words_that_matter_are_asked_for():
    assert pattern_of(context("a x x b", "a b")) == Pattern("b", (("a", 3),), 1.0)
    assert pattern_of(context("a x b", "a")) == Pattern(ANY, (("a", 2),), 1.0)
    assert pattern_of(context("a b", "")) is None


def test_equal_patterns_are_one_as_far_as_the_furthest_and_wider_ones_stand_for_narrower():
    same = merged([context("a b", "a b", 2.0), context("a x x b", "a b", 4.0)])
    assert same == (Pattern("b", (("a", 3),), 3.0),)
    assert [p.word for p in merged([context("a b", "b", 3.0), context("a b", "a b", 2.0)])] == ["b"]
    assert (
        len(merged([context("a b", "b", 2.0), context("a b", "a b", 3.0)])) == 2
    )  # the narrower is stronger


def test_a_match_is_any_choice_of_places_in_order_and_reach():
    p = Pattern("b", (("a", 2), ("c", 4)))
    for words in itertools.product("abc", repeat=6):
        for i in range(6):
            places = itertools.combinations(range(i), 2)
            true = words[i] == "b" and any(
                words[k] == "a" and i - k <= 2 and words[j] == "c" and i - j <= 4 for j, k in places
            )
            assert p.matches(words, i) == true
    assert decode(p.code) == p
    assert told(p.code) == "'b' with 'a' within 2 tokens before it, 'c' within 4 tokens before it"


def test_a_description_speaks_of_no_word_before_that_no_pattern_asks_for():
    rng = np.random.default_rng(0)
    texts = [[str(w) for w in rng.choice(list("abcd"), 8)] for _ in range(30)]
    rows = [
        np.array([float(w == "b" and "a" in t[max(0, i - 2) : i]) for i, w in enumerate(t)]) for t in texts
    ]
    found = describe(list(zip(texts, rows)), patterns=merged([context("a x b", "a b")]))
    assert found.clues[0].kind == "pattern"
    assert np.allclose(found.simulate(list("cabacbcab")) > 0.5, list(map(bool, (0, 0, 1, 0, 0, 1, 0, 0, 1))))
    assert not {c.word for c in found.clues if c.kind in ("near", "before", "since")} - {"a"}
