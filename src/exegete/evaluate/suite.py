"""`evaluate`: methods by metrics over a set of texts, each score with all that is needed to read it.

For each text:
1. every method explains it, and explains it again on the model with randomised weights (the control);
2. for each metric, all explanations, all controls and `n_random` random orders are scored together on one question, so
   that no input is run twice whatever the number of methods and metrics.
Then for each method and metric: the mean over texts with its 95 % bootstrap interval, chance, control, n and n_failed. The
last row is a random explanation: what scores like it says nothing.

Chance of a metric that reads values (not only their order) deals out the method's own values along the random orders.
Cost: explanations twice, and at most the distinct subsets that the metrics name, once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import ExegeteError, UnknownName
from exegete.core.method import Method
from exegete.core.result import Attribution, MetricTable
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Cost, Score, Trust
from exegete.evaluate.cases import (
    NOTHING,
    Case,
    Plan,
    Progress,
    Texts,
    attempt,
    cases,
    labels,
    plan,
    refuse_if_all_failed,
    texts_of,
    words,
    worst,
)
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, faithfulness_metrics, metric_of
from exegete.evaluate.trust import Control, explain_control, held_against, orders, pool, units_of
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.randomise import Randomiser

RANDOM = "random"
LEVELS = ("full", "fast")


@dataclass(frozen=True)
class Sheet:
    """The scores of one text: a row a method (the random row last) and a column a metric; None where one failed."""

    scores: tuple[tuple[Score | None, ...], ...]
    failures: tuple[str, ...] = ()
    cost: Cost = NOTHING


def evaluate(
    model: Model,
    texts: Texts,
    methods: Sequence[str | Method],
    metrics: Sequence[str | Method] | None = None,
    target: Target | str | int | None = None,
    *,
    unit: str = "word",
    prefix: bool = False,
    trust: str = "full",
    n_random: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> MetricTable:
    """Scores of `methods` by `metrics` (all faithfulness metrics when None) over `texts`.

    `trust='fast'` leaves out the randomised-weights control. `progress` advances by one for each method and text. Raises
    `UsageError` for unknown methods and metrics, and the first error met when nothing could be explained.
    """
    if trust not in LEVELS:
        raise UnknownName("trust level of a suite", trust, LEVELS)
    chosen = faithfulness_metrics() if metrics is None else tuple(metric_of(m) for m in metrics)
    what, given = plan(model, methods, target, unit, prefix, seed), texts_of(texts)
    randomiser = Randomiser(seed) if trust == "full" else None
    seen: list[Case] = []
    sheets: list[Sheet] = []
    for case in cases(what, given, progress, "evaluating"):
        sheets.append(_sheet(_Bench(what, case, randomiser, n_random), chosen))
        seen.append(case.closed())
    refuse_if_all_failed(seen)
    rows = tuple(_row(seen, sheets, m, chosen, seed) for m in range(len(what.methods) + 1))
    return MetricTable(
        methods=(*what.names, RANDOM),
        metrics=labels(chosen),
        trusts=rows,
        n_texts=len(seen),
        failures=(
            *(f for both in zip(seen, sheets) for x in both for f in x.failures),
            *_undefined(what, sheets),
        ),
        cost=sum((x.cost for both in zip(seen, sheets) for x in both), Cost()),
        notes=(
            "The cost of a row is that of its explanations; judging is shared between rows and stands in the total.",
        ),
        provenance=what.provenance("evaluate"),
    )


@dataclass(frozen=True)
class _Bench:
    """One text on which everything is scored."""

    what: Plan
    case: Case
    randomiser: Randomiser | None
    n_random: int

    @property
    def questions(self) -> tuple[Question, Question]:
        """The question that was explained and the one that judges."""
        if self.case.question is None or self.case.judged is None:
            raise ExegeteError(
                f"{self.case.where} was to be scored.", "It could not be asked.", "See its failure."
            )
        return self.case.question, self.case.judged

    @property
    def made(self) -> list[tuple[int, Attribution]]:
        """The explanations that can be scored, with the index of their method."""
        return [
            (m, a) for m, a in enumerate(self.case.attributions) if a is not None and m in self.case.usable
        ]

    def control(self, m: int, a: Attribution) -> Control:
        """The control of one explanation."""
        if self.randomiser is None:
            return Control(skipped="trust='fast' leaves it out")
        return explain_control(self.questions[0], a, self.what.methods[m], self.randomiser)

    def guess(self) -> np.ndarray:
        """The scores [U] of the random row."""
        rng = generator(self.what.seed, "random row", self.questions[1].ids.tolist())
        return rng.normal(size=len(self.made[0][1].total))


def _sheet(bench: _Bench, metrics: Sequence[FaithfulnessMetric]) -> Sheet:
    """Every method and the random row by every metric, on one text."""
    n = len(bench.what.methods)
    failures = [
        f"{bench.what.names[m]} on {bench.case.where}: some scores are NaN or infinite"
        for m, a in enumerate(bench.case.attributions)
        if a is not None and m not in bench.case.usable
    ]
    table: list[list[Score | None]] = [[None] * len(metrics) for _ in range(n + 1)]
    if not bench.made:
        return Sheet(tuple(map(tuple, table)), tuple(failures))
    controls = [bench.control(m, a) for m, a in bench.made]
    spent = sum((c.cost for c in controls), Cost())
    controls.append(Control(skipped="a random order comes from no model"))
    totals = [*(a.total for _, a in bench.made), bench.guess()]
    for k, (metric, name) in enumerate(zip(metrics, labels(metrics))):
        found, error = attempt(lambda job=(metric, name): _column(bench, *job, totals, controls))
        if found is None:
            failures.append(f"{name} on {bench.case.where}: {words(error)}")
            continue
        for row, score in zip([*(m for m, _ in bench.made), n], found):
            table[row][k] = score
    return Sheet(tuple(map(tuple, table)), tuple(failures), spent)


def _column(
    bench: _Bench,
    metric: FaithfulnessMetric,
    name: str,
    totals: Sequence[np.ndarray],
    controls: Sequence[Control],
) -> list[Score]:
    """One metric of one text: a score for each explanation in `totals` [U]."""
    question, judged = bench.questions
    units = units_of(question, bench.made[0][1])
    game, random = metric.game(judged, units), orders(judged, units, bench.n_random, bench.what.seed)
    values = metric.score_orders(game, Ranking.of(np.stack(totals)))
    shared = metric.score_orders(game, Ranking.random(totals[-1], random)) if metric.by_order else None
    found = []
    for scores, value, control in zip(totals, values, controls):
        bar = None if control.scores is None else metric.score(game, control.scores)
        draws = shared if shared is not None else metric.score_orders(game, Ranking.random(scores, random))
        found.append(held_against(metric, name, value, bar, draws, control.skipped))
    return found


def _row(
    seen: Sequence[Case], sheets: Sequence[Sheet], m: int, metrics: Sequence[FaithfulnessMetric], seed: int
) -> Trust:
    """One method (or the random row, which no case holds) over all texts."""
    made = [a for c in seen for a in c.attributions[m : m + 1] if a is not None]
    columns = enumerate(zip(metrics, labels(metrics)))
    scores = [
        pool([s.scores[m][k] for s in sheets], name, metric.better, seed) for k, (metric, name) in columns
    ]
    return Trust(scores=tuple(scores), checks=worst(made), cost=sum((a.cost for a in made), Cost()))


def _undefined(what: Plan, sheets: Sequence[Sheet]) -> list[str]:
    """In words: on how many texts a metric gave no number although there was an explanation."""
    n: Counter[tuple[str, str]] = Counter()
    for sheet in sheets:
        for method, row in zip((*what.names, RANDOM), sheet.scores):
            n.update((method, s.name) for s in row if s is not None and not np.isfinite(s.value))
    return [
        f"{method}: {metric} is not defined on {times} of {len(sheets)} texts"
        for (method, metric), times in n.items()
    ]
