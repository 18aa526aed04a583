"""Axioms of attribution as checks on planted models: sensitivity, dummy and completeness (implementation invariance is a study of
its own, `implementation_invariance`).

    sensitivity    a text of masks but for one word that decides: it differs from the baseline there alone, so that this word must
                   get a score, and masks, which make no difference, none; measured: its share of the scores, |e_w| / sum |e|
    dummy          whole texts: words that no rule reads must get nothing; measured: their share of the scores
    completeness   the same whole texts: |sum e - (f(x) - f(all words masked))| / |f(x) - f(all masked)|

f is the logit of the class. The models are those whose rule is known exactly, and one whose slope is zero where it matters
(`planted_saturated`). Hand-made weights hold a little noise: an axiom is kept where it holds within a tolerance on every text.
Chance: scores dealt out at random (the number of words that matter by all); for completeness the sum of another text's scores.
Control: the same method on shuffled weights, where no word is without effect; for completeness scores of zero, whose gap is 1; for
sensitivity none, as the axiom holds of every function. Interval: over texts.
The model that is named is not used. Cost: four explanations a text and two forwards.
Reference: Sundararajan et al. 2017 (arXiv:1703.01365), sections 2 and 3; Friedman 2004 for the dummy.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, method_of, register
from exegete.core.reference import Reference
from exegete.core.results.axioms import Axioms
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.core.trust import Score, Trust
from exegete.evaluate.cases import attempt, labels, why
from exegete.evaluate.explained import attribution_method
from exegete.evaluate.truth import planted_saturated
from exegete.evaluate.truth.planted import Planted, planted
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.methods.contracts.study import Study
from exegete.models.ask import ask
from exegete.models.bare_classifier import MASK
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.randomise import Randomiser, asked_of
from exegete.models.remove import Game
from exegete.ops.stats import mean_interval

NAN = float("nan")
USUAL = ("saliency", "input_x_gradient", "integrated_gradients", "occlusion")
RULED = ("additive", "pairwise", "token in context", "ordered pair")  # their rule says exactly what matters
SATURATED = "saturated"
LEAST = 0.3  # logits that a word must be worth, else the text says nothing of sensitivity
MEASURES = ("sensitivity", "dummy", "completeness")
CONTROL = "the method on randomised weights"


@dataclass(frozen=True)
class _Case:
    """One text of one model: its question and units, and which units matter [U] bool. `alone`: all others are masked."""

    model: int
    question: Question
    units: tuple[Unit, ...]
    matter: np.ndarray
    change: float
    alone: bool
    twin: Model

    @property
    def chance(self) -> float:
        """The share of scores dealt out at random: on the word that matters, or on those that do not."""
        return float(self.matter.mean() if self.alone else (~self.matter).mean())

    def share(self, e: np.ndarray) -> float:
        """Share of |scores| [U] on what matters (a word alone) or on what does not; 0 where all scores are zero."""
        size = float(np.abs(e).sum())
        part = float(np.abs(e[self.matter if self.alone else ~self.matter]).sum())
        return part / size if size > 0 else 0.0


@dataclass
class _Asked:
    """The methods and the cases; explanations [method][case] of the model and of its twin, and reasons of what failed."""

    methods: tuple[AttributionMethod, ...]
    cases: list[_Case]
    own: list[list[np.ndarray | None]] = field(default_factory=list)
    twins: list[list[np.ndarray | None]] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)


@register
class AxiomsStudy(Study):
    """Whether methods keep the axioms of attribution: what alone matters is scored, what never does is not, and scores add up."""

    id: ClassVar[str] = "axioms"
    family: ClassVar[str] = "evaluation"
    techniques: ClassVar[tuple[str, ...]] = ("O2",)
    verb: ClassVar[str] = "sanity"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = Axioms
    home: ClassVar[str] = "terrarium/sentiment"
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    reference: ClassVar[Reference] = Reference(
        authors="Sundararajan et al.", year=2017, title="Axiomatic Attribution for Deep Networks", where="arXiv:1703.01365",
        equation="sections 2 and 3",
    )  # fmt: skip
    passes: ClassVar[str] = "of planted models alone: four explanations a text"
    explainers: tuple[str, ...] = Field(
        USUAL, min_length=1, description="ids of the attribution methods that are checked"
    )
    truths: tuple[str, ...] = Field(
        (*RULED, SATURATED), min_length=1, description="planted models whose rule is known exactly"
    )
    n_texts: int = Field(6, ge=2, le=1000, description="texts of each model")
    least_share: float = Field(
        0.5, gt=0, le=1, description="share of the scores that a word which alone matters must get"
    )
    most_share: float = Field(
        0.05, gt=0, le=1, description="share of the scores that words which never matter may get"
    )
    most_gap: float = Field(
        0.05, gt=0, le=1, description="gap of completeness that counts as rounding and noise"
    )
    seed: int = Field(0, ge=0, description="seed of the texts and of the shuffled weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Axioms:
        """Every method on every text of every model."""
        methods = tuple(attribution_method(method_of(name)) for name in self.explainers)
        asked = _Asked(methods, self._cases(lab))
        with lab.working(len(methods) * len(asked.cases), "checking axioms") as done:
            _explain(asked, lab, done)
        names = labels(methods)
        values = self._values(asked)
        scores = tuple(
            self._score(f"{name}: {_SAID[what]}", what, values[what][m], asked, m)
            for m, name in enumerate(names)
            for what in MEASURES
        )
        kept = np.array([[self._kept(what, values[what][m]) for what in MEASURES] for m in range(len(names))])
        of = np.array([c.model for c in asked.cases])
        by = {
            w: np.array([[_mean(v[of == k]) for k in range(len(self.truths))] for v in values[w]])
            for w in MEASURES
        }
        return Axioms(
            title="Which axioms do these methods keep?",
            lede=_lede(names, kept),
            methods=names,
            models=self.truths,
            sensitivity=by["sensitivity"],
            dummy=by["dummy"],
            gap=by["completeness"],
            kept=kept,
            tolerance=(self.least_share, self.most_share, self.most_gap),
            trust=Trust(
                scores=scores,
                seed=self.seed,
                notes=tuple(f"{w} ({n} times)" for w, n in asked.failures.most_common(5)),
            ),
        )

    def _cases(self, lab: Lab) -> list[_Case]:
        """Whole texts, and each of them masked but for the planted word that alone is worth most."""
        found = []
        for k, name in enumerate(self.truths):
            what = planted_saturated.make() if name == SATURATED else planted(name)
            twin = Randomiser(self.seed)(what.model)
            for t in what.texts(self.n_texts, self.seed):
                found.append(_case(lab, what, k, twin, t.text, t.label, False))
                alone = _alone(what, t.text.split(), t.label)
                if alone:
                    found.append(_case(lab, what, k, twin, alone, t.label, True))
        return found

    def _values(self, asked: _Asked) -> dict[str, np.ndarray]:
        """Each measure [method, case]; NaN where the case does not speak of it, or the method failed."""
        shape = (len(asked.methods), len(asked.cases))
        found = {what: np.full(shape, NAN) for what in MEASURES}
        for m, i in np.ndindex(shape):
            case, e = asked.cases[i], asked.own[m][i]
            if e is None:
                continue
            if case.alone:
                found["sensitivity"][m, i] = case.share(e)
            else:
                found["dummy"][m, i] = case.share(e)
                found["completeness"][m, i] = abs(float(e.sum()) - case.change) / abs(case.change)
        return found

    def _kept(self, what: str, values: np.ndarray) -> bool:
        known = values[np.isfinite(values)]
        if not len(known):
            return False
        if what == "sensitivity":
            return bool(known.min() >= self.least_share)
        return bool(known.max() <= (self.most_share if what == "dummy" else self.most_gap))

    def _score(self, name: str, what: str, values: np.ndarray, asked: _Asked, m: int) -> Score:
        at = [i for i, c in enumerate(asked.cases) if c.alone == (what == "sensitivity")]
        known = values[at][np.isfinite(values[at])]
        nothing = not len(known)
        chance, control = self._bars(what, asked, m, at)
        return Score(
            name=name,
            value=_mean(values[at]),
            better="higher" if what == "sensitivity" else "lower",
            chance=chance,
            control=control if np.isfinite(control) else None,
            control_name=("scores of zero" if what == "completeness" else CONTROL)
            if np.isfinite(control)
            else "",
            interval=mean_interval(known, self.seed, (0, np.inf) if what == "completeness" else (0, 1)),
            n=len(known),
            n_failed=max(1, len(at)) if nothing else len(at) - len(known),
            skipped=""
            if np.isfinite(control)
            else "the axiom holds of every function"
            if what == "sensitivity"
            else "no explanation of the model with randomised weights",
        )

    def _bars(self, what: str, asked: _Asked, m: int, at: Sequence[int]) -> tuple[float | None, float]:
        """Chance and control of a measure."""
        cases = [asked.cases[i] for i in at]
        mean = _mean(np.array([c.chance for c in cases])) if cases else None
        if what == "sensitivity":
            return mean, NAN
        if what == "dummy":
            twins = [c.share(e) for c, i in zip(cases, at) if (e := asked.twins[m][i]) is not None]
            return mean, _mean(np.array(twins))
        sums = [float(e.sum()) for i in at if (e := asked.own[m][i]) is not None]
        gaps = [
            abs(s - c.change) / abs(c.change)
            for j, c in enumerate(cases)
            for k, s in enumerate(sums)
            if k != j
        ]
        return (_mean(np.array(gaps)) if gaps else None), 1.0


_SAID = {
    "sensitivity": "share on the only word that matters",
    "dummy": "share on words that never matter",
    "completeness": "gap to f(x) - f(baseline)",
}


def _case(lab: Lab, what: Planted, k: int, twin: Model, text: str, label: str, alone: bool) -> _Case:
    question = replace(ask(what.model, text, Target(label=label, scale="logit")), meter=lab.meter)
    units = question.units("word")
    game = Game(question, units, "auto")
    whole, nothing = question.total(game(np.stack([np.ones(game.n, bool), np.zeros(game.n, bool)])))
    names = [u.text for u in units]
    matter = np.array([n != MASK for n in names]) if alone else _matters(what, names)
    return _Case(k, question, units, matter, float(whole - nothing), alone, twin)


def _matters(what: Planted, names: Sequence[str]) -> np.ndarray:
    """Words [U] that the rule reads at all, for any class: those whose score with any one other word is not that of the other."""
    rule = what.rule or (lambda words: {})
    return np.array(
        [any(rule([a, n]) != rule([a]) or rule([n, a]) != rule([a]) for a in names if a != n) for n in names]
    )


def _alone(what: Planted, names: list[str], label: str) -> str:
    """The text masked but for the word that by itself is worth most to the class; empty where none is."""
    rule = what.rule or (lambda words: {})
    worth = [rule([n]).get(label, 0.0) for n in names]
    best = int(np.argmax(worth))
    return " ".join(n if i == best else MASK for i, n in enumerate(names)) if worth[best] >= LEAST else ""


def _explain(asked: _Asked, lab: Lab, done: Callable[..., Any]) -> None:
    for method in asked.methods:
        rows: list[list[np.ndarray | None]] = [[], []]
        for case in asked.cases:
            for row, make in zip(
                rows, (lambda c=case: c.question, lambda c=case: asked_of(c.twin, c.question))
            ):
                scores, error = attempt(
                    lambda make=make, c=case, h=method: (
                        h.attribute(replace(make(), meter=lab.meter), c.units).total
                    )
                )
                if error is not None:
                    asked.failures[f"{method.id}: {why(error)}"] += 1
                good = scores is not None and np.isfinite(scores).all()
                row.append(np.asarray(scores, dtype=np.float64) if good else None)
            done()
        asked.own.append(rows[0])
        asked.twins.append(rows[1])


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _lede(names: Sequence[str], kept: np.ndarray) -> str:
    parts = []
    for k, what in enumerate(MEASURES):
        good = [n for n, row in zip(names, kept) if row[k]]
        parts.append(f"{what.capitalize()} is kept by {', '.join(good) if good else 'none'}.")
    return " ".join(parts)
