"""What the checks of invariance share: every method on a model and on another that computes the same, and how far they differ.

    change = ||e' - e||_2 / max(||e||_2, ||e'||_2) of each text;  a method passes when every text's is within `tolerance`

Where both explanations are shorter than 1e-3 they are rounding: there is nothing to compare, and the text counts as failed, not as
passed. A method whose scores are next to nothing on every text has shown nothing.

Each score is held against the rounding that is allowed, and against chance: the smaller of the change when the scores are dealt out
at random and that of a planted rule that must fail, which reads the input's numbers and some weights as they stand,
e_u = sum over the tokens of u of <x, w>. That the two models compute the same is
checked on every text and stands in the finding. Cost: explanations, twice.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from pydantic import Field

from exegete.core.results.invariance import Invariance
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.core.value import Value
from exegete.evaluate.sanity.checking import Asked, Bench, SanityStudy, noted
from exegete.evaluate.sanity.same_function import axis_of, matrices
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.randomise import asked_of
from exegete.ops.stats import bootstrap_mean

NAN = float("nan")
NOTHING = 1e-3  # of an output's unit: sums of rounding, where an explanation is zero by a theorem
SAME_OUTPUT = 1e-3  # of the largest output: rounding of another order of sums, through all layers
ROUNDING = "the rounding that is allowed"


class InvariantText(Value):
    """One text on both models: the change of each method and of its dealt scores [method], the change of the planted rule, how far the
    outputs are apart, what is otherwise in the other model, and reasons of what failed. No words: it has fewer than two units.
    """

    change: np.ndarray = np.zeros(0)
    dealt: np.ndarray = np.zeros(0)
    planted: float = NAN
    gap: float = 0.0
    changed: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


class InvarianceStudy(SanityStudy, Divided):
    """Base of the checks of invariance."""

    finds: ClassVar[type] = Invariance
    passes: ClassVar[str] = "explanations, twice"
    question: ClassVar[str] = ""
    tolerance: float = Field(
        1e-3, gt=0, le=1, description="the largest change of an explanation that counts as rounding"
    )
    n_random: int = Field(
        100, ge=1, le=10_000, description="ways to deal out the scores at random, for chance"
    )

    @abstractmethod
    def twin(self, lab: Lab, first: Question) -> tuple[Model, tuple[str, ...]]:
        """Another model of the same function, and in words what is otherwise in it."""

    part: ClassVar[type[Value]] = InvariantText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[InvariantText]:
        """Each text by every method on both models. The other one is the same whatever the texts: what is rewritten is tried on the first."""
        benches = self.benches(lab, items, target)
        first = next((b.asked[0].question for b in benches if b is not None), None)
        if first is None:
            return [InvariantText() for _ in benches]
        twin, words = self.twin(lab, first)
        found = []
        with lab.working(len(benches), "explaining twice") as done:
            for bench in benches:
                found.append(InvariantText() if bench is None else self._text(lab, bench, twin, words))
                done()
        return found

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[InvariantText],
        target: Target,
        n_failed: int = 0,
    ) -> Invariance:
        """How far explanations change, over all texts."""
        mine = [p for p in parts if p.changed]
        if not mine:
            raise self.nothing(len(items))
        names, gap = self.names, max(p.gap for p in mine)
        words = tuple(dict.fromkeys(w for p in mine for w in p.changed))
        change, each = (np.stack([getattr(p, n) for p in mine], axis=-1) for n in ("change", "dealt"))
        dealt = np.array([_mean(d) for d in each])
        planted = float(np.mean([p.planted for p in mine]))
        failures = Counter(w for p in mine for w in p.failures)
        scores = tuple(
            self._score(name, change[m], dealt[m], planted, n_failed) for m, name in enumerate(names)
        )
        passed = tuple(bool(np.isfinite(c).any() and np.nanmax(c) <= self.tolerance) for c in change)
        return Invariance(
            title=self.question,
            lede=_lede(names, change, passed, planted, self.tolerance),
            methods=names,
            change=change,
            dealt=dealt,
            planted=planted,
            passed=passed,
            tolerance=self.tolerance,
            changed=words,
            gap=gap,
            checks=(Check.at_most("same function", gap, SAME_OUTPUT, "largest relative difference between the two models' outputs"),),
            trust=Trust(scores=scores, seed=self.seed, notes=noted(failures)),
        )  # fmt: skip

    def _text(self, lab: Lab, bench: Bench, twin: Model, words: tuple[str, ...]) -> InvariantText:
        """One text: the change of every method, and the mean change of its dealt scores."""
        (asked,) = bench.asked
        change, dealt = np.full((2, len(bench.methods)), NAN)
        for m in range(len(bench.methods)):
            own, other = bench.explain(m, 0), bench.explain(m, 0, twin)
            if own is not None and other is not None and _said(own, other):
                change[m] = _relative(own, other)
                rng = generator(self.seed, "dealt", asked.question.ids.tolist())
                dealt[m] = np.mean([_relative(own, rng.permutation(own)) for _ in range(self.n_random)])
        return InvariantText(
            change=change,
            dealt=dealt,
            planted=_relative(*(_planted(m, asked) for m in (lab.model, twin))),
            gap=_gap(asked.question, twin),
            changed=words,
            failures=tuple(bench.failures.elements()),
        )

    def _score(self, name: str, change: np.ndarray, dealt: float, planted: float, failed: int) -> Score:
        known = change[np.isfinite(change)]
        return Score(
            name=f"{name}: change of the explanation",
            value=_mean(change),
            better="lower",
            chance=min(dealt, planted) if dealt == dealt else planted,
            control=self.tolerance,
            control_name=ROUNDING,
            interval=bootstrap_mean(known, self.seed) if len(known) else None,
            n=len(known),
            n_failed=len(change) - len(known) + failed,
        )


def _planted(model: Model, asked: Asked) -> np.ndarray:
    """The planted rule [unit]: the input's numbers times the first and last rows of the first layer's matrices, added up."""
    x = asked_of(model, asked.question).embeddings().double().cpu().numpy()
    w = np.zeros(x.shape[1])
    for _, module in matrices(model.map.block(model.map.stacks[0], 0)):
        weight = cast(torch.Tensor, module.weight).detach().double().cpu().numpy()
        rows = weight if axis_of(module, "out") == 0 else weight.T
        w += np.resize(rows[0], len(w)) + np.resize(rows[-1], len(w))
    return np.array([float((x[list(u.tokens)] @ w).sum()) for u in asked.units])


def _gap(question: Question, twin: Model) -> float:
    """How far the outputs of two models are apart on one text, as a share of the largest."""
    own, other = question.value(), asked_of(twin, question).value()
    return float(np.abs(own - other).max() / max(1.0, np.abs(own).max()))


def _said(own: np.ndarray, other: np.ndarray) -> bool:
    """Whether either explanation is more than rounding."""
    return max(float(np.linalg.norm(own)), float(np.linalg.norm(other))) > NOTHING


def _relative(own: np.ndarray, other: np.ndarray) -> float:
    size = max(float(np.linalg.norm(own)), float(np.linalg.norm(other)), NOTHING)
    return float(np.linalg.norm(other - own)) / size


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _lede(
    names: tuple[str, ...], change: np.ndarray, passed: tuple[bool, ...], planted: float, tolerance: float
) -> str:
    good = [n for n, p in zip(names, passed) if p]
    bad = [
        (n, float(np.nanmax(c))) for n, c, p in zip(names, change, passed) if not p and np.isfinite(c).any()
    ]
    parts = []
    if good:
        parts.append(f"{', '.join(good)} {'stay' if len(good) > 1 else 'stays'} the same to rounding ({tolerance:g}).")  # fmt: skip
    if bad:
        told = ", ".join(f"{n} by {_share(v)}" for n, v in bad)
        parts.append(f"Changed at most: {told}, although both models compute the same.")
    none = [n for n, c in zip(names, change) if not np.isfinite(c).any()]
    if none:
        parts.append(f"{', '.join(none)}: no explanation, or none of more than rounding; nothing to compare.")
    parts.append(f"A planted rule that reads the numbers as they stand changes by {_share(planted)}.")
    return " ".join(parts)


def _share(v: float) -> str:
    return f"{v:.0%}" if v >= 0.01 else f"{v:.1e}"
