"""The language of `terrarium/repeats`: random words, and a segment of them said again and again.

A text is up to 6 words that stay alone, and a segment of 8 to 24 words repeated until the text is full. Words are drawn at
random, but three in ten are the favourite follower of the word before (a fixed permutation of the words). Nothing about a
segment can be known before it comes back.

Ids are those of the model's tokenizer: first the special tokens, then the words. Needs no torch.
"""

import numpy as np

from exegete.core.seed import generator
from exegete.terrarium import lexicon as lex

SPECIALS = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
WORDS = tuple(dict.fromkeys((*lex.OBJECTS, *lex.ANIMALS, *lex.COLORS)))[:60]
LENGTH = 64
FOLLOWED = 0.3
SEGMENT = 12  # words of a pair's segment


def followers() -> np.ndarray:
    """The favourite follower [vocabulary] of every token id: a fixed permutation of the words; specials follow themselves."""
    first = len(SPECIALS)
    order = generator(0, "repeats", "followers").permutation(len(WORDS)) + first
    return np.concatenate([np.arange(first), order])


def words(draw: np.random.Generator, n: int) -> np.ndarray:
    """`n` token ids: each the favourite follower of the one before (three in ten), or any word."""
    first = len(SPECIALS)
    ids, follow, table = draw.integers(first, first + len(WORDS), n), draw.random(n) < FOLLOWED, followers()
    for i in range(1, n):
        ids[i] = table[ids[i - 1]] if follow[i] else ids[i]
    return ids


def text(draw: np.random.Generator) -> np.ndarray:
    """One training text [LENGTH] of token ids."""
    alone, size = int(draw.integers(0, 7)), int(draw.integers(8, 25))
    said = words(draw, alone + size)
    times = LENGTH // size + 1
    return np.concatenate([[1], said[:alone], np.tile(said[alone:], times)])[:LENGTH]


def spelled(ids: np.ndarray) -> str:
    """Token ids [n] of words (a leading `<s>` is left out) as the text that the tokenizer reads as those ids."""
    first = len(SPECIALS)
    return " ".join(WORDS[i - first] for i in ids if i >= first)


def turned(draw: np.random.Generator) -> tuple[str, str, str, str]:
    """A segment of different words that begins again, the same with another word where it goes on, and what follows in each."""
    *said, new = (WORDS[i] for i in draw.permutation(len(WORDS))[: SEGMENT + 1])
    at = int(draw.integers(2, SEGMENT))
    other = [new if i == at else w for i, w in enumerate(said)]
    clean, corrupt = (" ".join([*s, *s[:at]]) for s in (said, other))
    return clean, corrupt, said[at], new
