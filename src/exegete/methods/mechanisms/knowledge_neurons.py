"""Knowledge neurons: which hidden units say a fact whatever its wording, and what switching them off or up does.

1. a fact's wordings (prompt and paraphrases) are dealt in two: every other one finds, the rest test, so that no wording does both;
2. integrated gradients of P(answer) over the units of every layer, for each finding wording (`unit_attribution`);
3. a unit is kept when its attribution passes `threshold` of the largest, in at least `share` of the finding wordings; at
   most `n_units` of the strongest, at least one;
4. on the testing wordings the kept units are set to zero, and doubled, at every token of real runs: change of the answer's
   log-odds.

Controls: as many random units of the same layers (mean of `n_draws`); and the same switching seen by a fact of another subject and answer, which a
unit of this fact should not move. The finding is an edit: `only(i)` switches the neurons of fact i off.

Cost: a wording of a fact 1 forward and about n_layers * n_steps / 2 forwards and backwards; 3 + 2 n_draws forwards a tested
wording. Reference: Dai et al. 2021, "Knowledge Neurons in Pretrained Transformers" (arXiv:2104.08696), sec. 3-4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import ExegeteError, InputError
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.edits import SiteEdit
from exegete.core.results.knowledge import KnowledgeNeurons, NeuronCase
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import Unfit
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.unit_attribution import Parts, attribute, switched
from exegete.models.feedforward import feed_forward, layers_with_units, units_of
from exegete.models.lab import Aim, Lab
from exegete.ops.stats import bootstrap_mean

Units = tuple[tuple[int, int], ...]
Kept = tuple[tuple[tuple[int, int], ...], tuple[float, ...], tuple[int, ...]]


class Neurons(Value):
    """One fact: the units kept, their attributions and in how many wordings each is strong; `odds` [5] as it is, suppressed,
    doubled, and the last two for random units; the `gaps` of the integrals. Or why it was left out.
    """

    units: Units = ()
    attribution: tuple[float, ...] = ()
    shared: tuple[int, ...] = ()
    odds: np.ndarray = np.zeros(0)
    gaps: tuple[float, ...] = ()
    unfit: Unfit | None = None
    unknown: str = ""

    @property
    def why(self) -> str:
        """Why it was left out; "" where it was not."""
        return self.unfit.found if self.unfit else self.unknown


@register
class KnowledgeNeuronStudy(Divided):
    """Which hidden units say a fact whatever its wording, and what switching them off or up does to it and to others."""

    id: ClassVar[str] = "knowledge_neurons"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("F11",)
    verb: ClassVar[str] = "edit"
    asks: ClassVar[Any] = "facts"
    usual: ClassVar[int | None] = 10
    finds: ClassVar[type] = KnowledgeNeurons
    part: ClassVar[type[Value]] = Neurons
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="Dai et al.", year=2021, title="Knowledge Neurons in Pretrained Transformers",
        where="arXiv:2104.08696", equation="eq. 2-3, sec. 3-4",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "gradients", "sites")
    passes: ClassVar[str] = "about n_layers * n_steps / 2 forwards and backwards a wording"
    n_steps: int = Field(20, ge=1, le=1000, description="steps of the integral")
    threshold: float = Field(
        0.2, ge=0, le=1, description="share of the largest attribution that a unit must pass in a wording"
    )
    share: float = Field(0.7, ge=0, le=1, description="share of the wordings in which it must pass")
    n_units: int = Field(10, ge=1, le=10000, description="most units kept for a fact")
    n_draws: int = Field(10, ge=1, le=1000, description="draws of random units, the control")
    known_only: bool = Field(
        True,
        description="only facts whose answer the model finds likelier than not; the others count as failed",
    )
    seed: int = Field(0, description="seed of random units")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Neurons]:
        """Each fact's neurons, found on some wordings and switched on others."""
        parts = _parts(lab)
        found = []
        with lab.working(len(items), "finding neurons") as step:
            for fact in items:
                try:
                    found.append(self._neurons(lab, _Asked.of(lab, fact), parts))
                except ExegeteError as letter:
                    found.append(Neurons(unfit=Unfit.of(letter)))
                step()
        return found

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Neurons], target: Target, n_failed: int = 0
    ) -> KnowledgeNeurons:
        """Over the facts that could be asked; each one's neurons are switched for another fact too."""
        failed = [(fact, p.why) for fact, p in zip(items, parts) if p.why]
        kept = [p for p in parts if not p.why]
        if not kept:
            if len(items) == 1 and parts[0].unfit is not None:
                raise parts[0].unfit.letter
            raise InputError(
                f"You asked for the neurons of {len(items)} facts.",
                f"None of them can be asked: of {failed[0][0].prompt!r}, {failed[0][1]}",
                "Give facts that the model knows, or set known_only=False.",
            )
        asked = [_Asked.of(lab, fact) for fact, p in zip(items, parts) if not p.why]
        layers = _parts(lab)
        cases = [_case(lab, (a, _other(asked, i)), p, layers) for i, (a, p) in enumerate(zip(asked, kept))]
        gap = float(np.mean([g for p in kept for g in p.gaps]))
        return _finding(cases, lab.model.map.n_layers, failed, gap, n_failed)

    def _neurons(self, lab: Lab, one: "_Asked", parts: Parts) -> Neurons:
        """One fact; one that the model does not know is left out."""
        odds = float(switched(lab, one.test, parts, [((), 1.0)]).mean())
        if odds <= 0 and self.known_only:
            return Neurons(unknown=f"the log-odds of {one.fact.answer!r} are {odds:.1f}.")
        found = [attribute(lab, one.find.only(j), parts, self.n_steps) for j in range(len(one.find))]
        units, values, shared = self._kept([f.units for f in found])
        return Neurons(
            units=units, attribution=values, shared=shared, odds=self._odds(lab, one, units, parts),
            gaps=tuple(f.gap for f in found),
        )  # fmt: skip

    def _kept(self, strengths: list[dict[int, np.ndarray]]) -> Kept:
        """(units kept, the strongest first, mean attribution of each, number of wordings in which it is strong)."""
        layers = sorted(strengths[0])
        where = [(n, u) for n in layers for u in range(len(strengths[0][n]))]
        every = np.stack([np.concatenate([s[n] for n in layers]) for s in strengths])  # [wording, unit]
        strong = every >= self.threshold * every.max(1, keepdims=True)
        mean, shared = every.mean(0), strong.sum(0)
        order = np.argsort(-mean, kind="stable")
        kept = [int(j) for j in order if shared[j] >= self.share * len(every)][: self.n_units]
        kept = kept or [int(order[0])]
        return (
            tuple(where[j] for j in kept), tuple(float(mean[j]) for j in kept), tuple(int(shared[j]) for j in kept),
        )  # fmt: skip

    def _odds(self, lab: Lab, one: "_Asked", units: tuple[tuple[int, int], ...], parts: Parts) -> np.ndarray:
        """Mean log-odds: as it is, suppressed, amplified, the same two of random units."""
        rng = lab.rng("units", one.fact.prompt)
        drawn = [self._random(rng, units, parts) for _ in range(self.n_draws)]
        sets = [((), 1.0), (units, 0.0), (units, 2.0), *((d, by) for by in (0.0, 2.0) for d in drawn)]
        found = switched(lab, one.test, parts, sets).mean(1)
        return np.array([*found[:3], found[3 : 3 + self.n_draws].mean(), found[3 + self.n_draws :].mean()])

    def _random(
        self, rng: np.random.Generator, units: tuple[tuple[int, int], ...], parts: Parts
    ) -> tuple[tuple[int, int], ...]:
        """As many other units of the same layers."""
        found: list[tuple[int, int]] = []
        for n in sorted({m for m, _ in units}):
            mine = [u for m, u in units if m == n]
            rest = np.setdiff1d(np.arange(units_of(parts[n])), mine)
            found += [(n, int(u)) for u in rng.choice(rest, min(len(mine), len(rest)), replace=False)]
        return tuple(found)


@dataclass(frozen=True)
class _Asked:
    """A fact with the wordings that find and those that test, as aims."""

    fact: Fact
    find: Aim
    test: Aim
    found_on: tuple[str, ...]
    tested: tuple[str, ...]

    @property
    def apart(self) -> bool:
        """Whether no wording does both."""
        return not set(self.found_on) & set(self.tested)

    @classmethod
    def of(cls, lab: Lab, fact: Fact) -> "_Asked":
        """Every other wording finds; of a single one there is nothing to hold out."""
        every = tuple(dict.fromkeys((fact.prompt, *fact.paraphrases)))
        found_on, tested = every[::2], every[1::2] or every
        find = lab.aim(found_on, Target(label=fact.answer, scale="prob"))
        test = lab.aim(tested, Target(label=fact.answer, scale="logprob"))
        return cls(fact, find, test, found_on, tested)


def _parts(lab: Lab) -> Parts:
    """The feed-forward parts whose units can be seen, by layer."""
    return {i: feed_forward(lab.model.map, i) for i in layers_with_units(lab.model.map)}


def _case(lab: Lab, facts: tuple[_Asked, _Asked | None], kept: Neurons, parts: Parts) -> NeuronCase:
    """A fact's neurons, and what switching them does to the other fact."""
    (one, other), units = facts, kept.units
    away = np.full(2, np.nan)
    if other is not None:
        o = switched(lab, other.test, parts, [((), 1.0), (units, 0.0), (units, 2.0)]).mean(1)
        away = o[1:] - o[0]
    layers = sorted({n for n, _ in units})
    return NeuronCase(
        name=one.fact.prompt, answer=one.fact.answer, units=units, attribution=kept.attribution, shared=kept.shared,
        found_on=one.found_on, tested=one.tested, apart=one.apart, odds=kept.odds, other=away,
        sites=tuple(
            SiteEdit(site=str(parts[n].act), how="scale", value=np.zeros(()), units=tuple(u for m, u in units if m == n))
            for n in layers
        ),
    )  # fmt: skip


def _other(asked: list[_Asked], i: int) -> _Asked | None:
    """The next fact of another subject and another answer: units that say this answer would move any fact that shares it."""
    mine = asked[i].fact
    later = [*asked[i + 1 :], *asked[:i]]
    return next((a for a in later if a.fact.subject != mine.subject and a.fact.answer != mine.answer), None)


def _finding(
    cases: list[NeuronCase], n_layers: int, failed: list[tuple[Fact, str]], gap: float, n_failed: int
) -> KnowledgeNeurons:
    scores = _scores(cases, len(failed) + n_failed)
    counts = np.bincount([n for c in cases for n, _ in c.units], minlength=n_layers)
    notes = [f"{fact.prompt!r} was left out: {why}" for fact, why in failed[:5]]
    notes.append(
        f"Attributions of a layer sum to its effect up to {gap:.1%} of P(answer); more n_steps, less."
    )
    if not all(c.apart for c in cases):
        notes.append("Facts of a single wording were tested on the wording they were found on.")
    single = cases[0]
    return KnowledgeNeurons(
        title="Which neurons know the fact?" if len(cases) == 1 else "Which neurons know the facts?",
        lede=_lede(cases, scores),
        claim=f"{single.name!r} is no longer completed by {single.answer!r}" if len(cases) == 1 else "facts are switched off",
        sites=single.sites if len(cases) == 1 else (),
        layers=tuple(f"layer {i}" for i in range(n_layers)),
        per_layer=counts,
        cases=tuple(cases),
        trust=Trust(scores=scores, notes=tuple(notes)),
    )  # fmt: skip


def _scores(cases: list[NeuronCase], n_failed: int) -> tuple[Score, ...]:
    """Changes of log-odds beside those of random units, and beside those of another fact."""
    odds, other = np.stack([c.odds for c in cases]), np.stack([c.other for c in cases])
    names = (
        ("log-odds of the answer lost with its neurons suppressed", -1, 1),
        ("log-odds of the answer gained with its neurons doubled", 1, 2),
    )
    random, away = "as many random units of the same layers", "the same neurons, seen by another fact"
    made = []
    for name, sign, j in names:
        change, drawn = sign * (odds[:, j] - odds[:, 0]), sign * (odds[:, j + 2] - odds[:, 0])
        seen = sign * other[:, j - 1]
        made.append(_score(name, change, drawn, random, n_failed))
        if np.isfinite(seen).any():
            kept = np.isfinite(seen)
            made.append(_score(f"{name} (specific to the fact)", change[kept], seen[kept], away, n_failed))
    return tuple(made)


def _score(name: str, values: np.ndarray, control: np.ndarray, words: str, n_failed: int) -> Score:
    return Score(
        name=name, value=float(values.mean()), control=float(control.mean()), control_name=words,
        interval=bootstrap_mean(values), n=len(values), n_failed=n_failed,
    )  # fmt: skip


def _lede(cases: list[NeuronCase], scores: tuple[Score, ...]) -> str:
    n = np.mean([len(c.units) for c in cases])
    held = "wordings they were not found on" if all(c.apart for c in cases) else "their wordings"
    words = [f"{n:.1f} neurons a fact, switched on {held}."]
    words += [f"The {s.name}: {s.value:.2f}, against {s.control:.2f} with {s.control_name}." for s in scores]
    lost = [s.name for s in scores if s.beats_control is False]
    if lost:
        words.append(f"Not beyond the control: {'; '.join(lost)}.")
    return " ".join(words)
