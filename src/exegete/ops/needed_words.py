"""Patterns: words that must stand before a token, and the token's own word, merged from contexts of which the words that matter are marked.

1. a context in which every token has an importance (what of the activation goes when it is replaced) becomes a pattern: the
   words whose importance is at least `least`, from the token backwards, each with how far before it stands;
2. patterns of the same words in the same order are one: a word may stand as far away as the furthest of them (patterns begin at
   the token and branch backwards, a tree whose equal branches are merged);
3. one that asks for more than another does, and is no stronger, is left out.

A pattern is one string, so that it can stand among clues (`ops.clues`): word, then word and reach before it, parted by tabs.
Shapes: importance [token]. Cost: O(contexts * tokens). Reference: Foote et al. 2023, Neuron to Graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ANY = ""


@dataclass(frozen=True)
class Context:
    """Tokens up to the one that fires, the last; `importance` [token] of each, and the activation `value`."""

    tokens: tuple[str, ...]
    importance: np.ndarray
    value: float


@dataclass(frozen=True)
class Pattern:
    """`word` at the token (`ANY`: any), and `before` it, nearest first, words each at most so many tokens away."""

    word: str
    before: tuple[tuple[str, int], ...]
    value: float = 0.0

    @property
    def code(self) -> str:
        """The pattern as one string."""
        return "\t".join((self.word, *(f"{w}\t{reach}" for w, reach in self.before)))

    def matches(self, words: Sequence[str], i: int) -> bool:
        """Whether it holds at token i of `words` (lower case, no blanks around)."""
        if self.word not in (ANY, words[i]):
            return False
        at = i
        for word, reach in self.before:  # the nearest that will do leaves the most room for the next
            at = next((j for j in range(at - 1, max(i - reach, 0) - 1, -1) if words[j] == word), -1)
            if at < 0:
                return False
        return True

    @property
    def asks(self) -> set[str]:
        """The words that it asks for."""
        return {w for w in (self.word, *(w for w, _ in self.before)) if w != ANY}


def decode(code: str) -> Pattern:
    """A pattern from its `code`."""
    word, *rest = code.split("\t")
    return Pattern(word, tuple((w, int(r)) for w, r in zip(rest[::2], rest[1::2])))


def told(code: str) -> str:
    """A pattern in words."""
    p = decode(code)
    here = repr(p.word) if p.word != ANY else "any word"
    back = ", ".join(f"{w!r} {'right' if r == 1 else f'within {r} tokens'} before it" for w, r in p.before)
    return f"{here} with {back}" if back else here


def pattern_of(context: Context, least: float = 0.5) -> Pattern | None:
    """The pattern of one context; None where no token of it matters."""
    words = [plain(t) for t in context.tokens]
    last = len(words) - 1
    marked = [i for i in range(last, -1, -1) if context.importance[i] >= least and words[i]]
    if not marked:
        return None
    word = words[last] if last in marked else ANY
    return Pattern(word, tuple((words[i], last - i) for i in marked if i != last), context.value)


def merged(contexts: Sequence[Context], least: float = 0.5) -> tuple[Pattern, ...]:
    """The patterns of contexts, the strongest first."""
    found: dict[tuple[str, ...], list[Pattern]] = {}
    for c in contexts:
        p = pattern_of(c, least)
        if p is not None:
            found.setdefault((p.word, *(w for w, _ in p.before)), []).append(p)
    together = []
    for (word, *before), same in found.items():
        reach = np.max([[r for _, r in p.before] for p in same], axis=0)
        value = float(np.mean([p.value for p in same]))
        together.append(Pattern(word, tuple((w, int(r)) for w, r in zip(before, reach)), value))
    kept = [p for p in together if not any(_wider(q, p) for q in together if q is not p)]
    return tuple(sorted(kept, key=lambda p: (-p.value, p.code)))


def _wider(one: Pattern, other: Pattern) -> bool:
    """Whether `one` holds wherever `other` does, and is as strong."""
    if one.word not in (ANY, other.word) or one.value < other.value or len(one.before) > len(other.before):
        return False
    rest = iter(other.before)
    inside = all(any(w == v and s <= r for v, s in rest) for w, r in one.before)
    return inside and (one.word, one.before) != (other.word, other.before)


def plain(token: str) -> str:
    """The word of a token as patterns compare it."""
    return token.strip().lower()
