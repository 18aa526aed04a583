"""Explanations made again: what stability metrics look at, made once for all of them.

1. a change (`evaluate.changes`) is asked for when the first metric names it, and remembered;
2. each repeat is asked; where the model's answer is another, or the question is (a target that the model chose itself), it does
   not count, and that is told;
3. every method explains each repeat, and explains it on the model with randomised weights (the control), whatever that answers;
4. a row that no method made gets new random scores each time; people's marks and scores from a file are not made again.

Cost: for each repeat one forward, and what each method costs; twice with the control.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from exegete.core.errors import ExegeteError
from exegete.core.seed import generator
from exegete.core.trust import Cost
from exegete.evaluate.cases import attempt, why
from exegete.evaluate.changes import Change, Repeat, Subject
from exegete.evaluate.contract import Pairing
from exegete.evaluate.given_scores import GivenScores
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.models.forward import Meter
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.randomise import Randomiser, asked_of

NAN = float("nan")


@dataclass(frozen=True)
class Made:
    """An explanation [unit] in row `row`, and that of the model with randomised weights; `method` None: random scores."""

    row: int
    name: str
    scores: np.ndarray
    control: np.ndarray | None = None
    method: AttributionMethod | None = None


@dataclass(frozen=True)
class _Side:
    """A model asked about the untouched text: its logits [row * vocab], its answer, its embeddings [slot, d]."""

    question: Question
    logits: np.ndarray
    answer: int
    points: np.ndarray

    @classmethod
    def of(cls, question: Question) -> "_Side":
        asked = replace(question, meter=Meter())
        return cls(asked, *_read(asked), _points(asked))

    def pairing(self, repeat: Repeat, question: Question, logits: np.ndarray) -> Pairing:
        """A pairing without scores: how far input and output moved."""
        nothing, out = np.zeros((1, 0)), float(np.linalg.norm(logits - self.logits))
        if not repeat.near:
            return Pairing(nothing, nothing, output_change=out)
        slots = [i for u in repeat.units for i in u.tokens]
        x = self.points[slots]
        step = _points(question)[slots] - x
        relative = np.divide(step, x, out=np.zeros_like(x), where=x != 0)
        return Pairing(nothing, nothing, float(np.linalg.norm(step)), float(np.linalg.norm(relative)), out)


Both = tuple[list[Pairing], list[Pairing]]


@dataclass
class Again:
    """One text and its explanations; pairings by change and row, made when asked for. `told` says what did not count."""

    subject: Subject
    rows: Sequence[Made]
    randomiser: Randomiser | None
    cost: Cost = field(default_factory=Cost)
    told: list[str] = field(default_factory=list)
    _held: dict[Change, dict[int, Both]] = field(default_factory=dict)

    def pairings(self, change: Change, row: int) -> Both:
        """The pairings of one row under one change, and those of its control (none where there is no control)."""
        if change not in self._held:
            self._held[change] = self._make(change)
        return self._held[change].get(row, ([], []))

    @cached_property
    def _sides(self) -> tuple[_Side, ...]:
        question = self.subject.question
        sides = [_Side.of(question)]
        if self.randomiser is not None and any(m.control is not None for m in self.rows):
            twin = self.randomiser(question.model, question.model.fingerprint)
            sides.append(_Side.of(asked_of(twin, question)))
        self.cost = sum((s.question.meter.cost() for s in sides), self.cost)
        return tuple(sides)

    def _make(self, change: Change) -> dict[int, Both]:
        rng = generator(self.subject.seed, change.name, self.subject.question.ids.tolist())
        made: dict[int, Both] = {m.row: ([], []) for m in self.rows}
        repeats = iter(change.repeats(self.subject, rng))
        while True:
            repeat, error = attempt(lambda: next(repeats, None))
            if isinstance(repeat, ExegeteError):  # one of several that cannot be asked
                self.told.append(f"{change.name} does not count: {why(repeat)}")
                continue
            if repeat is not None:
                _, error = attempt(lambda again=repeat: self._repeat(change, again, made))
            if error is not None:
                self.told.append(f"{change.name} does not count: {why(error)}")
            if repeat is None:
                return made

    def _repeat(self, change: Change, repeat: Repeat, made: dict[int, Both]) -> None:
        """Ask and explain one repeat on each side, and put the pairings where they belong."""
        ids = self.subject.question.ids.tolist()
        rng = generator(self.subject.seed, change.name, "random row", ids, repeat.turn)
        for k, side in enumerate(self._sides):
            model = side.question.model
            with repeat.around(model):
                question = repeat.question if k == 0 else _of_twin(model, repeat.question)
                logits, answer = _read(question)
                if k == 0 and (answer != side.answer or _aims(question) != _aims(side.question)):
                    self.told.append(f"{change.name} does not count: The model's answer changes.")
                    self.cost += question.meter.cost()
                    return
                bare = side.pairing(repeat, question, logits)
                for m in self.rows:
                    own = (m.scores, m.control)[k]
                    other = None if own is None else self._scores(change, repeat, question, m, rng)
                    if own is not None and other is not None:
                        pair = replace(bare, own=repeat.own(own)[None], other=repeat.other(other)[None])
                        made[m.row][k].append(pair)
                self.cost += question.meter.cost()

    def _scores(
        self, change: Change, repeat: Repeat, question: Question, m: Made, rng: np.random.Generator
    ) -> np.ndarray | None:
        """The scores [unit] of one row for one repeat; None where there are none."""
        if m.method is None:
            return rng.normal(size=len(repeat.units))
        if isinstance(m.method, GivenScores):
            return None
        how = change.method(m.method, repeat.turn)
        if not isinstance(how, AttributionMethod):
            return None
        found, error = attempt(lambda: np.asarray(how.attribute(question, repeat.units).total, dtype=float))
        if found is not None and np.isfinite(found).all():
            return found
        self.told.append(f"{m.name} under {change.name}: {why(error) if error else 'Scores are not finite.'}")
        return None


def _of_twin(twin: Model, question: Question) -> Question:
    found = asked_of(twin, question)
    if "cache_gap" in question.__dict__:  # a change that must not be read from a cache
        found.__dict__["cache_gap"] = question.__dict__["cache_gap"]
    return found


def _read(question: Question) -> tuple[np.ndarray, int]:
    """The explained rows of logits, flat, and the answer at the first."""
    logits = question.reference()
    return np.concatenate([x.double().cpu().numpy().ravel() for x in logits]), int(logits[0][0].argmax())


def _aims(question: Question) -> list[tuple[int, int | None]]:
    return [(r.id, r.foil) for b in question.branches for r in b.rows]


def _points(question: Question) -> np.ndarray:
    return question.embeddings().double().cpu().numpy()
