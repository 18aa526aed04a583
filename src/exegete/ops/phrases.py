"""Words and n-grams of texts: which there are, in how many texts each stands, and which texts hold a phrase.

A word is a run of letters or digits, with apostrophes and hyphens inside it; case is not heard. An n-gram is 1 to `most` words that
stand one after another in a text; a sign between them does not part them. Cost: linear in the words.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def words(text: str) -> tuple[str, ...]:
    """The words of a text, in small letters."""
    return tuple(_WORD.findall(text.lower()))


def ngrams_of(text: str, most: int = 3) -> dict[str, None]:
    """The distinct n-grams of a text, shorter ones first."""
    w = words(text)
    return dict.fromkeys(" ".join(w[i : i + n]) for n in range(1, most + 1) for i in range(len(w) - n + 1))


def ngrams(texts: Sequence[str], most: int = 3, limit: int | None = None) -> dict[str, int]:
    """Every distinct n-gram of `texts` with the number of texts it stands in; beyond `limit` the rarest are left out.

    Among equally rare ones the shorter, then the first in the alphabet are kept, so that the order of the texts says nothing.
    """
    found = Counter(g for t in texts for g in ngrams_of(t, most))
    order = sorted(found, key=lambda g: (-found[g], g.count(" "), g))
    return {g: found[g] for g in order[:limit]}


class Index:
    """Which of some texts hold a phrase. `most`: the longest phrase in words that can be asked for."""

    def __init__(self, texts: Sequence[str], most: int = 3) -> None:
        self.n = len(texts)
        self._texts: dict[str, list[int]] = {}
        for i, t in enumerate(texts):
            for g in ngrams_of(t, most):
                self._texts.setdefault(g, []).append(i)

    @property
    def phrases(self) -> frozenset[str]:
        """All that stand in any text."""
        return frozenset(self._texts)

    def holds(self, phrases: Sequence[str]) -> np.ndarray:
        """Whether each text holds any of the phrases [text] bool."""
        out = np.zeros(self.n, dtype=bool)
        for p in phrases:
            out[self._texts.get(p, [])] = True
        return out


def spots(text: str, phrases: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The words of a text as they are written, and 1 where any of the phrases stands, else 0 [word]."""
    found = list(_WORD.finditer(text))
    low = [m[0].lower() for m in found]
    at = np.zeros(len(found))
    for p in (q.split() for q in phrases):
        for i in range(len(low) - len(p) + 1):
            if low[i : i + len(p)] == p:
                at[i : i + len(p)] = 1.0
    return tuple(m[0] for m in found), at
