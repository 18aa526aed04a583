"""What the sanity checks of whole methods share: which methods are checked, on which questions, and how one is explained anew.

A question is asked of the model once; a changed model is asked the very same one (same tokens, same output), so that only the
model differs. A method that fails on a text is counted there and its reason noted; the others go on.
Shapes: U units. Cost: what the methods cost.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.method import Need, method_of
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.evaluate.cases import attempt, labels, why
from exegete.evaluate.explained import attribution_method
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.methods.contracts.study import Study
from exegete.models.ask import ask
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.randomise import asked_of

USUAL = ("saliency", "input_x_gradient", "integrated_gradients", "occlusion")
SAME = 1e-6  # of the largest score: below, two scores are called equal, so that rounding decides no order


@dataclass(frozen=True)
class Asked:
    """One text: its question and units."""

    question: Question
    units: tuple[Unit, ...]


@dataclass
class Bench:
    """Texts and methods of a check, and the reasons of what failed."""

    lab: Lab
    methods: tuple[AttributionMethod, ...]
    names: tuple[str, ...]
    asked: tuple[Asked, ...]
    failures: Counter[str] = field(default_factory=Counter)

    def explain(self, m: int, i: int, model: Model | None = None, seed: int = 0) -> np.ndarray | None:
        """Scores [unit] of method m on text i, of another `model` or with its seed moved by `seed`; None where it fails."""
        method, found = self.methods[m], self.asked[i]
        old = getattr(method, "seed", None)
        how: Any = method if old is None or not seed else method.model_copy(update={"seed": old + seed})
        scores, error = attempt(
            lambda: how.attribute(self._question(found.question, model), found.units).total
        )
        if error is not None:
            self.failures[f"{self.names[m]}: {why(error)}"] += 1
        if scores is None or not np.isfinite(scores).all():
            return None
        return np.asarray(scores, dtype=np.float64)

    def _question(self, question: Question, model: Model | None) -> Question:
        if model is None:
            return replace(question, meter=self.lab.meter)
        asked = asked_of(model, question)
        return replace(asked, meter=self.lab.meter)

    def notes(self) -> tuple[str, ...]:
        """What failed, and how often."""
        return noted(self.failures)


def noted(failures: Counter[str]) -> tuple[str, ...]:
    """What failed most, and how often."""
    return tuple(f"{words} ({n} times)" for words, n in failures.most_common(5))


class SanityStudy(Study):
    """Base of the sanity checks of attribution methods."""

    family: ClassVar[str] = "evaluation"
    verb: ClassVar[str] = "sanity"
    asks: ClassVar[Any] = "texts"
    usual: ClassVar[int | None] = 12
    home: ClassVar[str] = "terrarium/sentiment"
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "gradients", "weights", "sites")
    explainers: tuple[str, ...] = Field(
        USUAL, min_length=1, description="ids of the attribution methods that are checked"
    )
    unit: Literal["token", "word"] = Field("word", description="what is explained: token or word")
    seed: int = Field(0, description="seed of everything that is drawn")

    def bench(self, lab: Lab, items: Sequence[Any], target: Target) -> Bench:
        """Every text asked. Raises `UsageError` for an id that explains no text, `InputError` where no text has two units."""
        methods = self.methods(lab)
        asked = tuple(a for item in items if (a := self.asked(lab, item, target)) is not None)
        if not asked:
            raise self.nothing(len(items))
        return Bench(lab, methods, labels(methods), asked)

    def benches(self, lab: Lab, items: Sequence[Any], target: Target) -> list[Bench | None]:
        """Every text asked, each with a bench of its own; None for one of fewer than two units."""
        methods = self.methods(lab)
        each = [self.asked(lab, item, target) for item in items]
        return [None if a is None else Bench(lab, methods, labels(methods), (a,)) for a in each]

    @property
    def names(self) -> tuple[str, ...]:
        """What the methods are called."""
        return labels(tuple(attribution_method(method_of(name)) for name in self.explainers))

    def methods(self, lab: Lab) -> tuple[AttributionMethod, ...]:
        """The methods, of which each can explain the model. Raises `UsageError` for an id that explains no text."""
        methods = tuple(attribution_method(method_of(name)) for name in self.explainers)
        for method in methods:
            method.check(lab.model)
        return methods

    def asked(self, lab: Lab, item: Any, target: Target) -> Asked | None:
        """One text, asked; None where it has fewer than two units."""
        question = replace(ask(lab.model, item, target), meter=lab.meter)
        units = question.units(self.unit)
        return Asked(question, units) if len(units) > 1 else None

    def nothing(self, n: int) -> InputError:
        """What is said where none of n texts has two units."""
        return InputError(
            f"You asked for the check {self.id!r} on {n} texts.",
            f"None has two {self.unit}s, so there is nothing to put in order.",
            "Give longer texts.",
        )


def settled(scores: np.ndarray) -> np.ndarray:
    """Scores [..., U] rounded so that differences of rounding decide no order."""
    size = np.abs(scores).max(axis=-1, keepdims=True)
    return np.round(np.divide(scores, size, out=np.zeros_like(scores), where=size > 0) / SAME) * SAME
