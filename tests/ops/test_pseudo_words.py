"""Pseudo-words are new, keep endings and capitals, cost as many tokens where they can, and are the same for the same word."""

import numpy as np

from exegete.ops.pseudo_words import VOWELS, cased, ending, is_open, pseudo_words

WORDS = [("walking", "VERB"), ("walked", "VERB"), ("cats", "NOUN"), ("happiness", "NOUN"), ("quickly", "ADV"), ("big", "ADJ"), ("class", "NOUN")]  # fmt: skip


def pieces(words: list[str]) -> list[int]:
    """A tokenizer of pieces of three letters."""
    return [-(-len(w) // 3) for w in words]


def test_endings():
    assert [ending(w, t) for w, t in WORDS] == ["ing", "ed", "s", "ness", "ly", "", ""]
    assert ending("sing", "VERB") == ""  # nothing would be left of it


def test_pseudo_words():
    made = pseudo_words(WORDS * 2, {w for w, _ in WORDS}, pieces, np.random.default_rng(0))
    assert list(made) == WORDS
    assert len(set(made.values())) == len(WORDS)
    for (word, tag), new in made.items():
        assert new.endswith(ending(word, tag))
        assert new not in {w for w, _ in WORDS}
        assert any(v in new for v in VOWELS)
        assert pieces([new]) == pieces([word])


def test_a_known_word_is_never_made():
    first = pseudo_words([("cat", "NOUN")], (), pieces, np.random.default_rng(0))[("cat", "NOUN")]
    again = pseudo_words([("cat", "NOUN")], {first.upper()}, pieces, np.random.default_rng(0))[("cat", "NOUN")]  # fmt: skip
    assert again != first


def test_classes_and_capitals():
    assert is_open("NOUN", "det")
    assert not is_open("DET", "nsubj")
    assert is_open("", "obl:tmod")
    assert not is_open("", "case")
    assert [cased("blick", w) for w in ("cat", "Cat", "CAT", "I")] == ["blick", "Blick", "BLICK", "Blick"]
