"""Consistency and sufficiency of explanations: does what an explanation says hold for other texts that it fits?

    m_c = Pr[ f(x') = f(x) | e(x') = e(x) ]            texts with the same explanation are answered alike
    m_s = Pr[ f(x') = f(x) | x' satisfies e(x) ]       texts that hold its words are answered alike

e(x) is the set of the k words with the highest scores for the model's own answer f(x); x' satisfies e(x) where it holds all of
them. Both are estimated over pairs of the given texts (`ops.same_answer`): of the partners of x, the share with its answer, and
the mean over the texts that have partners. A text whose explanation no other shares says nothing: it is counted as unique, and
with fewer than `fewest` texts that have partners there is no value.

Chance: the same explanations dealt out over the texts at random (mean of `n_random` deals; the number of partners stays); control:
k random words of each text (mean of `n_random` draws), for words by themselves go with answers. Interval: texts drawn anew.
Texts that occur twice count once. Cost: explanations, and a forward a text.
Reference: Dasgupta, Frost & Moshkovitz 2022 (arXiv:2202.00734), definitions of section 2, estimators of section 4.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.local_consistency import MEASURES, LocalConsistency
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.sanity.checking import Asked, Bench, SanityStudy, noted, settled
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.ops.rank import descending
from exegete.ops.same_answer import agreement_interval, pair_agreement

NAN = float("nan")
CONTROL = "random words of each text"
Words = frozenset[str]


class ExplainedText(Value):
    """One text: the model's answer, its words [unit], every method's scores [method, unit] (NaN where it failed), and reasons of
    what failed. No words: it has fewer than two units.
    """

    answer: int = -1
    words: tuple[str, ...] = ()
    scores: np.ndarray = np.zeros((0, 0))
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Measured:
    """One measure of one set of explanations: its value, interval, both guesses, and how many have partners, and have none."""

    value: float
    interval: tuple[float, float] | None
    dealt: float
    drawn: float
    n: int
    unique: int


@register
class LocalConsistencyStudy(SanityStudy, Divided):
    """Whether texts that share an explanation, or hold the words of one, get the same answer of the model."""

    id: ClassVar[str] = "local_consistency"
    techniques: ClassVar[tuple[str, ...]] = ("O5",)
    finds: ClassVar[type] = LocalConsistency
    usual: ClassVar[int | None] = 100
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs")
    reference: ClassVar[Reference] = Reference(
        authors="Dasgupta et al.", year=2022, title="Framework for Evaluating Faithfulness of Local Explanations",
        where="arXiv:2202.00734", equation="sections 2 and 4",
    )  # fmt: skip
    passes: ClassVar[str] = "explanations, once, and a forward a text"
    sizes: tuple[int, ...] = Field(
        (1, 2, 3), min_length=1, description="numbers of words that make an explanation"
    )
    fewest: int = Field(
        5, ge=1, le=10_000, description="texts that must have partners, else there is no value"
    )
    n_random: int = Field(50, ge=1, le=10_000, description="deals and draws of random explanations")

    part: ClassVar[type[Value]] = ExplainedText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[ExplainedText]:
        """Each text, answered and explained by every method. One that stands twice is worked on once."""
        found: dict[str, ExplainedText] = {}
        with lab.working(len(items), "explaining") as done:
            for item in items:
                key = _key(item)
                if key not in found:
                    (bench,) = self.benches(lab, [item], target)
                    found[key] = ExplainedText() if bench is None else _explained(bench)
                done()
        return [found[_key(item)] for item in items]

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[ExplainedText],
        target: Target,
        n_failed: int = 0,
    ) -> LocalConsistency:
        """Every method, by the number of words, over all texts."""
        mine = [p for p in {_key(i): p for i, p in zip(items, parts)}.values() if p.words]
        if not mine:
            raise self.nothing(len(items))
        names = self.names
        answers = np.array([p.answer for p in mine])
        scores = [[_known(p.scores[m]) for p in mine] for m in range(len(names))]
        sizes = tuple(sorted({max(1, k) for k in self.sizes}))
        found = {
            (j, k): self._measures(scores[j], answers, [p.words for p in mine], size)
            for j in range(len(scores))
            for k, size in enumerate(sizes)
        }
        shape = (len(MEASURES), len(scores), len(sizes))

        def gathered(name: str) -> np.ndarray:
            return np.array(
                [
                    [[getattr(found[j, k][i], name) for k in range(shape[2])] for j in range(shape[1])]
                    for i in range(shape[0])
                ]
            )

        lost = [sum(s is None for s in row) + n_failed for row in scores]
        told = tuple(
            _score(
                f"{names[j]}: {MEASURES[i]} of {sizes[k]} word{'s' * (sizes[k] > 1)}",
                found[j, k][i],
                lost[j],
            )
            for j in range(shape[1])
            for k in range(shape[2])
            for i in range(shape[0])
        )
        ends = [
            [[found[j, k][i].interval or (NAN, NAN) for k in range(shape[2])] for j in range(shape[1])]
            for i in range(shape[0])
        ]
        unique = gathered("unique")
        failures = Counter(w for p in mine for w in p.failures)
        return LocalConsistency(
            title="Do texts with the same explanation get the same answer?",
            lede=_lede(told, answers),
            context=(("texts", str(len(mine))), ("different answers", str(len(set(answers.tolist()))))),
            methods=names,
            sizes=sizes,
            value=gathered("value"),
            interval=np.array(ends),
            dealt=gathered("dealt"),
            drawn=gathered("drawn"),
            unique=unique / np.maximum(unique + gathered("n"), 1),
            trust=Trust(scores=told, seed=self.seed, notes=noted(failures)),
        )

    def _measures(
        self,
        scores: Sequence[np.ndarray | None],
        answers: np.ndarray,
        words: Sequence[Sequence[str]],
        k: int,
    ) -> tuple[_Measured, ...]:
        """Both measures of the explanations of k words, over the texts that were explained."""
        at = [i for i, s in enumerate(scores) if s is not None]
        y, texts = answers[at], [frozenset(words[i]) for i in at]
        own = [top_words(words[i], s, k) for i in at if (s := scores[i]) is not None]
        rng = generator(self.seed, "explanations at random", k)
        deals = [[own[j] for j in rng.permutation(len(own))] for _ in range(self.n_random)]
        draws = [[_some(rng, held, k) for held in texts] for _ in range(self.n_random)]
        found = []
        for relation in (alike, satisfied):
            related = relation(own, texts)
            m = pair_agreement(related, y)
            known = m[np.isfinite(m)]
            enough = len(known) >= self.fewest
            dealt, drawn = (
                _mean(np.array([_mean(pair_agreement(relation(e, texts), y)) for e in many]))
                for many in (deals, draws)
            )
            found.append(
                _Measured(
                    value=_mean(known) if enough else NAN,
                    interval=agreement_interval(related, y, self.seed) if enough else None,
                    dealt=dealt,
                    drawn=drawn,
                    n=len(known),
                    unique=len(m) - len(known),
                )
            )
        return tuple(found)


def top_words(words: Sequence[str], scores: np.ndarray, k: int) -> Words:
    """The k different words with the highest scores; one that stands twice counts by its higher score."""
    order = descending(settled(scores)).tolist()
    return frozenset(list(dict.fromkeys([str(words[u]) for u in order]))[:k])


def alike(explained: Sequence[Words], texts: Sequence[Words]) -> np.ndarray:
    """Which texts have the very same explanation [N, N]."""
    return np.array([[a == b for b in explained] for a in explained], dtype=bool).reshape(len(explained), -1)


def satisfied(explained: Sequence[Words], texts: Sequence[Words]) -> np.ndarray:
    """Which texts [column] hold all words of which explanation [row]."""
    return np.array([[a <= t for t in texts] for a in explained], dtype=bool).reshape(len(explained), -1)


def _key(item: Text) -> str:
    """What makes two texts one: all that is read, whatever it is called and marked with."""
    return item.model_copy(update={"id": "", "spans": ()}).model_dump_json()


def _explained(bench: Bench) -> ExplainedText:
    """One text: what the model answers, and what every method says of it."""
    (asked,) = bench.asked
    scores = np.full((len(bench.methods), len(asked.units)), NAN)
    for m in range(len(bench.methods)):
        found = bench.explain(m, 0)
        if found is not None:
            scores[m] = found
    return ExplainedText(
        answer=int(asked.question.reference()[0].argmax(-1).flatten()[0]),
        words=tuple(_words(asked)),
        scores=scores,
        failures=tuple(bench.failures.elements()),
    )


def _known(scores: np.ndarray) -> np.ndarray | None:
    """Scores [unit]; None where the method failed."""
    return scores if np.isfinite(scores).all() else None


def _words(asked: Asked) -> list[str]:
    return [u.text.strip().lower() for u in asked.units]


def _some(rng: np.random.Generator, words: Words, k: int) -> Words:
    known = sorted(words)
    return frozenset(known[i] for i in rng.permutation(len(known))[:k])


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _score(name: str, m: _Measured, lost: int) -> Score:
    known, there = np.isfinite(m.drawn), np.isfinite(m.value)
    return Score(
        name=name,
        value=m.value,
        chance=m.dealt if np.isfinite(m.dealt) else None,
        control=m.drawn if known else None,
        control_name=CONTROL if known else "",
        interval=m.interval,
        n=m.n if there else 0,
        n_failed=m.unique + lost if there else max(1, m.n + m.unique + lost),
        skipped=""
        if known and there
        else "no two texts share an explanation"
        if not m.n
        else "too few texts share an explanation",
    )


def _lede(scores: Sequence[Score], answers: np.ndarray) -> str:
    if len(set(answers.tolist())) < 2:
        return "The model answers all texts alike, so that every explanation is consistent and sufficient: take other texts."
    known = [s for s in scores if np.isfinite(s.value)]
    if not known:
        return "No two texts share an explanation: take more texts, or fewer words."
    good = [s for s in known if s.beats_chance and s.beats_control]
    best = max(known, key=lambda s: (s in good, s.value))
    n = best.n + best.n_failed
    words = f"The highest is {best.name}, {best.value:.2f}, against {best.chance or NAN:.2f} of explanations dealt at random and {best.control or NAN:.2f} of random words; {best.n_failed} of {n} texts have no partner."
    if not good:
        return f"{words} No method beats both."
    return f"{words} {len(good)} of {len(scores)} values beat both."
