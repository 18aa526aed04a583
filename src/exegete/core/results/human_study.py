"""A study with people: its plan, which is also the page that they answer on, and what their answers say."""

import hashlib
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from exegete.core.errors import InputError
from exegete.core.figure import AnyFigure, Curves, Series, Table, banded
from exegete.core.result import Result
from exegete.core.results.finding import Finding
from exegete.core.value import Given

Condition = Literal["alone", "model", "explained"]
CONDITIONS: dict[str, str] = {
    "alone": "without the model",
    "model": "with the model's answer",
    "explained": "with answer and explanation",
}


class StudyItem(Given):
    """What a person answers: `text` and `question` with `options`; `answer` is right, `model` is what the model says.

    The explanation is `explanation` in words, `words` as (piece of the text, score) that together are the text, or both.
    """

    text: str
    options: tuple[str, ...]
    answer: str = Field(description="the right one of the options")
    model: str = Field(description="the one of the options that the model says")
    question: str = ""
    explanation: str = ""
    words: tuple[tuple[str, float], ...] = ()
    id: str = ""

    @model_validator(mode="after")
    def _asked(self) -> "StudyItem":
        asked = f"You gave the study an item on {self.text!r:.60}."
        if not self.text.strip() or len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise InputError(
                asked,
                "Its text is empty, or its options are fewer than two or not all different.",
                "Give a text and at least two options.",
            )
        for name, said in (("answer", self.answer), ("model", self.model)):
            if said not in self.options:
                raise InputError(
                    asked, f"Its {name} {said!r:.40} is none of its options.", "Name one of them."
                )
        if not all(np.isfinite(score) for _, score in self.words):
            raise InputError(asked, "Some scores of its words are no numbers.", "Leave these words out.")
        return self

    @property
    def model_is_right(self) -> bool:
        """Whether the model says the right answer."""
        return self.model == self.answer


class StudyPlan(Result):
    """Who answers what under which condition; drawn as a page, it is the study itself.

    `assigned` [participant, item] is the index into `conditions`; `order` [participant, item] the items in the order in which they
    are asked. `ask_first`: the person answers once before anything of the model is shown, and once after. The page holds no
    right answers.
    """

    title: str
    intro: str
    items: tuple[StudyItem, ...]
    conditions: tuple[Condition, ...]
    ask_first: bool
    assigned: np.ndarray
    order: np.ndarray

    @property
    def key(self) -> str:
        """Identity of the plan: a hash of items, conditions and assignment, written into every file of answers."""
        told = hashlib.sha256(repr((self.conditions, self.ask_first)).encode())
        for item in self.items:
            told.update(item.model_dump_json().encode())
        for table in (self.assigned, self.order):
            told.update(np.ascontiguousarray(table, dtype=np.int64).tobytes())
        return told.hexdigest()[:16]

    @property
    def n_participants(self) -> int:
        """Of how many people the assignment is made."""
        return int(self.assigned.shape[0])


class HumanStudy(Finding):
    """What people answered with and without an explanation.

    conditions  [condition] in words
    given       [participant, item] index of the condition of every answer that counts, -1 elsewhere
    right       [participant, item] 1 where the last answer is right, NaN where there is none
    right_first [participant, item] the same of the answer before anything was shown
    followed    [participant, item] 1 where the last answer is the model's
    seconds     [participant, item] until the last answer
    accuracy, interval   [condition], [condition, 2] of the last answers
    alone, model   accuracy of people alone (NaN: nobody answered alone) and of the model on the same answers
    reliance    [condition, 2] over-reliance and under-reliance
    failures    what was left out, and why
    """

    conditions: tuple[str, ...]
    given: np.ndarray
    right: np.ndarray
    right_first: np.ndarray
    followed: np.ndarray
    seconds: np.ndarray
    accuracy: np.ndarray
    interval: np.ndarray
    alone: float
    model: float
    guess: float
    reliance: np.ndarray
    failures: tuple[str, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy by condition, a table of them, and what was left out."""
        n = len(self.conditions)
        bars = [
            Series(name=name, y=np.full(n, value), control=True)
            for name, value in (
                ("people alone", self.alone),
                ("the model alone", self.model),
                ("a guess", self.guess),
            )
            if np.isfinite(value)
        ]
        curves = Curves(
            title="How often were people right?",
            caption="Share of right answers, with 95 % intervals over participants and items.",
            x=np.arange(n, dtype=np.float64),
            x_axis="what was shown",
            x_names=self.conditions,
            y_axis="share of right answers",
            series=(banded("people", self.accuracy, self.interval), *bars),
        )
        table = Table(
            title="By condition",
            caption="Over-reliance: the model's answer taken where it is wrong. Under-reliance: not taken where it is right.",
            columns=(
                "what was shown",
                "answers",
                "right",
                "over-reliance",
                "under-reliance",
                "median seconds",
            ),
            rows=tuple(
                (
                    name,
                    int((self.given == c).sum()),
                    _cell(self.accuracy[c]),
                    _cell(self.reliance[c, 0]),
                    _cell(self.reliance[c, 1]),
                    _median(self.seconds[self.given == c]),
                )
                for c, name in enumerate(self.conditions)
            ),
        )
        left = Table(
            title="Answers that do not count",
            caption="Each is counted as failed.",
            columns=("what, and why",),
            rows=tuple((f,) for f in self.failures),
        )
        return (curves, table, left) if self.failures else (curves, table)


def _cell(x: float) -> float | None:
    return round(float(x), 3) if np.isfinite(x) else None


def _median(x: np.ndarray) -> float | None:
    known = x[np.isfinite(x)]
    return round(float(np.median(known)), 1) if known.size else None
