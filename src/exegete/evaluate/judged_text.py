"""One text judged: every method, the rationale and a random row by every metric, on one question.

All explanations, all controls and the random orders of a metric are scored together, so that no input is run twice whatever the number
of methods and metrics. See `evaluate.suite` for what the rows are and what chance and control mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import ExegeteError
from exegete.core.job import out_of_memory
from exegete.core.request import Text
from exegete.core.result import Attribution
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.core.trust import Cost, Score
from exegete.evaluate.again import Again, Made
from exegete.evaluate.annotators import Marking
from exegete.evaluate.cases import Case, Plan, attempt, labels, words
from exegete.evaluate.changes import Subject
from exegete.evaluate.contract import ExplanationMetric, PlausibilityMetric, Ranking, StabilityMetric
from exegete.evaluate.given_scores import GivenScores
from exegete.evaluate.sheet import Sheet
from exegete.evaluate.trust import Control, explain_control, held_against, orders, units_of
from exegete.models.question import Question
from exegete.models.randomise import Randomiser

RANDOM = "random"


@dataclass(frozen=True)
class _Line:
    """One explanation of one text on its way to the metrics: its row in the table, its scores [unit] and its control."""

    row: int
    scores: np.ndarray
    control: Control


@dataclass(frozen=True)
class Bench:
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


def sheet_of(bench: Bench, metrics: Sequence[ExplanationMetric]) -> Sheet:
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
        if out_of_memory(error) and error is not None:  # less is taken at a time, and the text judged again
            raise error
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


def _again(bench: Bench, lines: "Sequence[_Line]") -> Again:
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
    bench: Bench, metric: ExplanationMetric, name: str, lines: "Sequence[_Line]", gold: np.ndarray | None,
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


def _steady(bench: Bench, metric: StabilityMetric, name: str, line: _Line, again: Again) -> Score:
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
