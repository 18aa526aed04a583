"""Describing a unit by clues: short patterns in the words around a token that raise or lower its activation. Needs no language model.

    clue      what holds at a token or not: its word, how the word begins or ends, its shape (capital, digits), a word close before it
              or anywhere before it, its word or shape together with a word before it, whether it stands in the text again, how late
    describe  from excerpts (tokens with activations) to a description
    simulate  what the description says the unit does on any tokens

1. every clue of every token of the excerpts is a candidate;
2. clues are taken one after another (boosting), their effects shrunk by how few texts they hold in (texts / (texts + ridge): tokens of
   one text are no independent examples): first those that stand the test of other texts, at each step the one that removes most of
   the squared error of every text with its effect taken from the others;
3. where none of them is left, those that hold in a single text too, by the error that they remove there;
4. among equals the shorter, earlier clue is taken; at most `most` steps, and none that removes less than `least` of the error.

The kinds of clues and the order of the steps were chosen on planted units over made-up texts (`tests/ops/test_clues.py`).
A description is the sum of its clues' effects over a base: it reads left to right only, as a causal model does, unless `ahead` is
set. Shapes: activations [token]. Cost: O(tokens * clues) a step. References: Foote et al. 2023, Neuron to Graph (patterns with
activations); Friedman 2001 (stagewise least squares).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from exegete.ops.needed_words import Pattern, decode, plain, told

NEAR = 3  # tokens before that are "close"
RIDGE = 2.0
STEMS = (4, 5)  # letters that words of a family share
LATE = (4, 8, 16, 32, 64)
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Clue:
    """What raises (or lowers) the activation by `effect`: `kind` and `word`, and `holds` on that many tokens of the excerpts."""

    kind: str
    word: str
    effect: float
    holds: int

    def __str__(self) -> str:
        if self.kind == PATTERN:
            return told(self.word)
        return PHRASES[self.kind].format(*self.word.split("\t"))


PATTERN = "pattern"
PHRASES = {
    "word": "the word {0!r}",
    "before": "after {0!r}",
    "near": f"within {NEAR} tokens after {{0!r}}",
    "since": "anywhere after {0!r}",
    "shape": "{0}",
    "end": "words that end in {0!r}",
    "pair": "{0!r} with {1!r} before it",
    "span": "{0} with {1!r} before it",
    "stem": "words that begin with {0!r}",
    "late": "all after the first {0} tokens",
    "again": "{0} that stood in the text before",
    "more": "{0} with others of that kind before",
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
        asked = [decode(c.word) for c in self.clues if c.kind == PATTERN]
        for i, held in enumerate(_with(clues_of(tokens, self.ahead), tokens, asked)):
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
    excerpts: Sequence[tuple[Sequence[str], np.ndarray]],
    most: int = 10,
    least: float = 0.01,
    ahead: bool = False,
    patterns: Sequence[Pattern] | None = None,
) -> Clues:
    """The clues of a unit from (tokens, activations [token]) of texts. Without tokens, or where nothing varies, an empty one.

    `ahead`: also what comes next is read, for models that read both ways. `patterns`, where they are known, are clues too, and other
    clues speak of those words before a token alone that a pattern asks for.
    """
    held = [c for tokens, _ in excerpts for c in _with(clues_of(tokens, ahead), tokens, patterns or ())]
    if patterns is not None:
        heard = {w for p in patterns for w, _ in p.before}
        held = [{c for c in at if _before(c) in (None, *heard)} for at in held]
    y = np.concatenate([np.asarray(v, dtype=np.float64) for _, v in excerpts]) if held else np.zeros(0)
    if not len(y) or np.ptp(y) == 0:
        return Clues(float(y.mean()) if len(y) else 0.0, (), ahead)
    base = float(np.median(y))
    names = sorted({c for row in held for c in row}, key=lambda c: (_ORDER.index(c[0]), c[1]))
    texts = np.repeat(np.arange(len(excerpts)), [len(t) for t, _ in excerpts])
    effect, count = _boost(_Table(held, names, texts), y - base, most, least)
    found = [Clue(*names[i], float(effect[i]), int(count[i])) for i in np.flatnonzero(effect)]
    return Clues(base, tuple(sorted(found, key=lambda c: -abs(c.effect))), ahead)


def _boost(table: "_Table", residual: np.ndarray, most: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Effects of the clues taken, and on how many tokens each holds [clue]."""
    count = np.bincount(table.clue, minlength=table.n)
    size = np.bincount(table.pair)  # tokens of one text on which one clue holds [pair]
    owner = table.owner
    texts = np.bincount(owner, minlength=table.n)
    trust = texts / (texts + RIDGE)
    rest = count[owner] - size  # tokens of the other texts on which it holds
    several = rest > 0
    effect = np.zeros(table.n)
    start, tested = float((residual**2).sum()), True
    for _ in range(most):
        held = residual[table.token]
        total = np.bincount(table.clue, held, table.n)
        step = trust * total / count
        while True:
            if tested:
                part = np.bincount(table.pair, held)
                other = np.where(several, trust[owner] * (total[owner] - part) / np.maximum(rest, 1), 0.0)
                gain = np.bincount(owner, (2 * part - other * size) * other, table.n)
            else:
                gain = (2 * total - step * count) * step  # squared error removed
            best = int(np.argmax(gain))
            if gain[best] >= least * start or not tested:
                break
            tested = False
        if gain[best] < least * start:
            break
        effect[best] += step[best]
        residual = residual.copy()
        residual[table.token[table.clue == best]] -= step[best]
    return effect, count


def _with(
    held: Sequence[set[tuple[str, str]]], tokens: Sequence[str], patterns: Sequence[Pattern]
) -> list[set[tuple[str, str]]]:
    """Clues that hold at every token, with the patterns that do."""
    if not patterns:
        return list(held)
    words = [plain(t) for t in tokens]
    return [h | {(PATTERN, p.code) for p in patterns if p.matches(words, i)} for i, h in enumerate(held)]


def _before(clue: tuple[str, str]) -> str | None:
    """The word before the token that a clue speaks of, if it speaks of one."""
    kind, word = clue
    if kind in ("pair", "span"):
        return word.split("\t")[1]
    return word if kind in ("before", "near", "since") else None


def clues_of(tokens: Sequence[str], ahead: bool = False) -> tuple[set[tuple[str, str]], ...]:
    """The clues (kind, word) that hold at every token; of the texts read last they are remembered."""
    return _held(tuple(tokens), ahead)


@lru_cache(maxsize=512)
def _held(tokens: tuple[str, ...], ahead: bool) -> tuple[set[tuple[str, str]], ...]:
    words = [t.strip().lower() for t in tokens]
    found: list[set[tuple[str, str]]] = []
    before: dict[str, None] = {}
    shapes: set[str] = set()
    for i, (token, word) in enumerate(zip(tokens, words)):
        shape = shape_of(token)
        held = {("word", word), ("shape", shape)} if word else {("shape", shape)}
        held |= {("end", word[-n:]) for n in (2, 3) if len(word) > n + 1 and word.isalpha()}
        held |= {("stem", word[:n]) for n in STEMS if len(word) >= n and word.isalpha()}
        held |= {("late", str(n)) for n in LATE if i >= n}
        if word in before:
            held |= {("again", "tokens"), ("again", shape)}
        if shape in shapes:
            held.add(("more", shape))
        shapes.add(shape)
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


_ORDER = (*PHRASES, PATTERN)


class _Table:
    """Which clue holds where: `token` and `clue` of every holding [entry], and the `pair` of text and clue that it belongs to [entry];
    `owner` is the clue of a pair [pair]. `n` clues.
    """

    def __init__(
        self, held: list[set[tuple[str, str]]], names: list[tuple[str, str]], text: np.ndarray
    ) -> None:
        at = {n: i for i, n in enumerate(names)}
        self.n = len(names)
        self.token = np.repeat(np.arange(len(held)), [len(h) for h in held])
        self.clue = np.fromiter((at[c] for h in held for c in h), dtype=np.int64, count=len(self.token))
        pairs, self.pair = np.unique(text[self.token] * self.n + self.clue, return_inverse=True)
        self.owner = pairs % self.n
