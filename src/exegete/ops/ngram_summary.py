"""Summing up the n-grams that a function scores highest, without a language model: which words make them high?

1. the effect of a word: the mean value of all n-grams that hold it above the mean of all n-grams, in standard deviations, shrunk
   by how few they are (n / (n + 2)); a word that merely stands beside the right one has no effect, because elsewhere it is low;
2. of the words of the k highest n-grams, and the k words with the largest effects, those that can be tested are taken;
3. candidates: all words whose effect is at least half of the largest; groups of words that are near each other (average linkage of
   the cosine of their vectors; without vectors, of the n-grams they share); phrases that are higher than any of their words; and
   single words.

Shapes: values [ngram] or [ngram, module]. Cost: linear in the n-grams, numbers only.
Reference: Singh et al. 2023, arXiv:2305.09863, step 1 (there a language model does the summing up).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage

Vectors = Callable[[Sequence[str]], np.ndarray]
Known = Callable[[str], bool]
MOST_WORDS = 8  # words of a group
WIDEST = 24  # words of the widest candidate
RIDGE = 2.0
SYNERGY = 0.5  # standard deviations that a phrase must be above its highest word
DIGITS = 4  # values are compared after rounding: batches of other sizes add up in another order


@dataclass(frozen=True)
class Candidate:
    """An explanation: any of the `phrases` stands in the text, or, of a language model's, what it `told`."""

    phrases: tuple[str, ...]
    told: str


def phrased(phrases: Sequence[str]) -> Candidate:
    """The candidate that phrases make, in words."""
    quoted = ", ".join(repr(p) for p in phrases)
    one = "the word" if " " not in phrases[0] else "the phrase"
    return Candidate(tuple(phrases), f"{one} {quoted}" if len(phrases) == 1 else f"any of {quoted}")


def standard(values: np.ndarray) -> np.ndarray:
    """Values in standard deviations over n-grams, rounded; 0 where they do not vary. NaN stay out of it and count as the mean."""
    mean, spread = np.nanmean(values, 0), np.nanstd(values, 0)
    flat = spread <= 1e-9 * np.maximum(np.abs(mean), 1e-9)
    z = np.where(flat, 0.0, (values - mean) / np.where(flat, 1.0, spread))
    return np.round(np.nan_to_num(z), DIGITS)


def strongest(ngrams: Sequence[str], z: np.ndarray, k: int) -> list[int]:
    """The k highest n-grams by `z` [ngram]; among equals the shorter."""
    return sorted(range(len(ngrams)), key=lambda i: (-z[i], ngrams[i].count(" "), ngrams[i]))[:k]


class Effects:
    """How much every word of some n-grams raises the values of those that hold it."""

    def __init__(self, ngrams: Sequence[str], z: np.ndarray) -> None:
        held = [sorted(set(g.split())) for g in ngrams]
        self.at = {w: i for i, w in enumerate(sorted({w for h in held for w in h}))}
        rows = np.repeat(np.arange(len(held)), [len(h) for h in held])
        columns = np.array([self.at[w] for h in held for w in h], dtype=np.int64)
        shape = (len(held), len(self.at))
        self.table = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
        count = np.asarray(self.table.sum(0)).ravel()[:, None]
        self.values = np.round((self.table.T @ z) / (count + RIDGE), DIGITS)  # [word, module]

    def ranked(self, module: int) -> list[str]:
        """All words, the largest effect first."""
        return sorted(self.at, key=lambda w: (-self.values[self.at[w], module], w))

    def of(self, word: str, module: int) -> float:
        """The effect of one word on one module."""
        return float(self.values[self.at[word], module])


def candidates(
    ngrams: Sequence[str], z: np.ndarray, module: int, effects: Effects, k: int, n: int, vectors: Vectors | None = None, known: Known | None = None
) -> tuple[Candidate, ...]:  # fmt: skip
    """At most `n` candidates for one module from the `k` highest n-grams; none where nothing raises its values.

    `z` [ngram, module] from `standard`. `known` says which phrases can be tested at all; others are not taken.
    """
    top = strongest(ngrams, z[:, module], k)
    may = known or (lambda _: True)
    high = [w for w in effects.ranked(module) if may(w)][
        :k
    ]  # where the top n-grams hold few words that can be tested
    told = {w: effects.of(w, module) for w in (*(w for i in top for w in ngrams[i].split()), *high)}
    ranked = sorted((w for w in told if told[w] > 0 and may(w)), key=lambda w: (-told[w], w))
    if not ranked:
        return ()
    strong = [w for w in ranked if told[w] >= told[ranked[0]] / 2][:WIDEST]
    groups = _groups(ranked[: 4 * MOST_WORDS], [ngrams[i] for i in top], vectors)
    groups.sort(key=lambda g: (-float(np.mean([told[w] for w in g])), g))
    value = {ngrams[i]: float(z[i, module]) for i in range(len(ngrams)) if " " not in ngrams[i]}
    whole = [
        ngrams[i]
        for i in top
        if " " in ngrams[i] and may(ngrams[i]) and _above(ngrams[i], float(z[i, module]), value)
    ]
    share = max(1, n // 3)
    made = [tuple(strong), *((w,) for w in ranked[:share]), *groups[:share], *((p,) for p in whole[:share])]
    made += [(w,) for w in ranked[share:]]
    distinct = {frozenset(m): m for m in reversed(made)}  # the first of equal ones stays
    kept = [m for m in dict.fromkeys(made) if distinct[frozenset(m)] == m]
    return tuple(phrased(m) for m in kept[:n])


def _above(phrase: str, value: float, single: dict[str, float]) -> bool:
    """Whether a phrase is clearly higher than each of its words."""
    return value > max((single.get(w, 0.0) for w in phrase.split()), default=0.0) + SYNERGY


def _groups(words: Sequence[str], top: Sequence[str], vectors: Vectors | None) -> list[tuple[str, ...]]:
    """Groups of two words or more that are near each other."""
    if len(words) < 3:
        return []
    if vectors is None:
        at = {w: i for i, w in enumerate(words)}
        x = np.eye(len(words))
        for g in top:
            here = [at[w] for w in g.split() if w in at]
            x[np.ix_(here, here)] += 1.0
    else:
        x = np.asarray(vectors(words), dtype=np.float64)
        x = x - x.mean(0)
    size = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(size < 1e-12, 1.0, size)
    gap = np.round(np.clip(1.0 - (x @ x.T)[np.triu_indices(len(words), 1)], 0.0, 2.0), DIGITS)
    owner = fcluster(linkage(gap, "average"), max(2, len(words) // 4), "maxclust")
    found = [tuple(w for w, o in zip(words, owner) if o == c)[:MOST_WORDS] for c in np.unique(owner)]
    return [g for g in found if len(g) > 1]
