"""The contract of an attribution method, and the one way from a question to an `Attribution`.

A method implements `attribute(question, units) -> Scores`. Everything around it is here, once:

1. refuse what the model does not offer;
2. run the untouched input: its value, its prediction, and logits to compare with afterwards;
3. let the method work;
4. self-checks: logits bit-identical to before, cached reading equal to whole reading, finite scores, the method's own;
5. put everything into a frozen result with its cost.

Cost beside the method's own: two forwards of the untouched input and, for a causal model, two half ones.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch

from exegete.core.errors import InputError, MissingNeed, ModelError
from exegete.core.method import Method
from exegete.core.request import Text
from exegete.core.result import Attribution, Provenance, UnitInfo
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.models.ask import ask, distribution
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.turns import shared

SHARED_ROUNDING = 1e-5  # of the largest logit
CACHE_TOLERANCE = 1e-3  # of the largest logit; half-precision models differ by rounding


@dataclass(frozen=True)
class Scores:
    """What a method found.

    `total` [U] explains the total output; `each` [R, U] every output where the method gives them (else None);
    `stderr` [U] for sampled methods; `base_value` the output with everything removed, where the method has such a point;
    `signed` is False for scores that are magnitudes.
    """

    total: np.ndarray
    each: np.ndarray | None = None
    stderr: np.ndarray | None = None
    base_value: float = float("nan")
    signed: bool = True
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


class AttributionMethod(Method):
    """Base of all attribution methods. `family`: perturbation, gradient, surrogate, decomposition or attention."""

    over_data: ClassVar[str] = "row by row"
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq", "sequence", "token")
    hooks: ClassVar[bool] = (
        False  # whether it places hooks or modes on the model, so that texts cannot share passes
    )

    @abstractmethod
    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores of `units` for the question."""

    @abstractmethod
    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """Most forwards and backwards that explaining `units` units of `outputs` outputs takes, self-checks left out."""

    def __call__(
        self,
        model: Model,
        request: Text | str,
        target: Target | str | int | None = None,
        unit: str = "word",
        prefix: bool = False,
    ) -> Attribution:
        """Explain `target` of `model` on `request` by units of level `unit`; `prefix` adds earlier target tokens."""
        self.check(model)
        return explain(self, ask(model, request, target), unit, prefix)

    def check(self, model: Model) -> None:
        """Refuse a model that lacks what the method needs, before any work."""
        self.require(model.offers, model.name)
        if model.task not in self.tasks:
            raise ModelError(
                f"You asked for the method {self.id!r} on {model.name}.",
                f"It is a {model.task} model; the method works on {', '.join(self.tasks)}.",
                "Choose another method: `exegete list methods`.",
            )


def explain(method: AttributionMethod, q: Question, level: str = "word", prefix: bool = False) -> Attribution:
    """Run `method` on a question and wrap what it finds, with its self-checks."""
    units = q.units(level, prefix)
    if not units:
        raise InputError(
            "You asked to explain a text.",
            "It holds nothing but special tokens, which are not explained.",
            "Give at least one word beside them.",
        )
    before = q.reference()
    if not np.isfinite(q.value()).all():
        raise ModelError(
            f"You asked why {q.model.name} says {q.target!r}.",
            "Its score is infinite: the model rules this out (or its weights are damaged).",
            "Choose another target, or another scale.",
        )
    predicted, top = distribution(q, before[0])
    scores = _attributed(method, q, units)
    checks = (*_checks(q, before, scores), *scores.checks)
    each = scores.each if scores.each is not None else _unasked(q, units, scores.total)
    return Attribution(
        text=q.encoded.text,
        units=tuple(_info(q, u) for u in units),
        level=level,
        outputs=q.outputs,
        scores=np.asarray(each, dtype=np.float64),
        total=np.asarray(scores.total, dtype=np.float64),
        stderr=scores.stderr,
        available=q.available(units) if prefix else None,
        target=q.target,
        against=q.against,
        scale=q.scale,
        value=float(q.total(q.value())),
        base_value=scores.base_value,
        signed=scores.signed,
        prediction=top,
        predicted=predicted,
        checks=checks,
        cost=q.meter.cost(),
        notes=(*q.notes, *scores.notes),
        provenance=provenance(method, q.model),
    )


def by_unit(slots: np.ndarray, units: Sequence[Unit]) -> np.ndarray:
    """Sum slot scores [..., S] over each unit's tokens -> [..., U]."""
    return np.stack([slots[..., list(u.tokens)].sum(-1) for u in units], axis=-1)


def provenance(method: Method, model: Model) -> Provenance:
    """Everything that identifies model, method, parameters and code."""
    return Provenance(
        model=model.name,
        fingerprint=model.fingerprint,
        family=model.family,
        task=model.task,
        dtype=str(model.dtype).removeprefix("torch."),
        revision=model.revision,
        method=method.id,
        params=method.params(),
        seed=int(getattr(method, "seed", 0)),
        versions=_versions(),
    )


def _checks(q: Question, before: list[torch.Tensor], scores: Scores) -> tuple[Check, ...]:
    """The self-checks that every attribution carries."""
    after = q.reference()
    moved = max((_moved(a, b) for a, b in zip(before, after)), default=0.0)
    found = [
        _untouched(q, moved, before),
        Check.at_most(
            "scores finite", float((~np.isfinite(scores.total)).sum()), 0, "number of NaN or infinite scores"
        ),
    ]
    gap = q.cache_gap
    if not np.isnan(gap):
        words = "largest relative difference between logits read at once and read on from a cache"
        found.append(Check.at_most("cached logits agree", gap, CACHE_TOLERANCE, words))
    return tuple(found)


def _untouched(q: Question, moved: float, before: list[torch.Tensor]) -> Check:
    """Logits before and after, bit for bit; texts that share passes meet others in each, and agree to rounding."""
    words = "logits of the untouched input, before and after, bit for bit"
    if shared(q.model) is None:
        return Check.at_most("model untouched", moved, 0.0, words)
    largest = max(float(x[x.isfinite()].abs().max()) for x in before)
    words = "logits of the untouched input, before and after, to rounding (texts shared passes)"
    return Check.at_most("model untouched", moved, SHARED_ROUNDING * max(1.0, largest), words)


def _attributed(method: AttributionMethod, q: Question, units: tuple[Unit, ...]) -> Scores:
    """What the method finds; a model that cuts its own graph (no_grad, inference mode) is refused with a letter."""
    try:
        return method.attribute(q, units)
    except RuntimeError as e:
        if "does not require grad" not in str(e):
            raise
        raise MissingNeed(
            f"You asked for the method {method.id!r} on {q.model.name}.",
            "It needs gradients, and this model's forward passes none on (it runs under no_grad or inference mode).",
            "Choose a method that only removes text, such as 'occlusion'.",
        ) from e


def _moved(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference between two tensors; equal infinities differ by nothing."""
    return float((a - b).masked_fill(a == b, 0.0).abs().max())


def _unasked(q: Question, units: Sequence[Unit], total: np.ndarray) -> np.ndarray:
    """Scores per output where only the total was asked for: the total itself for one output, else unknown."""
    if q.n_outputs == 1:
        return np.asarray(total)[None]
    return np.full((q.n_outputs, len(units)), np.nan)


def _info(q: Question, u: Unit) -> UnitInfo:
    roles = q.encoded.segment_roles
    name = roles[u.segment] if 0 <= u.segment < len(roles) else ""
    return UnitInfo(text=u.text, tokens=u.tokens, start=u.start, end=u.end, role=u.role, segment=name)


@cache
def _versions() -> dict[str, Any]:
    from importlib.metadata import version

    return {name: version(name) for name in ("exegete", "torch", "transformers")}
