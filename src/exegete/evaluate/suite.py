"""`evaluate`: methods by metrics over a set of texts, each score with all that is needed to read it.

For each text:
1. every method explains it, and explains it again on the model with randomised weights (the control);
2. for each metric, all explanations, all controls and `n_random` random orders are scored together on one question, so
   that no input is run twice whatever the number of methods and metrics.
Then for each method and metric: the mean over texts with its 95 % bootstrap interval, chance, control, n and n_failed. The
last row is a random explanation: what scores like it says nothing. Where people marked what matters, their rationale is a row too:
judged like an explanation by faithfulness metrics, and by plausibility metrics each annotator against the others.

Equal scores stand in an order that is drawn by the text: in the order of the text, scores that are all equal would be as good as its
first words are. Chance of a metric that reads values (not only their order) deals out the method's own values along the random orders. Stability
metrics look at texts that were changed a little and explained again (`evaluate.again`): once for all of them, on the model and on
its control; chance deals out the scores of the changed texts at random, and the random row has new scores for each.
Cost: explanations twice, and at most the distinct subsets that the metrics name, once; stability: explaining the changed texts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exegete.core.errors import ExegeteError, UnknownName
from exegete.core.method import Method
from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.core.result import Attribution, MetricTable
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.core.trust import Cost, Score, Trust
from exegete.evaluate.again import Again, Made
from exegete.evaluate.annotators import Marking, agreement, by_annotator
from exegete.evaluate.cases import (
    Case,
    Plan,
    Progress,
    Texts,
    attempt,
    cases,
    labels,
    plan,
    texts_of,
    words,
    worst_of,
)
from exegete.evaluate.changes import Subject
from exegete.evaluate.contract import (
    ExplanationMetric,
    PlausibilityMetric,
    Ranking,
    StabilityMetric,
    faithfulness_metrics,
    judge_of,
    plausibility_metrics,
)
from exegete.evaluate.folder import Folder
from exegete.evaluate.given_scores import GivenScores
from exegete.evaluate.removals import removing
from exegete.evaluate.sheet import Sheet, values_of
from exegete.evaluate.trust import Control, explain_control, held_against, orders, pool, units_of
from exegete.evaluate.verdicts import diagnosticity, differences
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.randomise import Randomiser

RANDOM = "random"
RATIONALE = "rationale"
ALONE = "one annotator a text, and no other's rationale to hold it against"
ONCE = "people marked the text once, not its changed forms"
LEVELS = ("full", "fast")
NOTE = (
    "The cost of a row is that of its explanations; judging is shared between rows and stands in the total."
)
STEADY = "Stability alone says nothing: scores that never look at the model are the most stable. Read it beside faithfulness."


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
    removal: str | None = None,
    infiller: str | None = None,
    folder: str | None = None,
    progress: Progress | None = None,
) -> MetricTable:
    """Scores of `methods` by `metrics` over `texts`. None: all faithfulness metrics, and the plausibility metrics where
    every text is a `Rationale`.

    `removal` is how all faithfulness metrics remove units (`models.remove`), `infiller` who fills in for removal='infill'.
    `trust='fast'` leaves out the randomised-weights control. What every text scored is written to `folder` as it is made, and
    read from there by a later run of the same plan. `progress` advances by one for each method and text. Raises `UsageError`
    for unknown methods and metrics, and the first error met when nothing could be explained.
    """
    if trust not in LEVELS:
        raise UnknownName("trust level of a suite", trust, LEVELS)
    what, given = plan(model, methods, target, unit, prefix, seed), texts_of(texts)
    told = any(isinstance(t, Rationale) for t in given)
    asked = tuple(judge_of(m) for m in (_usual(given) if metrics is None else metrics))
    chosen, by = removing(what.model, asked, removal, infiller)
    randomiser = Randomiser(seed) if trust == "full" else None
    names = (*what.names, RATIONALE, RANDOM)
    kept_in = None if folder is None else Folder.of(folder, what, given, chosen, (trust, n_random))
    sheets = _sheets(what, given, chosen, kept_in, randomiser, n_random, progress)
    n = len(what.methods)
    kept = [m for m in range(n + 2) if told or m != n]
    values = values_of(sheets)
    kinds = (PlausibilityMetric, StabilityMetric)
    alone = [name for name, m in zip(labels(chosen), chosen) if isinstance(m, kinds)]
    return MetricTable(
        methods=tuple(names[m] for m in kept),
        metrics=labels(chosen),
        trusts=tuple(_row(sheets, m, chosen, seed) for m in kept),
        values=values[kept],
        better=tuple(m.better for m in chosen),
        diagnosticity=diagnosticity([s.scores for s in sheets], labels(chosen), n, seed),
        differences=differences(values[:n], what.names, labels(chosen), seed),
        agreement=agreement([s.marking for s in sheets], seed) if told else (),
        by_annotator=by_annotator([s.marking for s in sheets], (*what.names, RANDOM), seed) if told else (),
        n_texts=len(sheets),
        failures=(*(f for x in sheets for f in x.failures), *_undefined(names, sheets, chosen, alone)),
        cost=sum((x.spent for x in sheets), Cost()),
        notes=(NOTE, *by, *_stability_notes(what, chosen, sheets)),
        provenance=what.provenance("evaluate"),
    )


def _sheets(
    what: Plan, given: Sequence[Any], metrics: Sequence[ExplanationMetric], folder: Folder | None,
    randomiser: Randomiser | None, n_random: int, progress: Progress | None,
) -> list[Sheet]:  # fmt: skip
    """A sheet a text, in order: those that are in the folder, and the others made."""
    done = folder.read() if folder else {}
    missing = [i for i in range(len(given)) if i not in done]
    errors: list[Exception] = []
    for i, case in zip(missing, cases(what, [given[i] for i in missing], progress, "evaluating", missing)):
        done[i] = _sheet(_Bench(what, case, randomiser, n_random), metrics)
        errors += case.errors
        if folder and not case.errors:
            folder.write(i, done[i])
    sheets = [done[i] for i in range(len(given))]
    if not any(c is not None for sheet in sheets for c in sheet.costs):
        raise errors[0]
    return sheets


@dataclass(frozen=True)
class _Line:
    """One explanation of one text on its way to the metrics: its row in the table, its scores [unit] and its control."""

    row: int
    scores: np.ndarray
    control: Control


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

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units that were explained, the same for all methods."""
        return units_of(self.questions[0], self.made[0][1])

    def gold(self) -> np.ndarray | None:
        """What people marked [annotator, unit]; None where nobody was asked."""
        return None if self.case.rationale is None else self.case.rationale.gold(self.units)

    def control(self, m: int, a: Attribution) -> Control:
        """The control of one explanation."""
        if self.randomiser is None:
            return Control(skipped="trust='fast' leaves it out")
        if isinstance(self.what.methods[m], GivenScores):
            return Control(skipped="scores from a file say nothing about a model with randomised weights")
        return explain_control(self.questions[0], a, self.what.methods[m], self.randomiser)

    def guess(self) -> np.ndarray:
        """The scores [U] of the random row."""
        rng = generator(self.what.seed, "random row", self.questions[1].ids.tolist())
        return rng.normal(size=len(self.made[0][1].total))


def _usual(given: Sequence[object]) -> tuple[ExplanationMetric, ...]:
    """The metrics that are taken where none are named."""
    told = all(isinstance(t, Rationale) for t in given)
    return (*faithfulness_metrics(), *(plausibility_metrics() if told else ()))


def _sheet(bench: _Bench, metrics: Sequence[ExplanationMetric]) -> Sheet:
    """Every method, the rationale and the random row by every metric, on one text."""
    n = len(bench.what.methods)
    failures = [
        f"{bench.what.names[m]} on {bench.case.where}: some scores are NaN or infinite"
        for m, a in enumerate(bench.case.attributions)
        if a is not None and m not in bench.case.usable
    ]
    table: list[list[Score | None]] = [[None] * len(metrics) for _ in range(n + 2)]
    if not bench.made:
        return Sheet.of(bench.case, table, failures, Cost())
    lines = [_Line(m, a.total, bench.control(m, a)) for m, a in bench.made]
    gold, error = attempt(bench.gold)
    if error is not None:
        failures.append(f"rationale of {bench.case.where}: {words(error)}")
    if gold is not None and gold.any():
        lines.append(_Line(n, gold.mean(0), Control(skipped="people explain without the model")))
    lines.append(_Line(n + 1, bench.guess(), Control(skipped="a random order comes from no model")))
    spent = sum((line.control.cost for line in lines), Cost())
    again = _again(bench, lines)
    for k, (metric, name) in enumerate(zip(metrics, labels(metrics))):
        found, error = attempt(lambda job=(metric, name): _column(bench, *job, lines, gold, again))
        if found is None:
            failures.append(f"{name} on {bench.case.where}: {words(error)}")
            continue
        for line, score in zip(lines, found):
            table[line.row][k] = score
    by_row = {line.row: line.scores for line in lines}
    judged = [by_row.get(m) for m in (*range(n), n + 1)]
    people = bench.case.rationale.annotators if bench.case.rationale else ()
    marking = Marking.of(gold, people, judged)
    return Sheet.of(bench.case, table, failures, spent + again.cost, again.told, marking)


def _again(bench: _Bench, lines: "Sequence[_Line]") -> Again:
    """What stability metrics ask of this text; nothing is made before they ask. People's marks are not made again."""
    what, question = bench.what, bench.questions[0]
    subject = Subject(
        bench.case.text or Text(ids=tuple(question.ids.tolist())),
        question, bench.units, what.target, what.unit, what.prefix, what.seed,
    )  # fmt: skip
    n = len(what.methods)
    rows = [
        Made(line.row, what.names[line.row], line.scores, line.control.scores, what.methods[line.row])
        if line.row < n
        else Made(line.row, RANDOM, line.scores)
        for line in lines
        if line.row != n
    ]
    return Again(subject, rows, bench.randomiser)


def _column(
    bench: _Bench, metric: ExplanationMetric, name: str, lines: "Sequence[_Line]", gold: np.ndarray | None,
    again: Again,
) -> list[Score]:  # fmt: skip
    """One metric of one text: a score for each line."""
    if isinstance(metric, StabilityMetric):
        return [_steady(bench, metric, name, line, again) for line in lines]
    judged, units = bench.questions[1], bench.units
    ground, random = (
        metric.ground(judged, units, gold),
        orders(judged, units, bench.n_random, bench.what.seed),
    )
    ties = random[0] if len(random) else None
    values = metric.score_orders(ground, Ranking.of(np.stack([line.scores for line in lines]), ties))
    guess = lines[-1].scores
    shared = metric.score_orders(ground, Ranking.random(guess, random)) if metric.by_order else None
    found = []
    for line, value in zip(lines, values):
        scores, control = line.scores, line.control
        if (
            line.row == len(bench.what.methods)
            and isinstance(metric, PlausibilityMetric)
            and gold is not None
        ):
            value = metric.ceiling(gold)
        bar = None
        if control.scores is not None:
            bar = float(metric.score_orders(ground, Ranking.of(control.scores, ties))[0])
        draws = shared if shared is not None else metric.score_orders(ground, Ranking.random(scores, random))
        found.append(held_against(metric, name, value, bar, draws, control.skipped))
    return found


def _steady(bench: _Bench, metric: StabilityMetric, name: str, line: _Line, again: Again) -> Score:
    """The stability of one line on one text; NaN where no changed text counts."""
    own, bars = [], []
    for change in metric.changes():
        found, control = again.pairings(change, line.row)
        own += found
        bars += control
    rng = generator(bench.what.seed, "dealt", bench.questions[1].ids.tolist())
    draws = metric.score_pairings([p.dealt(rng, bench.n_random) for p in own])
    bar = float(metric.score_pairings(bars)[0]) if bars else None
    lost = "no changed text counts on the model with randomised weights" if bar is None else ""
    why = line.control.skipped or lost
    return held_against(metric, name, float(metric.score_pairings(own)[0]), bar, draws, why)


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
