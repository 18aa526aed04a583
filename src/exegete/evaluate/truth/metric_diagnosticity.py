"""Metric diagnosticity: does a metric of faithfulness itself put what is true before what is random, and at what cost?

    D(F) = Pr[ F puts u before v ],   u the truth, v random scores of the same text; ties one half

1. texts of planted models, whose words have proven themselves (`planted.proven`); u are their gold scores (`gold_scores`);
2. v: the values of u dealt out at random over the words, so that both have the same spread; every metric meets the same ones;
3. spoilt truths: a share of the words, drawn at random, has its scores dealt anew, `n_draws` times. D must fall with the share;
4. complexity: forward passes that the metric needs for u alone, on a question that remembers nothing.

Chance is 0.5; the control is D with everything dealt anew, which must be chance, text by text; interval: over texts. D of truths that a
rule makes known is stronger than D of methods' explanations (`verdicts`), which are only held to be better than random.
The model that is named is not used. Cost: for each text and metric at most 1 + n_draws * levels + n_random explanations.
Reference: Chan, Kong & Liang 2022 (arXiv:2204.05514), section 3 (diagnosticity and complexity).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.diagnosticity import MetricDiagnosticities
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.core.trust import Score, Trust
from exegete.evaluate.cases import attempt, labels, why
from exegete.evaluate.contract import (
    FaithfulnessMetric,
    Ranking,
    faithfulness_metrics,
    judging,
    metric_of,
)
from exegete.evaluate.truth.gold_scores import gold_scores
from exegete.evaluate.truth.planted import Planted, planted, planted_names, proven
from exegete.methods.contracts.study import Study
from exegete.models.ask import ask
from exegete.models.forward import Meter
from exegete.models.lab import Lab
from exegete.models.question import Question
from exegete.ops.stats import mean_interval, midrank_percentile

NAN = float("nan")
CONTROL = "the truth with all scores dealt anew"


@dataclass(frozen=True)
class _Bench:
    """One planted text: the question that judges, its units, and rows of scores: by level [level][row, U], and random [N, U]."""

    truth: str
    question: Question
    units: tuple[Unit, ...]
    levels: tuple[np.ndarray, ...]
    random: np.ndarray


@dataclass
class _Held:
    """Metrics held against texts: D [metric, text, level], passes [metric, text], and reasons of what failed."""

    d: np.ndarray
    passes: np.ndarray
    failures: Counter[str] = field(default_factory=Counter)


@register
class MetricDiagnosticity(Study):
    """How often each metric of faithfulness puts a planted truth before random scores, and how many passes it needs."""

    id: ClassVar[str] = "metric_diagnosticity"
    family: ClassVar[str] = "evaluation"
    techniques: ClassVar[tuple[str, ...]] = ("O13",)
    verb: ClassVar[str] = "sanity"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = MetricDiagnosticities
    home: ClassVar[str] = "terrarium/sentiment"
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    reference: ClassVar[Reference] = Reference(
        authors="Chan et al.", year=2022, title="A Comparative Study of Faithfulness Metrics for Model Interpretability Methods",
        where="arXiv:2204.05514", equation="section 3",
    )  # fmt: skip
    passes: ClassVar[str] = (
        "of planted models alone: those of each metric for 1 + n_draws * levels + n_random explanations a text"
    )
    metrics: tuple[str, ...] = Field(
        (), description="ids of the metrics that are judged; none: every metric of faithfulness"
    )
    truths: tuple[str, ...] = Field((), description="names of the planted models; none: all that there are")
    n_texts: int = Field(6, ge=2, le=1000, description="texts of each planted model")
    corruption: tuple[float, ...] = Field(
        (0.25, 0.5, 0.75), description="shares of the truth that are dealt anew, between 0 and 1"
    )
    n_draws: int = Field(8, ge=1, le=1000, description="spoilt truths of each share")
    n_random: int = Field(20, ge=2, le=10_000, description="random scores that each is held against")
    seed: int = Field(0, ge=0, description="seed of texts and of everything that is dealt")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> MetricDiagnosticities:
        """Every metric on every planted model."""
        shares = self._shares()
        metrics = tuple(metric_of(m) for m in self.metrics) if self.metrics else faithfulness_metrics()
        benches, told, lost = self._benches(shares)
        with lab.working(len(benches) * len(metrics), "judging metrics") as done:
            held = _hold(metrics, benches, lab, done)
        names = labels(metrics)
        truths = tuple(dict.fromkeys(b.truth for b in benches))
        of = [np.array([b.truth == t for b in benches]) for t in truths]
        scores = tuple(self._score(n, held.d[i]) for i, n in enumerate(names))
        return MetricDiagnosticities(
            title="Which metrics know the truth when they see it?",
            lede=_lede(scores, held, len(truths)),
            context=(("planted models", ", ".join(truths)), ("texts", str(len(benches)))),
            metrics=names,
            truths=truths,
            each=np.array([[_mean(d[one, 0]) for one in of] for d in held.d]),
            interval=np.array([[self._interval(d[one, 0]) for one in of] for d in held.d]),
            levels=np.array(shares),
            fallen=np.array([[_mean(column) for column in d.T] for d in held.d]),
            fallen_interval=np.array([[self._interval(column) for column in d.T] for d in held.d]),
            passes=np.array([_mean(p) for p in held.passes]),
            planted=told,
            trust=Trust(scores=scores, seed=self.seed, notes=(*lost, *_notes(held.failures))),
        )

    def _shares(self) -> tuple[float, ...]:
        if not all(0 < c < 1 for c in self.corruption):
            raise UsageError(
                f"You asked for truths that are spoilt in shares {self.corruption}.",
                "Nothing and everything dealt anew are always among them; shares lie between.",
                "Give shares between 0 and 1, such as 0.25,0.5,0.75.",
            )
        return (0.0, *sorted(set(self.corruption)), 1.0)

    def _benches(
        self, shares: Sequence[float]
    ) -> tuple[list[_Bench], tuple[tuple[str, str], ...], tuple[str, ...]]:
        """The texts in which the planted words hold; what is planted, in words; and what was left out."""
        found, told, lost = [], [], []
        for name in self.truths or planted_names():
            what = planted(name)
            proof, error = attempt(lambda what=what: proven(what, what.texts(self.n_texts, self.seed)))
            if proof is None:
                if self.truths and error is not None:
                    raise error
                lost.append(f"planted model {name!r} is left out: {why(error)}" if error else name)
                continue
            told.append((name, what.says))
            found += [self._bench(what, t, i, shares) for i, t in enumerate(proof.texts)]
        return found, tuple(told), tuple(lost)

    def _bench(self, what: Planted, t: Any, i: int, shares: Sequence[float]) -> _Bench:
        question = judging(ask(what.model, t.text, Target(label=t.label)))
        units = question.units("word")
        gold = gold_scores(what, t, tuple(u.text for u in units))
        rng = generator(self.seed, "spoilt truths", what.name, i)
        levels = tuple(spoilt(gold, share, self.n_draws if share else 1, rng) for share in shares)
        return _Bench(what.name, question, units, levels, spoilt(gold, 1.0, self.n_random, rng))

    def _score(self, name: str, d: np.ndarray) -> Score:
        known = d[np.isfinite(d).all(1)]
        nothing = not len(known)
        return Score(
            name=f"{name}: how often the truth comes first",
            value=NAN if nothing else float(known[:, 0].mean()),
            chance=0.5,
            control=None if nothing else float(known[:, -1].mean()),
            control_name="" if nothing else CONTROL,
            interval=mean_interval(known[:, 0], self.seed, (0, 1)),
            over_control=mean_interval(known[:, 0] - known[:, -1], self.seed, (-1, 1)),
            n=len(known),
            n_failed=max(1, len(d)) if nothing else len(d) - len(known),
            skipped="it is defined on no text" if nothing else "",
        )

    def _interval(self, values: np.ndarray) -> tuple[float, float]:
        known = values[np.isfinite(values)]
        return mean_interval(known, self.seed, (0, 1)) or (NAN, NAN)


def spoilt(gold: np.ndarray, share: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` rows [n, U] of gold scores [U] in which a share of the units, drawn at random, has its scores dealt anew."""
    rows = np.repeat(gold[None].astype(np.float64), n, axis=0)
    k = int(np.ceil(share * len(gold) - 1e-9))
    for row in rows:
        at = rng.permutation(len(gold))[:k]
        row[at] = gold[rng.permutation(at)]
    return rows


def _hold(
    metrics: Sequence[FaithfulnessMetric], benches: Sequence[_Bench], lab: Lab, done: Callable[..., Any]
) -> _Held:
    n_levels = len(benches[0].levels) if benches else 0
    held = _Held(
        np.full((len(metrics), len(benches), n_levels), NAN), np.full((len(metrics), len(benches)), NAN)
    )
    for j, bench in enumerate(benches):
        question = replace(bench.question, meter=lab.meter)
        for i, metric in enumerate(metrics):
            found, error = attempt(lambda m=metric, b=bench, q=question: _diagnosed(m, b, q))
            if found is None:
                held.failures[f"{metric.id}: {why(error)}" if error else metric.id] += 1
            else:
                held.d[i, j] = found
                held.passes[i, j] = _passes(metric, bench, lab)
            done()
    return held


def _diagnosed(metric: FaithfulnessMetric, bench: _Bench, question: Question) -> list[float]:
    """D [level] on one text: the mean over spoilt truths of the share of random scores that come behind; NaN: not defined."""
    ranking = Ranking.of(np.concatenate([*bench.levels, bench.random]))
    values = metric.score_orders(metric.game(question, bench.units), ranking)
    ends = np.cumsum([len(rows) for rows in bench.levels])
    random = values[ends[-1] :]
    random = random[np.isfinite(random)]
    if not len(random):
        return [NAN] * len(ends)
    return [
        _mean(
            np.array(
                [midrank_percentile(v, random, metric.better) / 100 if np.isfinite(v) else NAN for v in own]
            )
        )
        for own in np.split(values[: ends[-1]], ends[:-1])
    ]


def _passes(metric: FaithfulnessMetric, bench: _Bench, lab: Lab) -> int:
    """Forward passes for the truth alone, where nothing is remembered."""
    fresh = replace(bench.question, meter=Meter(), _memo={}, _answers={})
    metric.score(metric.game(fresh, bench.units), bench.levels[0][0])
    lab.meter.forwards += fresh.meter.forwards
    return fresh.meter.forwards


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _notes(failures: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{words} (on {n} texts)" for words, n in failures.most_common(5))


def _lede(scores: Sequence[Score], held: _Held, n_truths: int) -> str:
    known = sorted((s for s in scores if np.isfinite(s.value)), key=lambda s: -s.value)
    if not known:
        return "No metric could be judged."
    passes = dict(zip((s.name for s in scores), map(_mean, held.passes)))
    told = ", ".join(f"{s.name.split(':')[0]} {s.value:.2f} ({passes[s.name]:.3g} passes)" for s in known[:3])
    parts = [
        f"Over {n_truths} planted models the truth comes before random scores most often by {told}; a guess reaches 0.5."
    ]
    weak = [s.name.split(":")[0] for s in known if not (s.beats_chance and s.beats_control)]
    if weak:
        parts.append(f"{', '.join(weak)} cannot be told from a guess.")
    else:
        parts.append(f"The last, {known[-1].name.split(':')[0]}, reaches {known[-1].value:.2f}; all beat it.")
    return " ".join(parts)
