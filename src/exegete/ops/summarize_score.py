"""Explaining any function of texts in words: sum up the n-grams it scores highest, then test the summary on other texts.

`explain(f, ...)` takes a black box f: texts -> values [text] or [text, module] and never looks inside:

1. every distinct n-gram of the texts to explain is scored once; the k highest of each module are its evidence;
2. a writer sums them up in several candidates (`ops.ngram_summary`, or a language model);
3. for each candidate the writer gives texts that it fits (Text+) and texts that it does not fit (Text-), none of which is among
   the texts to explain, in two halves;
4. score of a candidate = (mean f(Text+) - mean f(Text-)) / sigma, sigma the standard deviation of f over the texts to test; chosen is
   the one that raises f most surely on the first half (score over sqrt(1 / n+ + 1 / n-), so that two lucky texts do not win), and
   reported is its score on the second.

Controls: random candidates, as many (where fewer can be judged, so many real ones are) and with the same choice; the chosen candidate's
texts read by the other modules (`swapped`). Chance 0. Interval: bootstrap of the difference over texts of the second half.

Cost: one value of f a distinct n-gram and a distinct text. Reference: Singh et al. 2023, arXiv:2305.09863 (SASC).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from exegete.core.seed import generator
from exegete.ops.ngram_summary import (
    Candidate,
    Effects,
    Vectors,
    candidates,
    phrased,
    standard,
    strongest,
)
from exegete.ops.phrases import Index, ngrams

BlackBox = Callable[[Sequence[str]], np.ndarray]
Sides = tuple[tuple[str, ...], tuple[str, ...]]  # Text+ and Text-
LEAST = 2  # texts on each side of a half: with fewer there is no spread
SPARE = 4  # times as many candidates are made, so that enough can be tested
TRIES = 10  # draws of a random candidate until it can be tested
PHRASES = 3  # random n-grams that stand for a description in free words
NEAREST = 20  # n-grams of like frequency that a random phrase is drawn from


class Writer(ABC):
    """What sums up n-grams and finds texts for a summary. `failed` counts answers that could not be used."""

    failed: int = 0

    @abstractmethod
    def candidates(self, found: "Scored", module: int, k: int, n: int) -> tuple[Candidate, ...]:
        """At most `n` candidates from the `k` highest n-grams of a module."""

    def known(self, phrase: str) -> bool:
        """Whether a phrase can be tested at all; both candidates and random ones are made of such alone."""
        return True

    @abstractmethod
    def sides(self, candidate: Candidate) -> tuple[Sides, Sides] | None:
        """Text+ and Text- of the half to choose on and of the half to judge on; None where there are too few."""


@dataclass(frozen=True)
class Scored:
    """N-grams with the number of texts they stand in [ngram], and their values in standard deviations `z` [ngram, module]."""

    ngrams: tuple[str, ...]
    count: np.ndarray
    z: np.ndarray
    effects: Effects

    @cached_property
    def at(self) -> dict[str, int]:
        """The number of every n-gram."""
        return {g: i for i, g in enumerate(self.ngrams)}

    def top(self, module: int, k: int) -> list[int]:
        """The k highest of a module."""
        return strongest(self.ngrams, self.z[:, module], k)


@dataclass(frozen=True)
class Judged:
    """A candidate with its scores on the two halves (the first in standard errors), and how many texts it was judged on."""

    candidate: Candidate
    chosen_by: float
    score: float
    n_plus: int
    n_minus: int


@dataclass(frozen=True)
class Explained:
    """What explains one module (its number): all candidates that could be judged, the number of the best (-1: none), and its controls.

    `interval` of the score; `random` the same for random candidates, mean of draws; `swapped` of the other modules on its texts; NaN
    where there is none. `top` n-grams by number; `plus` and `minus` are the texts it was judged on with their values in sigma.
    """

    module: int
    judged: tuple[Judged, ...]
    best: int
    interval: tuple[float, float] | None
    random: float
    swapped: float
    top: tuple[int, ...]
    plus: tuple[tuple[str, float], ...]
    minus: tuple[tuple[str, float], ...]

    @property
    def score(self) -> float:
        """The score of the best candidate on texts it was not chosen on; NaN without one."""
        return self.judged[self.best].score if self.best >= 0 else float("nan")


class EmbeddedWriter(Writer):
    """Sums up by shared words, and takes the texts from those to test: they hold a phrase of the candidate, or none."""

    def __init__(
        self, test: Sequence[str], rng: np.random.Generator, most: int = 3, vectors: Vectors | None = None
    ) -> None:
        self.failed, self.vectors = 0, vectors
        order = rng.permutation(len(test))
        parts = np.sort(order[: len(test) // 2]), np.sort(order[len(test) // 2 :])
        self.halves: tuple[tuple[str, ...], ...] = tuple(tuple(str(test[i]) for i in p) for p in parts)
        self.indices = tuple(Index(h, most) for h in self.halves)
        self._both = self.indices[0].phrases & self.indices[1].phrases

    def candidates(self, found: Scored, module: int, k: int, n: int) -> tuple[Candidate, ...]:
        """By shared words (`ops.ngram_summary`); only those that stand in enough texts, whose values are not looked at."""
        made = candidates(
            found.ngrams, found.z, module, found.effects, k, SPARE * n, self.vectors, self.known
        )
        kept = tuple(c for c in made if self.sides(c) is not None)
        self.failed += len(made) - len(kept)
        return kept[:n]

    def known(self, phrase: str) -> bool:
        """Whether a phrase stands in both halves of the texts to test."""
        return phrase in self._both

    def sides(self, candidate: Candidate) -> tuple[Sides, Sides] | None:
        """Held-out texts with any of its phrases, and without."""
        made: list[Sides] = []
        for texts, index in zip(self.halves, self.indices):
            on = index.holds(candidate.phrases)
            if min(on.sum(), (~on).sum()) < LEAST:
                return None
            made.append(
                (tuple(t for t, h in zip(texts, on) if h), tuple(t for t, h in zip(texts, on) if not h))
            )
        return made[0], made[1]


def score_ngrams(f: BlackBox, texts: Sequence[str], most: int = 3, limit: int | None = None) -> Scored:
    """All n-grams of `texts`, each scored once."""
    found = ngrams(texts, most, limit)
    z = standard(_two(f(tuple(found)), len(found)))
    return Scored(tuple(found), np.array(list(found.values())), z, Effects(tuple(found), z))


def explain(
    f: BlackBox, scored: Scored, test: Sequence[str], writer: Writer, *, k: int = 30, n: int = 8, n_random: int = 5, seed: int = 0
) -> tuple[Explained, ...]:  # fmt: skip
    """Every module of `f` explained. `test`: texts that give sigma; with an embedded writer, those that it takes its texts from."""
    modules = range(scored.z.shape[1])
    asked = [writer.candidates(scored, m, k, n) for m in modules]
    drawn = [
        [
            random_like(asked[m], scored, generator(seed, "random candidates", m, d), writer)
            for d in range(n_random)
        ]
        for m in modules
    ]
    sides: dict[Candidate, tuple[Sides, Sides] | None] = {}
    for c in (c for m in modules for group in (asked[m], *drawn[m]) for c in group):
        if c not in sides:
            sides[c] = writer.sides(c)
    used = dict.fromkeys(
        (*test, *(t for s in sides.values() if s for half in s for side in half for t in side))
    )
    at = {t: i for i, t in enumerate(used)}
    values = _two(f(tuple(used)), len(used))
    spread = np.nanstd(values[: len(dict.fromkeys(test))], 0)
    values = values / np.where(spread > 1e-9, spread, np.nan)
    judge = _Judge(values, at, sides)
    return tuple(judge.module(m, asked[m], drawn[m], scored.top(m, k), seed) for m in modules)


def random_like(
    made: Sequence[Candidate], scored: Scored, rng: np.random.Generator, writer: Writer
) -> tuple[Candidate, ...]:
    """For each candidate a random one: every phrase changed for an n-gram that stands in about as many texts and can be tested."""
    own = {p for c in made for p in c.phrases}
    pool = [i for i, g in enumerate(scored.ngrams) if g not in own and writer.known(g)]
    found = []
    for c in made:
        tries = TRIES if c.phrases else 1  # a language model is asked once
        rest = [o for o in made if o.phrases] if c.phrases else []  # where none like it can be tested
        for like in [c] * tries + rest:
            picked = _drawn(like, scored, pool, rng)
            if picked and (tries == 1 or writer.sides(phrased(picked)) is not None):
                found.append(phrased(picked))
                break
    return tuple(found)


def _drawn(c: Candidate, scored: Scored, pool: Sequence[int], rng: np.random.Generator) -> list[str]:
    """Random n-grams like those of a candidate."""
    count = scored.count[list(pool)].astype(np.float64)
    picked: list[str] = []
    for p in c.phrases or ("",) * PHRASES:
        like = float(scored.count[scored.at[p]]) if p in scored.at else float(np.median(scored.count))
        near = np.argsort(np.abs(count - like) + 0.5 * rng.random(len(pool)), kind="stable")[:NEAREST]
        free = [pool[i] for i in near if scored.ngrams[pool[i]] not in picked]
        picked += [scored.ngrams[int(rng.choice(free))]] if free else []
    return picked


def difference_interval(
    plus: np.ndarray, minus: np.ndarray, seed: int, n_resamples: int = 2000
) -> tuple[float, float] | None:
    """95 % interval of mean(plus) - mean(minus), both sides resampled; None where one has fewer than two."""
    if min(len(plus), len(minus)) < LEAST:
        return None
    rng = generator(seed, "difference", len(plus), len(minus))
    a, b = (x[rng.integers(0, len(x), (n_resamples, len(x)))].mean(1) for x in (plus, minus))
    low, high = np.quantile(a - b, (0.025, 0.975))
    return float(low), float(high)


class _Judge:
    """Scores of candidates from the values [text, module] in sigma."""

    def __init__(
        self, values: np.ndarray, at: dict[str, int], sides: dict[Candidate, tuple[Sides, Sides] | None]
    ) -> None:
        self.values, self.at, self.sides = values, at, sides

    def read(self, texts: Sequence[str], module: int) -> np.ndarray:
        """Values of texts in sigma, those that could not be read left out."""
        found = self.values[[self.at[t] for t in texts], module]
        return found[np.isfinite(found)]

    def score(self, sides: Sides, module: int) -> float:
        """Mean of Text+ above that of Text-; NaN where a side is empty."""
        plus, minus = (self.read(s, module) for s in sides)
        return float(plus.mean() - minus.mean()) if min(len(plus), len(minus)) >= LEAST else float("nan")

    def judged(self, made: Sequence[Candidate], module: int) -> list[Judged]:
        """The candidates that can be judged."""
        found = []
        for c in made:
            sides = self.sides[c]
            if sides is not None:
                first, second = (self.score(s, module) for s in sides)
                first /= float(np.sqrt(sum(1 / len(s) for s in sides[0])))
                if np.isfinite(first) and np.isfinite(second):
                    found.append(Judged(c, first, second, len(sides[1][0]), len(sides[1][1])))
        return found

    def module(
        self, m: int, made: Sequence[Candidate], drawn: Sequence[Sequence[Candidate]], top: Sequence[int], seed: int
    ) -> Explained:  # fmt: skip
        """One module with its controls."""
        found, groups = self.judged(made, m), [g for group in drawn if (g := self.judged(group, m))]
        n = min([len(found), *map(len, groups)])  # the best of more would be better by chance alone
        found, best = found[:n], _best(found[:n])
        random = [g[_best(g[:n])].score for g in groups if n]
        chance = float(np.mean(random)) if random else float("nan")
        sides = self.sides[found[best].candidate] if best >= 0 else None
        if sides is None:
            return Explained(m, tuple(found), -1, None, chance, float("nan"), tuple(top), (), ())
        swapped = [self.score(sides[1], j) for j in range(self.values.shape[1]) if j != m]
        swapped = [x for x in swapped if np.isfinite(x)]
        told = [
            sorted(((t, float(self.values[self.at[t], m])) for t in s), key=lambda x: (-round(x[1], 4), x[0]))
            for s in sides[1]
        ]
        return Explained(
            module=m,
            judged=tuple(found),
            best=best,
            interval=difference_interval(self.read(sides[1][0], m), self.read(sides[1][1], m), seed),
            random=chance,
            swapped=float(np.mean(swapped)) if swapped else float("nan"),
            top=tuple(top),
            plus=tuple(told[0]),
            minus=tuple(told[1]),
        )


def _best(found: Sequence[Judged]) -> int:
    """The best on the half to choose on (-1: none)."""
    return int(np.argmax([round(j.chosen_by, 4) for j in found])) if found else -1


def _two(values: np.ndarray, n: int) -> np.ndarray:
    """Values [text, module] as float64 from what a black box returns."""
    found = np.asarray(values, dtype=np.float64)
    return found.reshape(n, -1) if found.size else found.reshape(n, 1)
