"""Describing a unit by clues: short patterns in the words around a token that raise or lower its activation. Needs no language model.

    clue      what holds at a token or not: its word, a word close before it, anywhere before it, its shape (capital, digits, ending),
              or its word together with a word before it
    describe  from excerpts (tokens with activations) to a description
    simulate  what the description says the unit does on any tokens

1. every clue of every token of the excerpts is a candidate;
2. clues are taken one after another (boosting): at each step the one that removes most of the squared error, its effect shrunk
   by how few texts it holds in (texts / (texts + ridge): tokens of one text are no independent examples);
3. among equals the shorter, earlier clue is taken; at most `most` steps, and none that removes less than `least` of the error.

A description is the sum of its clues' effects over a base: it reads left to right only, as a causal model does, unless `ahead` is
set. Shapes: activations [token]. Cost: O(tokens * clues) a step. References: Foote et al. 2023, Neuron to Graph (patterns with
activations); Friedman 2001 (stagewise least squares).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import sparse

NEAR = 3  # tokens before that are "close"
RIDGE = 2.0
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Clue:
    """What raises (or lowers) the activation by `effect`: `kind` and `word`, and `holds` on that many tokens of the excerpts."""

    kind: str
    word: str
    effect: float
    holds: int

    def __str__(self) -> str:
        return PHRASES[self.kind].format(*self.word.split("\t"))


PHRASES = {
    "word": "the word {0!r}",
    "before": "after {0!r}",
    "near": f"within {NEAR} tokens after {{0!r}}",
    "since": "anywhere after {0!r}",
    "shape": "{0}",
    "end": "words that end in {0!r}",
    "pair": "{0!r} with {1!r} before it",
    "span": "{0} with {1!r} before it",
    "ahead": "right before {0!r}",
    "into": "{0} right before {1!r}",
}


@dataclass(frozen=True)
class Clues:
    """A description: clues whose effects are added to `base`."""

    base: float
    clues: tuple[Clue, ...]
    ahead: bool = False

    def simulate(self, tokens: Sequence[str]) -> np.ndarray:
        """The activations [token] that the description foretells."""
        out = np.full(len(tokens), self.base)
        effects = {(c.kind, c.word): c.effect for c in self.clues}
        for i, held in enumerate(clues_of(tokens, self.ahead)):
            out[i] += sum(effects[c] for c in held if c in effects)
        return out

    @property
    def text(self) -> str:
        """The description in words; "" for one that says nothing."""
        up = [str(c) for c in self.clues if c.effect > 0]
        down = [str(c) for c in self.clues if c.effect < 0]
        if not up:
            return ""
        return f"fires on {', '.join(up)}" + (f"; not on {', '.join(down)}" if down else "")


def describe(
    excerpts: Sequence[tuple[Sequence[str], np.ndarray]], most: int = 10, least: float = 0.01, ahead: bool = False
) -> Clues:  # fmt: skip
    """The clues of a unit from (tokens, activations [token]) of texts. Without tokens, or where nothing varies, an empty one.

    `ahead`: also what comes next is read, for models that read both ways.
    """
    held = [c for tokens, _ in excerpts for c in clues_of(tokens, ahead)]
    y = np.concatenate([np.asarray(v, dtype=np.float64) for _, v in excerpts]) if held else np.zeros(0)
    if not len(y) or np.ptp(y) == 0:
        return Clues(float(y.mean()) if len(y) else 0.0, (), ahead)
    base = float(np.median(y))
    names = sorted({c for row in held for c in row}, key=lambda c: (_ORDER.index(c[0]), c[1]))
    table = _table(held, names)
    count = np.asarray(table.sum(0)).ravel()
    owner = sparse.csr_matrix(
        (
            np.ones(len(y)),
            (np.repeat(np.arange(len(excerpts)), [len(t) for t, _ in excerpts]), np.arange(len(y))),
        ),
        shape=(len(excerpts), len(y)),
    )
    texts = np.asarray(((owner @ table) > 0).sum(0)).ravel()
    trust = texts / (texts + RIDGE)
    effect = np.zeros(len(names))
    residual, start = y - base, float(((y - base) ** 2).sum())
    for _ in range(most):
        total = np.asarray(residual @ table).ravel()
        step = trust * total / count
        gain = (2 * total - step * count) * step  # squared error removed
        best = int(np.argmax(gain))
        if gain[best] < least * start:
            break
        effect[best] += step[best]
        residual = residual - step[best] * np.asarray(table[:, [best]].todense()).ravel()
    found = [Clue(*names[i], float(effect[i]), int(count[i])) for i in np.flatnonzero(effect)]
    return Clues(base, tuple(sorted(found, key=lambda c: -abs(c.effect))), ahead)


def clues_of(tokens: Sequence[str], ahead: bool = False) -> tuple[set[tuple[str, str]], ...]:
    """The clues (kind, word) that hold at every token; of the texts read last they are remembered."""
    return _held(tuple(tokens), ahead)


@lru_cache(maxsize=512)
def _held(tokens: tuple[str, ...], ahead: bool) -> tuple[set[tuple[str, str]], ...]:
    words = [t.strip().lower() for t in tokens]
    found: list[set[tuple[str, str]]] = []
    before: dict[str, None] = {}
    for i, (token, word) in enumerate(zip(tokens, words)):
        shape = shape_of(token)
        held = {("word", word), ("shape", shape)} if word else {("shape", shape)}
        held |= {("end", word[-n:]) for n in (2, 3) if len(word) > n + 1 and word.isalpha()}
        if i:
            held.add(("before", words[i - 1]))
        held |= {("near", w) for w in words[max(0, i - NEAR) : i] if w}
        held |= {("since", w) for w in before}
        held |= {("pair", f"{word}\t{w}") for w in before if word}
        held |= {("span", f"{shape}\t{w}") for w in before}
        if ahead and i + 1 < len(words):
            held |= {("ahead", words[i + 1]), ("into", f"{shape}\t{words[i + 1]}")}
        found.append(held)
        if word:
            before[word] = None
    return tuple(found)


def shape_of(token: str) -> str:
    """What a token looks like, in words."""
    word = token.strip()
    if not word:
        return "blanks"
    if word.isdigit():
        return f"numbers of {len(word)} digits" if len(word) < 4 else "long numbers"
    if _LETTERS.fullmatch(word):
        if word.isupper() and len(word) > 1:
            return "words in capitals"
        if word[0].isupper():
            return "words with a capital"
        return "words" if token[0].isspace() else "pieces of words"
    return "signs"


_ORDER = tuple(PHRASES)


def _table(held: list[set[tuple[str, str]]], names: list[tuple[str, str]]) -> sparse.csc_matrix:
    """Which clue holds where [token, clue]."""
    at = {n: i for i, n in enumerate(names)}
    rows = np.repeat(np.arange(len(held)), [len(h) for h in held])
    columns = np.fromiter((at[c] for h in held for c in h), dtype=np.int64, count=len(rows))
    return sparse.csc_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(held), len(names)))
