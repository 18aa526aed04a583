"""The table of a suite, from the sheets of its texts: means with intervals, chance, control, verdicts between methods.

For each method and metric: the mean over texts with its 95 % bootstrap interval, chance, control, n and n_failed (`evaluate.trust.pool`).
The last row is a random explanation: what scores like it says nothing. Where people marked what matters, their rationale is a row too.
Cost: no pass.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from exegete.core.result import MetricTable
from exegete.core.trust import Cost, Score, Trust
from exegete.evaluate.annotators import agreement, by_annotator
from exegete.evaluate.cases import Plan, labels, worst_of
from exegete.evaluate.contract import ExplanationMetric, PlausibilityMetric, StabilityMetric
from exegete.evaluate.given_scores import GivenScores
from exegete.evaluate.judged_text import RANDOM
from exegete.evaluate.sheet import Sheet, values_of
from exegete.evaluate.trust import pool
from exegete.evaluate.verdicts import diagnosticity, differences

RATIONALE = "rationale"
ALONE = "one annotator a text, and no other's rationale to hold it against"
ONCE = "people marked the text once, not its changed forms"
NOTE = (
    "The cost of a row is that of its explanations; judging is shared between rows and stands in the total."
)
STEADY = "Stability alone says nothing: scores that never look at the model are the most stable. Read it beside faithfulness."


def table_of(
    what: Plan,
    sheets: Sequence[Sheet],
    metrics: Sequence[ExplanationMetric],
    told: bool,
    by: Sequence[str] = (),
) -> MetricTable:
    """The table. `told`: whether people marked the texts; `by`: notes on how units were removed."""
    seed, n = what.seed, len(what.methods)
    names = (*what.names, RATIONALE, RANDOM)
    kept = [m for m in range(n + 2) if told or m != n]
    values = values_of(sheets)
    kinds = (PlausibilityMetric, StabilityMetric)
    alone = [name for name, m in zip(labels(metrics), metrics) if isinstance(m, kinds)]
    return MetricTable(
        methods=tuple(names[m] for m in kept),
        metrics=labels(metrics),
        trusts=tuple(_row(sheets, m, metrics, seed) for m in kept),
        values=values[kept],
        better=tuple(m.better for m in metrics),
        diagnosticity=diagnosticity([s.scores for s in sheets], labels(metrics), n, seed),
        differences=differences(values[:n], what.names, labels(metrics), seed),
        agreement=agreement([s.marking for s in sheets], seed) if told else (),
        by_annotator=by_annotator([s.marking for s in sheets], (*what.names, RANDOM), seed) if told else (),
        n_texts=len(sheets),
        failures=(*(f for x in sheets for f in x.failures), *_undefined(names, sheets, metrics, alone)),
        cost=sum((x.spent for x in sheets), Cost()),
        notes=(NOTE, *by, *_stability_notes(what, metrics, sheets)),
        provenance=what.provenance("evaluate"),
    )


def _stability_notes(
    what: Plan, metrics: Sequence[ExplanationMetric], sheets: Sequence[Sheet]
) -> tuple[str, ...]:
    """What a reader of stability must know: what it does not say, what could not be changed, who was not asked again."""
    if not any(isinstance(m, StabilityMetric) for m in metrics):
        return ()
    n = Counter(line for sheet in sheets for line in dict.fromkeys(sheet.told))
    given = [name for name, m in zip(what.names, what.methods) if isinstance(m, GivenScores)]
    from_file = [f"{name}: scores from a file cannot be made again for a changed text." for name in given]
    return (
        STEADY,
        *from_file,
        *(f"{words} (on {times} of {len(sheets)} texts)" for words, times in n.most_common()),
    )


def _row(sheets: Sequence[Sheet], m: int, metrics: Sequence[ExplanationMetric], seed: int) -> Trust:
    """One method (or the rationale, or the random row, which no method made) over all texts."""
    columns = enumerate(zip(metrics, labels(metrics)))
    scores = [
        pool([s.scores[m][k] for s in sheets], name, metric.better, seed) for k, (metric, name) in columns
    ]
    n = len(sheets[0].costs)
    if m == n:
        return Trust(scores=tuple(_alone(s, metric) for s, metric in zip(scores, metrics)))
    if m > n:
        return Trust(scores=tuple(scores))
    checks = worst_of([c for s in sheets for c in s.checks[m] or ()])
    cost = sum((c for s in sheets if (c := s.costs[m]) is not None), Cost())
    return Trust(scores=tuple(scores), checks=checks, cost=cost)


def _alone(score: Score, metric: ExplanationMetric) -> Score:
    """A rationale that has no other annotator's to be held against, or that nobody makes again, is no failure."""
    if score.n or not isinstance(metric, (PlausibilityMetric, StabilityMetric)):
        return score
    why = ALONE if isinstance(metric, PlausibilityMetric) else ONCE
    return score.model_copy(update={"n_failed": 0, "skipped": why})


def _undefined(
    names: Sequence[str], sheets: Sequence[Sheet], metrics: Sequence[ExplanationMetric], alone: Sequence[str]
) -> list[str]:
    """In words: on how many texts a metric gave no number although there was an explanation, and when that is so.

    A rationale without a second one is left out, by the names of the metrics in `alone`.
    """
    when = {name: f" ({m.undefined})" for name, m in zip(labels(metrics), metrics) if m.undefined}
    n: Counter[tuple[str, str]] = Counter()
    for sheet in sheets:
        for method, row in zip(names, sheet.scores):
            n.update((method, s.name) for s in row if s is not None and not np.isfinite(s.value))
    return [
        f"{method}: {metric} is not defined on {times} of {len(sheets)} texts{when.get(metric, '')}"
        for (method, metric), times in n.items()
        if not (method == RATIONALE and metric in alone and times == len(sheets))
    ]
