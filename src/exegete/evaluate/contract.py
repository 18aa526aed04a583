"""The contracts of metrics: many explanations of one text are scored in one go, so that they share passes.

    FaithfulnessMetric   does an explanation say what the model does? scored by removing units
    PlausibilityMetric   does it single out what people marked? scored against rationales, without a pass
    StabilityMetric      does it stay the same where it should? scored on the same text explained again, changed a little

A faithfulness metric sees a `Game` (what the model says when only some units are left) and a `Ranking` (K explanations: scores and
orders). The explanation, the random orders and the control stand in one ranking; the question under the game remembers
every input, so metrics asked together never run an input twice, and answers (argmax) come from the same passes as values.

What is judged (`judging`): the probability of the explained class or token, as ERASER has it; for a continuation of
several tokens their joint log-probability (a joint probability would be next to nothing); for a contrast, a loss, an
entropy or a regression (a single class) the explained value itself.

A stability metric names the changes it looks at (`evaluate.changes`); what the suite explained again for one metric serves all
(`evaluate.again`). Alone it says nothing: what never looks at the model is as stable as can be.

Shapes: K explanations, P subsets of each, U units, A annotators.
"""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, UsageError
from exegete.core.method import Method
from exegete.core.registry import METRICS
from exegete.core.text import Unit
from exegete.evaluate.changes import Change
from exegete.models.forward import Meter
from exegete.models.question import Question
from exegete.models.remove import Game, Removing
from exegete.ops.rank import descending

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Ranking:
    """K explanations of one text: `scores` [K, U] and `order` [K, U], in which no score rises."""

    scores: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, ties: np.ndarray | None = None) -> "Ranking":
        """From scores [U] or [K, U]: descending and signed, ties in the order `ties` [U], by default that of the text.

        Raises `InputError` for NaN and infinity.
        """
        scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
        if not np.isfinite(scores).all():
            raise InputError(
                "You asked to judge an explanation.",
                f"{int((~np.isfinite(scores)).sum())} of its scores are NaN or infinite.",
                "Mend the explanation first; its self-checks say what went wrong.",
            )
        if ties is None:
            return cls(scores, descending(scores))
        return cls(scores, ties[descending(scores[:, ties])])

    @classmethod
    def random(cls, scores: np.ndarray, orders: np.ndarray) -> "Ranking":
        """The values of one explanation [U] dealt out anew along random `orders` [N, U]."""
        dealt = np.empty(orders.shape)
        np.put_along_axis(dealt, orders, np.broadcast_to(-np.sort(-scores), orders.shape), axis=1)
        return cls(dealt, orders)

    def __add__(self, other: "Ranking") -> "Ranking":
        return Ranking(np.concatenate([self.scores, other.scores]), np.concatenate([self.order, other.order]))

    def __len__(self) -> int:
        return len(self.order)


class ExplanationMetric(Method):
    """Base of the metrics that score explanations of one text: on a ground of their own, many at once."""

    family: ClassVar[str] = "metric"
    better: ClassVar[Better] = "higher"
    by_order: ClassVar[bool] = True  # whether only the order of the scores counts, not their values
    undefined: ClassVar[str] = (
        ""  # in words: what explanations or texts have no value (NaN), which counts as failed
    )

    @abstractmethod
    def ground(self, question: Question, units: tuple[Unit, ...], gold: np.ndarray | None) -> Any:
        """What explanations of `units` are scored on. `gold` is what people marked [A, U], None where nobody was asked."""

    @abstractmethod
    def score_orders(self, ground: Any, ranking: Ranking, /) -> np.ndarray:
        """The metric [K] of each explanation of the ranking; NaN where it is not defined."""


class PlausibilityMetric(ExplanationMetric):
    """Base of the metrics that ask whether an explanation singles out what people marked: the mean over annotators."""

    passes: ClassVar[str] = "none"
    undefined: ClassVar[str] = "nothing is marked, or there is no second annotator"

    def ground(self, question: Question, units: tuple[Unit, ...], gold: np.ndarray | None) -> np.ndarray:
        """The marks [A, U]. Raises `InputError` where there are none."""
        if gold is None:
            raise InputError(
                f"You asked for {self.id}.",
                "Nobody marked what matters in this text.",
                "Give texts with rationales (`Rationale`, or --task), or choose a faithfulness metric.",
            )
        return gold

    def score_orders(self, gold: np.ndarray, ranking: Ranking) -> np.ndarray:
        """The mean [K] over the annotators who marked something; NaN where none did."""
        rows = [self.score_marks(row, ranking) for row in gold if row.any()]
        return np.mean(rows, axis=0) if rows else np.full(len(ranking), np.nan)

    @abstractmethod
    def score_marks(self, marked: np.ndarray, ranking: Ranking) -> np.ndarray:
        """The metric [K] against one row of marks [U] with at least one mark."""

    def ceiling(self, gold: np.ndarray) -> float:
        """What people reach: each annotator's marks as an explanation, held against the others'. NaN for fewer than two."""
        told = gold[gold.any(1)]
        if len(told) < 2:
            return float("nan")
        each = [
            self.score_orders(np.delete(told, k, axis=0), Ranking.of(told[k : k + 1]))
            for k in range(len(told))
        ]
        return float(np.mean(each))


class FaithfulnessMetric(ExplanationMetric):
    """Base of the metrics that ask whether an explanation says what the model does, by removing units.

    `removals` are the ways in which it can.
    """

    removals: ClassVar[tuple[str, ...]] = get_args(Removing)

    removal: Removing = Field(
        default="auto",
        description="how units are removed: mask, delete, pad, unk, mean, zero, resample, infill; auto: mask, else delete",
    )
    draws: int = Field(default=4, ge=1, le=256, description="random replacements of a resample or infill")
    infiller: str = Field(
        default="auto", description="language model that fills in, by name or path; auto: the model itself"
    )
    draw_seed: int = Field(default=0, ge=0, description="seed of the replacements")

    def ground(self, question: Question, units: tuple[Unit, ...], gold: np.ndarray | None) -> Game:
        """The game the metric is played on."""
        return self.game(question, units)

    @abstractmethod
    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """The metric [K] of each explanation of the ranking; NaN where it is not defined."""

    def score(self, game: Game, scores: np.ndarray) -> float:
        """The metric of one explanation [U]."""
        return float(self.score_orders(game, Ranking.of(scores))[0])

    def game(self, question: Question, units: tuple[Unit, ...]) -> Game:
        """The game the metric is played on."""
        return Game(question, units, self.removal, self.draw_seed, self.draws, self.infiller)


@dataclass(frozen=True)
class Pairing:
    """K explanations of a text, `own` [K, U], beside those of the text changed, `other` [K, U], unit by unit.

    `input_change` is the Euclidean distance of the embedded texts, `input_relative` that of their coordinates each divided by
    the text's own, `output_change` that of the explained rows of logits. The first two are NaN where words were changed, which
    have no distance.
    """

    own: np.ndarray
    other: np.ndarray
    input_change: float = float("nan")
    input_relative: float = float("nan")
    output_change: float = float("nan")

    def dealt(self, rng: np.random.Generator, n: int) -> "Pairing":
        """`n` pairings of the first explanation with the scores of its other dealt out at random."""
        other = rng.permuted(np.repeat(self.other[:1], n, axis=0), axis=1)
        return replace(self, own=np.repeat(self.own[:1], n, axis=0), other=other)


class StabilityMetric(ExplanationMetric):
    """Base of the metrics that ask whether an explanation stays where it should; the model's answer stays in all they look at."""

    passes: ClassVar[str] = "explaining each changed text, shared by all stability metrics"
    undefined: ClassVar[str] = "scores that are all equal or zero, or no changed text counts"
    by_order: ClassVar[bool] = False
    worst: ClassVar[bool] = False  # whether the worst of the changed texts counts, else their mean

    @abstractmethod
    def changes(self) -> tuple[Change, ...]:
        """What is changed."""

    @abstractmethod
    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """The metric [K] of one changed text; NaN where it is not defined."""

    def score_pairings(self, pairings: Sequence[Pairing]) -> np.ndarray:
        """The metric [K] over changed texts; NaN where it is defined on none."""
        if not pairings:
            return np.full(1, np.nan)
        each = np.stack([self.score_pairing(p) for p in pairings])
        pooled = {False: np.nanmean, True: np.nanmax if self.better == "lower" else np.nanmin}[self.worst]
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="(Mean of empty slice|All-NaN)", category=RuntimeWarning
            )
            return pooled(each, axis=0)

    def ground(self, question: Question, units: tuple[Unit, ...], gold: np.ndarray | None) -> Any:
        """Raises `UsageError`: one explanation alone has no stability."""
        raise UsageError(
            f"You asked for {self.id} of one explanation.",
            "It holds explanations of changed texts against it.",
            "Ask for it in a suite: xg.evaluate(model, texts, methods, metrics).",
        )

    def score_orders(self, ground: Any, ranking: Ranking, /) -> np.ndarray:
        """The metric [K] of the ranking's explanations held against those of another text, `ground` [K, U]."""
        return self.score_pairing(Pairing(ranking.scores, np.broadcast_to(ground, ranking.scores.shape)))


def metric_of(metric: str | Method) -> FaithfulnessMetric:
    """A metric value from its id or from a value as it is. Raises `UsageError` for a metric of another kind."""
    found = _value(metric)
    if not isinstance(found, FaithfulnessMetric):
        raise UsageError(
            f"You asked for the metric {metric if isinstance(metric, str) else metric.id!r}.",
            "It does not judge explanations by removing units.",
            f"Choose among {', '.join(m.id for m in faithfulness_metrics())}.",
        )
    return found


def judge_of(metric: str | Method) -> ExplanationMetric:
    """A metric that scores explanations, from its id or from a value as it is. Raises `UsageError` for any other."""
    found = _value(metric)
    if not isinstance(found, ExplanationMetric):
        raise UsageError(
            f"You asked for the metric {metric if isinstance(metric, str) else metric.id!r}.",
            "It does not score explanations of texts.",
            f"Choose among {', '.join(cls.id for _, cls in METRICS if issubclass(cls, ExplanationMetric))}.",
        )
    return found


def _value(metric: str | Method) -> Method:
    return METRICS.get(metric.replace("-", "_"))() if isinstance(metric, str) else metric


def plausibility_metrics() -> tuple[PlausibilityMetric, ...]:
    """Every registered plausibility metric at its defaults, by id."""
    return tuple(cls() for _, cls in METRICS if issubclass(cls, PlausibilityMetric))


def faithfulness_metrics() -> tuple[FaithfulnessMetric, ...]:
    """Every registered faithfulness metric at its defaults, by id."""
    return tuple(cls() for _, cls in METRICS if issubclass(cls, FaithfulnessMetric))


def judging(question: Question) -> Question:
    """The question on the scale that is judged, with a meter of its own; it shares what is remembered where it can."""
    scale = _judged_scale(question)
    if scale == question.scale:
        return replace(question, meter=Meter())
    return replace(question, scale=scale, meter=Meter(), _memo={}, _answers={})


def _judged_scale(question: Question) -> str:
    foils = any(row.foil is not None for branch in question.branches for row in branch.rows)
    contrast = foils or len(question.branches) > 1
    one = (
        len(question.model.labels) == 1
    )  # a regression: its only class has probability 1 whatever is removed
    if contrast or one or question.scale in ("loss", "entropy"):
        return question.scale
    return "prob" if question.n_outputs == 1 else "logprob"


def outcome(game: Game, keep: np.ndarray) -> np.ndarray:
    """The judged value [...] when only the units with True in `keep` [..., U] are left."""
    return game.question.total(game(keep.reshape(-1, game.n))).reshape(keep.shape[:-1])


def decision(game: Game, keep: np.ndarray) -> np.ndarray:
    """The model's own answer [...] (class or first token) when only the units with True in `keep` [..., U] are left."""
    return game.answers(keep.reshape(-1, game.n)).reshape(keep.shape[:-1])


def whole(game: Game) -> np.ndarray:
    """The keep mask [1, U] of the untouched text."""
    return np.ones((1, game.n), dtype=bool)
