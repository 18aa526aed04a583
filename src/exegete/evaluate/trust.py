"""The trust line: how far can this explanation be trusted? For every explanation, also a single one.

1. comprehensiveness and sufficiency of the explanation, on the scale of `contract.judging`;
2. chance: the same of `n_random` random orders of the same text (in pairs of an order and its reverse), their mean, and the
   percentile of the explanation among them (a tie counts one half);
3. control: the same method explains the same question on the model with randomised weights, and that order is judged on
   the real model;
4. for one text there is no interval: one value has no spread. The 95 % range of the random orders is in the notes, and
   "beats chance" means better than 95 % of them. Over a set (`judge_set`) the interval is a bootstrap over texts.

Levels: full; fast (no randomised-weights control, said so in the score); none (no scores, said so in the notes).
Cost: at most `judging_inputs` forwards, and for the control what the method costs, on the randomised model.
Reference: DeYoung et al. 2020 (the two metrics); Adebayo et al. 2018 (the control).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np

from exegete.core.errors import InputError, UnknownName
from exegete.core.result import Attribution
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.core.trust import Cost, Score, Trust
from exegete.evaluate.cases import attempt, why
from exegete.evaluate.contract import (
    Better,
    ExplanationMetric,
    FaithfulnessMetric,
    Ranking,
    judge_of,
    judging,
    metric_of,
)
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.models.question import Question
from exegete.models.randomise import Randomiser, asked_of
from exegete.models.remove import operator
from exegete.ops.curves import bin_sizes
from exegete.ops.rank import random_orders
from exegete.ops.stats import best_crowd, bootstrap_mean, midrank_percentile

TrustLevel = Literal["full", "fast", "none"]
LEVELS: tuple[TrustLevel, ...] = ("full", "fast", "none")
LINE = ("comprehensiveness", "sufficiency")
CONTROL = "randomised weights"
NOTHING = Cost()
FEW_UNITS = 4  # below, there are too few different orders for any of them to beat 95 % of the others


@dataclass(frozen=True)
class Control:
    """The explanation of the randomised model: `scores` [U], or None and why not (`skipped`)."""

    scores: np.ndarray | None = None
    skipped: str = ""
    cost: Cost = NOTHING


def judge(
    question: Question,
    attribution: Attribution,
    method: AttributionMethod,
    level: str = "full",
    n_random: int = 100,
    seed: int = 0,
    *,
    randomiser: Randomiser | None = None,
    judged: Question | None = None,
) -> Trust:
    """The trust line of `attribution`, which `method` made for `question`.

    `randomiser` is given to randomise a model once for many texts, `judged` (from `contract.judging(question)`) to share
    passes between explanations of one text. Raises `InputError` for an explanation of another text or another model.
    """
    if level not in LEVELS:
        raise UnknownName("trust level", level, LEVELS)
    if level == "none":
        return Trust(
            notes=("Not judged: trust='none' was asked for; no score says how far this can be trusted.",)
        )
    units = units_of(question, attribution)
    _of_this_model(question, attribution)
    if not np.isfinite(attribution.total).all():
        return Trust(notes=("Not judged: some of the scores are NaN or infinite.",))
    judged = judging(question) if judged is None else judged
    before = judged.meter.cost()
    control = Control(skipped="trust='fast' leaves it out")
    if level == "full":
        control = explain_control(question, attribution, method, randomiser or Randomiser(seed))
    found = [
        judge_metric(
            metric_of(name), judged, units, attribution.total, control, orders(judged, units, n_random, seed)
        )
        for name in LINE
    ]
    return Trust(
        seed=seed,
        scores=tuple(score for score, _ in found),
        cost=judged.meter.cost() - before + control.cost,
        notes=(*_notes(judged, attribution), *(note for _, note in found)),
    )


def judge_metric(
    metric: FaithfulnessMetric,
    judged: Question,
    units: tuple[Unit, ...],
    scores: np.ndarray,
    control: Control,
    random: np.ndarray,
) -> tuple[Score, str]:
    """One score of one explanation [U] against `random` orders [N, U] and the control, and the random range in words.

    Equal scores stand as in the first of the random orders.
    """
    ties = random[0] if len(random) else None
    ranking = Ranking.of(scores, ties)
    if control.scores is not None:
        ranking += Ranking.of(control.scores, ties)
    values = metric.score_orders(metric.game(judged, units), ranking + Ranking.random(scores, random))
    value, rest, draws = values[0], values[1 : len(ranking)], values[len(ranking) :]
    score = held_against(metric, metric.id, value, rest[0] if len(rest) else None, draws, control.skipped)
    return score, _range(metric.id, draws)


def held_against(
    metric: ExplanationMetric,
    name: str,
    value: float,
    control: float | None,
    draws: np.ndarray,
    skipped: str = "",
) -> Score:
    """The score of one explanation of one text beside its random `draws` [N] and the value of its control."""
    draws = draws[np.isfinite(draws)]
    return Score(
        name=name,
        value=float(value),
        better=metric.better,
        chance=float(draws.mean()) if len(draws) else None,
        control=None if control is None else float(control),
        control_name=CONTROL,
        percentile=midrank_percentile(float(value), draws, metric.better) if len(draws) else None,
        crowd=best_crowd(float(value), draws, metric.better) if len(draws) else None,
        skipped=skipped,
    )


def orders(judged: Question, units: Sequence[Unit], n: int, seed: int) -> np.ndarray:
    """`n` random orders [n, U] that depend on the text and the seed alone, so that all methods meet the same ones."""
    return random_orders(len(units), n, generator(seed, "orders", judged.ids.tolist()))


def explain_control(
    question: Question, attribution: Attribution, method: AttributionMethod, randomiser: Randomiser
) -> Control:
    """What the method says about the same question on the model with randomised weights, or why it was not asked."""
    no = "no explanation of the model with randomised weights"
    twin, error = attempt(
        lambda: asked_of(randomiser(question.model, attribution.provenance.fingerprint), question)
    )
    if twin is None:
        return Control(skipped=f"{no} ({why(error)})" if error else no)
    asked, units = twin, units_of(question, attribution)
    scores, error = attempt(lambda: np.asarray(method.attribute(asked, units).total, dtype=np.float64))
    if scores is None:
        return Control(skipped=f"{no} ({why(error)})" if error else no, cost=twin.meter.cost())
    if not np.isfinite(scores).all():
        return Control(
            skipped="scores of the model with randomised weights are not finite", cost=twin.meter.cost()
        )
    return Control(scores, cost=twin.meter.cost())


def units_of(question: Question, attribution: Attribution) -> tuple[Unit, ...]:
    """The units that were explained. Raises `InputError` when they are not units of this question's text."""
    told = attribution.units
    used = [i for u in told for i in u.tokens]
    if len(told) != len(attribution.total) or not used or max(used) >= len(question.ids) or min(used) < 0:
        raise InputError(
            f"You asked to judge an explanation with {len(attribution.total)} scores.",
            f"Its {len(told)} units do not fit a text of {len(question.ids)} tokens.",
            "Judge it with the model and the text it was made for.",
        )
    known = {u.tokens: u for u in _known(question, attribution)}
    return tuple(known.get(u.tokens) or Unit(u.text, u.tokens, u.start, u.end, u.role) for u in told)


def _of_this_model(question: Question, attribution: Attribution) -> None:
    """Raises `InputError` for an explanation of a model with other weights, where it says of which it is."""
    made, here = attribution.provenance, question.model
    if made.fingerprint and made.fingerprint != here.fingerprint:
        raise InputError(
            f"You asked to judge an explanation of {made.model or 'a model'} on {here.name}.",
            f"It was made for other weights ({made.fingerprint[:8]}, not {here.fingerprint[:8]}).",
            "Judge it with the model it was made for, or explain this one.",
        )


def _known(question: Question, attribution: Attribution) -> tuple[Unit, ...]:
    try:
        return question.units(attribution.level, any(u.role == "prefix" for u in attribution.units))
    except (InputError, UnknownName):  # units of the user's own making
        return ()


def judge_set(trusts: Sequence[Trust | None], seed: int = 0, names: Sequence[str] = ()) -> tuple[Score, ...]:
    """One score a metric over a set of texts: the mean with a 95 % bootstrap interval over texts.

    A text whose explanation failed is None; it counts, as do undefined (NaN) values, in `n_failed`. `names` are the scores
    wanted, by default those that are there.
    """
    found = [{s.name: s for s in t.scores} if t is not None else {} for t in trusts]
    wanted = names or dict.fromkeys(name for scores in found for name in scores)
    return tuple(
        pool([scores.get(name) for scores in found], name, judge_of(name).better, seed) for name in wanted
    )


def pool(scores: Sequence[Score | None], name: str, better: Better, seed: int = 0) -> Score:
    """The mean of single-text scores of one metric; None and NaN are failures. All failed: the value is NaN and n is 0.

    Chance and control are held against it text by text: each text has its own.
    """
    good = [s for s in scores if s is not None and np.isfinite(s.value)]
    if not good:
        return unscored(name, better, len(scores))
    several = Several(
        values=np.array([s.value for s in good]),
        chances=[s.chance for s in good],
        controls=[s.control for s in good],
        percentiles=[s.percentile for s in good],
        skipped=[s.skipped for s in good],
    )
    return several.pooled(name, better, good[0].control_name, len(scores) - len(good), seed)


def unscored(name: str, better: Better, n_failed: int) -> Score:
    """The score of a set in which no text could be scored."""
    nothing = "no text could be scored"
    return Score(name=name, value=float("nan"), better=better, n=0, n_failed=n_failed, skipped=nothing)


@dataclass(frozen=True)
class Several:
    """One metric of many texts: values [n], and for each its chance, control and percentile where there are any, and why not."""

    values: np.ndarray
    chances: Sequence[float | None]
    controls: Sequence[float | None]
    percentiles: Sequence[float | None]
    skipped: Sequence[str]

    def pooled(self, name: str, better: Better, control_name: str, n_failed: int, seed: int = 0) -> Score:
        """Their mean, held against chance and control text by text."""
        return Score(
            name=name,
            value=float(self.values.mean()),
            better=better,
            chance=_mean(self.chances),
            control=_mean(self.controls),
            control_name=control_name,
            interval=bootstrap_mean(self.values, seed),
            over_chance=_over(self.values, self.chances, seed),
            over_control=_over(self.values, self.controls, seed),
            percentile=_mean(self.percentiles),
            n=len(self.values),
            n_failed=n_failed,
            skipped=_skipped(self.skipped, self.controls),
        )


def judging_inputs(n_units: int, n_random: int = 100, level: str = "full") -> int:
    """Upper bound of the distinct inputs of a trust line, the method's own passes for the control not counted."""
    if level == "none":
        return 0
    most = n_random + (2 if level == "full" else 1)
    sizes = {int(k) for k in bin_sizes(n_units, (0.01, 0.05, 0.1, 0.2, 0.5))}
    return 1 + 2 * sum(min(most, comb(n_units, k)) for k in sizes)


def _skipped(skipped: Sequence[str], controls: Sequence[float | None]) -> str:
    reasons = list(dict.fromkeys(s for s in skipped if s))
    missing = sum(c is None or not np.isfinite(c) for c in controls)
    if not reasons or missing == len(controls):
        return "; ".join(reasons[:3])
    return f"on {missing} of {len(controls)} texts: " + "; ".join(reasons[:3])


def _over(values: np.ndarray, bars: Sequence[float | None], seed: int) -> tuple[float, float] | None:
    """The interval of the values [n] less their bars, over the texts that have one."""
    bar = np.array([np.nan if b is None else b for b in bars], dtype=np.float64)
    return bootstrap_mean((values - bar)[np.isfinite(bar)], seed)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(known)) if known else None


def _range(name: str, draws: np.ndarray) -> str:
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{name}: 95 % of {len(draws)} random orders of this text lie within {low:.3g} to {high:.3g}."


def _notes(judged: Question, attribution: Attribution) -> tuple[str, ...]:
    """What a reader must know to read the line."""
    scale = {"prob": "probability", "logprob": "log-probability"}.get(judged.scale, judged.scale)
    what = repr(judged.target) + (f" against {judged.against!r}" if judged.against else "")
    notes = [f"Judged on the {scale} of {what}; units are removed by {operator(judged, 'auto')}."]
    n, scores = len(attribution.total), attribution.total
    if n < FEW_UNITS:
        notes.append(f"Only {n} unit{'s' * (n != 1)}: too few orders to tell any of them from chance.")
    if n > 1 and np.ptp(scores) == 0:
        notes.append(
            "All scores are equal: the order that was judged is a random one, not that of the explanation."
        )
    elif len(np.unique(scores)) < n:
        notes.append("Equal scores were put in a random order.")
    return tuple(notes)
