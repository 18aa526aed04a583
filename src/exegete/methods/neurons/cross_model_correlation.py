"""Cross-model correlation: neurons that other trained models have too are found without any label, then related to one.

1. several models read the same words; rows are matched word by word, so that tokenizers may differ;
2. a neuron i of this model is scored by one of

       maxcorr   the largest |correlation| with any neuron of any other model
       mincorr   of the largest in each other model, the least: every model must have it
       linreg    share of its variance that a linear fit on all neurons of another model foretells, mean over the others
       svcca     the same through the canonical directions of both models' main subspaces, mean over the others

3. the ranking is related to the labels: what each neuron stands out on, and what a probe of the first k tells. Whether the
   model needs them is asked with `neuron_ablation`.

Chance: the same on shuffled words. Control: other models with randomised weights, which still read the same words.
Cost: one forward a text in each model, in each other model's randomised twin and in this one's.
Reference: Bau et al. 2019, "Identifying and Controlling Important Neurons in Neural Machine Translation", section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Marked
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.finding import Finding
from exegete.core.results.ranked_neurons import SharedNeurons
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.twins import twin_of
from exegete.methods.neurons.examples import Examples
from exegete.methods.neurons.judged import Judged, Ranking, ranked
from exegete.methods.neurons.ranking_study import RankingStudy
from exegete.models.harvest import harvest, sites_at
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.ops.cross_correlation import correlations, regression, svcca
from exegete.ops.stats import bootstrap_mean

SAME = 0.1  # share of neurons with a partner of their own number that no two models trained apart would have
MEASURES = ("maxcorr", "mincorr", "linreg", "svcca")
USUAL = ("terrarium/encoder", "terrarium/sentiment", "terrarium/shortcut")


@dataclass(frozen=True)
class Seen:
    """What other models make of the rows of training and choosing: `tables` [row, neuron] and `names` of their neurons, a model;
    `x` [row, neuron] is this model's; `fitted` and `judged` are places in these rows.
    """

    models: tuple[Model, ...]
    items: Sequence[Marked]
    x: np.ndarray
    tables: tuple[np.ndarray, ...]
    names: tuple[tuple[str, ...], ...]
    fitted: np.ndarray
    judged: np.ndarray

    def measure(self, name: str, tables: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """One measure of every neuron [neuron], against these tables (the models' own where none are given)."""
        tables = self.tables if tables is None else tables
        if name in ("maxcorr", "mincorr"):
            each = np.stack([correlations(self.x, t).max(1) for t in tables])
            return each.max(0) if name == "maxcorr" else each.min(0)
        if name == "linreg":
            return np.mean([regression(self.x, t, self.fitted, self.judged) for t in tables], axis=0)
        return np.mean([svcca(self.x, t) for t in tables], axis=0)


@register
class CrossModelCorrelation(RankingStudy):
    """Neurons by how well neurons of other trained models go with them; no label is used to rank."""

    id: ClassVar[str] = "cross_model_correlation"
    techniques: ClassVar[tuple[str, ...]] = ("F2", "F1")
    finds: ClassVar[type] = SharedNeurons
    passes: ClassVar[str] = "2 a text for this model and for each of the others (trained and randomised)"
    reference: ClassVar[Reference] = Reference(
        authors="Bau et al.", year=2019, title="Identifying and Controlling Important Neurons in Neural Machine Translation",
        where="arXiv:1811.01157", equation="section 3",
    )  # fmt: skip
    others: tuple[str, ...] = Field(
        (), description="other models, by name or path; none: the other embedded models of this tokenizer"
    )  # fmt: skip
    measure: Literal["maxcorr", "mincorr", "linreg", "svcca"] = Field(
        "maxcorr",
        description="what ranks: closest neuron anywhere, in every model, linear fit, or shared directions",
    )

    @property
    def whole(self) -> str:
        """All models must read the same words."""
        return "other models read the same words beside it"

    def rank(self, lab: Lab, items: Sequence[Marked], ex: Examples) -> Ranking:
        """By the measure, on the rows of training and choosing."""
        names = self.others or tuple(n for n in USUAL if n != lab.model.name)
        seen = self.seen(lab, items, ex, tuple(load(n, device=lab.model.device) for n in names))
        score = seen.measure(self.measure)
        order = np.argsort(-score, kind="stable")
        return Ranking(order, score, ex.tells(), f"{self.measure} with other models", seen)

    def seen(self, lab: Lab, items: Sequence[Marked], ex: Examples, models: tuple[Model, ...]) -> Seen:
        """The other models' activations on this one's rows. Raises `InputError` where they share too few words."""
        if not models:
            raise UsageError(
                "You asked what other models have too.", "No other model was named.", "Give others=NAME,NAME."
            )
        pool = np.sort(np.concatenate(ex.parts[:2]))
        keys = list(zip(ex.item[pool].tolist(), ex.mark[pool].tolist()))
        found, names = [], []
        for model in models:
            table = harvest(self._lab(lab, model), items, sites_at(model, self.site, ()))
            where = {k: r for r, k in enumerate(zip(table.item.tolist(), table.mark.tolist()))}
            whole = np.concatenate([np.asarray(v) for v in table.values.values()], 1)
            found.append((whole, where))
            names.append(tuple(f"{s}[u{u}]" for s, v in table.values.items() for u in range(v.shape[1])))
        shared = [i for i, key in enumerate(keys) if all(key in where for _, where in found)]
        rows = pool[shared]
        fitted, judged = (np.flatnonzero(np.isin(rows, p)) for p in ex.parts[:2])
        if len(fitted) < 10 or len(judged) < 10:
            raise InputError(
                "You asked to compare models on the same words.",
                f"They share {len(rows)} words for it.",
                "Give more labelled texts.",
            )
        tables = tuple(whole[[where[keys[i]] for i in shared]].astype(np.float64) for whole, where in found)
        return Seen(models, items, ex.x[rows], tables, tuple(names), fitted, judged)

    def _twins(self, lab: Lab, models: tuple[Model, ...]) -> tuple[tuple[Model, ...], str]:
        """The other models with randomised weights; none and the reason where one of them is too large to copy."""
        found = []
        for model in models:
            twin, why = twin_of(self._lab(lab, model), self.seed)
            if twin is None:
                return (), why
            found.append(twin.model)
        return tuple(found), ""

    def _lab(self, lab: Lab, model: Model) -> Lab:
        return Lab(model, lab.seed, lab.meter, lab.progress)

    def finding(self, lab: Lab, ex: Examples, found: Ranking, judged: Judged, trust: Trust) -> Finding:
        """All measures with their controls, and each neuron's partner."""
        seen: Seen = found.made
        order = found.order
        values = {m: seen.measure(m) for m in MEASURES}
        turn = lab.rng("shuffled").permutation(len(seen.x))
        shuffled = tuple(t[turn] for t in seen.tables)
        twins, why = self._twins(lab, seen.models)
        blind = self.seen(lab, seen.items, ex, twins).tables if twins else ()
        chance = {m: float(seen.measure(m, shuffled).mean()) for m in MEASURES}
        control = {m: float(seen.measure(m, blind).mean()) if blind else float("nan") for m in MEASURES}
        own = values[self.measure]
        score = Score(
            name=f"{self.measure} with other models, mean over neurons",
            value=float(own.mean()),
            chance=chance[self.measure],
            control=control[self.measure] if blind else None,
            control_name="the other models with randomised weights" if blind else "",
            skipped=why,
            interval=bootstrap_mean(own, self.seed),
            n=len(own),
        )
        trust = trust.model_copy(update={"scores": (score, *trust.scores)})
        names = tuple(m.name for m in seen.models)
        untrained = f", untrained: {score.control:.2f}" if blind else ""
        words = (
            f"A neuron's {self.measure} with {' and '.join(names)} is {own.mean():.2f} in the mean (shuffled words: "
            f"{score.chance:.2f}{untrained}); of the first, {ex.places.name(int(order[0]))}, {own[order[0]]:.2f}."
        )
        plain = (
            " It does not beat untrained models: the words alone explain it."
            if score.beats_control is False
            else ""
        )
        partners = _partners(seen, order)
        same = float(np.mean([ex.places.unit[i] == unit for i, (_, _, unit) in zip(order, partners)]))
        if same > SAME:
            plain += (
                f" {same:.0%} of the neurons have a closest partner of their own number: these models were not trained apart "
                "from each other."
            )
        return SharedNeurons(
            title="Which neurons do other trained models have too?",
            lede=f"{words}{plain} {self.lede(ex, judged, trust)}",
            classes=ex.classes,
            ranked=ranked(ex, found),
            curves=judged.curves,
            others=names,
            best=values["maxcorr"][order],
            least=values["mincorr"][order],
            regression=values["linreg"][order],
            svcca=values["svcca"][order],
            twin=tuple((name, neuron) for name, neuron, _ in partners),
            shuffled=chance,
            untrained=control,
            trust=trust,
        )


def _partners(seen: Seen, order: np.ndarray) -> tuple[tuple[str, str, int], ...]:
    """For each neuron in order, the model and the neuron that go with it best, and that neuron's number in its layer."""
    found: list[Any] = [correlations(seen.x, t) for t in seen.tables]
    best = np.stack([f.max(1) for f in found]).argmax(0)
    partner = [seen.names[best[i]][int(found[best[i]][i].argmax())] for i in order]
    return tuple((seen.models[best[i]].name, p, int(p.split("[u")[1][:-1])) for i, p in zip(order, partner))
