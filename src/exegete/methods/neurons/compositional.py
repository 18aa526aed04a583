"""Compositional explanations of units: the logical formula of grammar that says best where a unit fires.

1. every sentence is read once; a word's activation is that of its strongest token;
2. sentences are dealt to search (60 %) and held out (40 %); equal sentences stay together;
3. a unit is on at a word above its top `quantile` of the words to search on;
4. concepts (`word_concepts`: part of speech, relation, features, form, closed class, position, each also of the words beside) are
   joined by AND, OR, NOT with a beam search that maximises IoU x 0.99^(length - 1) (`ops.formulas`);
5. each formula is judged by its IoU on the held-out sentences.

Chance is the same search, with the same choice, for the unit's activations in random order within each part (as often on), judged on
its own held-out part. Controls: that; another unit's formula on this unit; the same unit with randomised weights.

The paper's NEIGHBOURS joins words that are near in an embedding; here it is the words beside in the sentence. Negations follow AND
alone. Units that are on at no held-out word, or whose values do not differ, are failures.

Cost: 2 forwards a sentence (one with randomised weights), 3 searches a unit. Reference: Mu & Andreas 2020.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.material import Marked, Parsed
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.formulas import Formulas, UnitFormula
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.methods.neurons.unit_texts import Unit
from exegete.methods.neurons.word_concepts import word_concepts
from exegete.models.harvest import Table, harvest, sites_at, words_of
from exegete.models.lab import Lab
from exegete.ops.formulas import Atoms, Formula, iou, search
from exegete.ops.split import split
from exegete.ops.stats import bootstrap_mean

SHARES = (0.6, 0.4)
SHOWN = 5  # words shown a unit
FINE = 1e-4  # of a unit's spread: values closer than this are equal, so that rounding does not turn units on or off


@dataclass(frozen=True)
class _Judged:
    """Formulas of one unit, by the number of concepts allowed: IoU where searched and held out [length]; empty where it failed."""

    formulas: tuple[Formula, ...]
    searched: np.ndarray
    held: np.ndarray


@register
class CompositionalExplanations(Study):
    """Which logical formula of grammar (NOUN and not after DET) says where a unit fires."""

    id: ClassVar[str] = "compositional"
    family: ClassVar[str] = "neurons"
    techniques: ClassVar[tuple[str, ...]] = ("G5",)
    verb: ClassVar[str] = "neurons"
    asks: ClassVar[Any] = "trees"
    least: ClassVar[int] = 4
    usual: ClassVar[int | None] = 600
    finds: ClassVar[type] = Formulas
    home: ClassVar[str] = "terrarium/encoder"
    reference: ClassVar[Reference] = Reference(
        authors="Mu & Andreas", year=2020, title="Compositional Explanations of Neurons", where="NeurIPS"
    )
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "2 forwards a sentence"
    site: str = Field("mlp_act", description="kind of unit: mlp_act (neurons), resid_post, z (head outputs)")
    layers: tuple[int, ...] = Field((), description="layers that are read; none: all")
    units: tuple[int, ...] = Field(
        (), description="numbers of the units that are explained in every layer; none: those that vary most"
    )
    n_units: int = Field(
        48, ge=1, le=10_000, description="how many units, spread evenly over the layers, where none is named"
    )
    quantile: float = Field(
        0.02, gt=0, le=0.2, description="share of words on which a unit counts as on: its strongest"
    )
    length: int = Field(5, ge=1, le=10, description="concepts in a formula, at most")
    beam: int = Field(10, ge=1, le=1000, description="formulas kept at every length")
    penalty: float = Field(
        0.99, gt=0, le=1, description="factor on the IoU for every concept after the first"
    )
    n_words: int = Field(100, ge=0, le=10_000, description="most frequent word forms that are concepts")
    least_words: int = Field(5, ge=1, description="words on which a concept must be on to be used")
    seed: int = Field(0, description="seed of the split, the shuffled activations and the randomised weights")

    def study(self, lab: Lab, items: tuple[Parsed, ...], target: Target) -> Formulas:
        """On parsed sentences."""
        sites = sites_at(lab.model, self.site, self.layers)
        marked = words_of(items)
        table = harvest(lab, marked, sites, "max")
        parts, alike = self._parts(lab, items, table)
        concepts = word_concepts(items, table.item, table.mark, parts[0], self.n_words, self.least_words)
        atoms = Atoms(concepts.masks[:, parts[0]])
        units = self._chosen(table, sites, parts[0])
        on = self._masks(table, units, parts[0])
        mine = self._explain(lab, atoms, concepts.masks, on, parts)
        blind = self._explain(lab, atoms, concepts.masks, self._shuffled(lab, on, parts), parts)
        twin, why = self._twin(lab, marked, sites, units, atoms, concepts.masks, parts)
        other = _others(lab, mine, concepts.masks, on, parts[1])
        told = tuple(
            UnitFormula(
                name=str(u),
                formula=mine[i].formulas[-1].told(concepts.names) if mine[i].formulas else "",
                length=len(mine[i].formulas[-1]) if mine[i].formulas else 0,
                iou=float(mine[i].held[-1]),
                searched=float(mine[i].searched[-1]),
                shuffled=float(blind[i].held[-1]),
                other=float(other[i]),
                twin=float(twin[i].held[-1]) if twin else float("nan"),
                density=float(on[i, parts[1]].mean()),
                words=_words(table.words, on[i]),
            )
            for i, u in enumerate(units)
        )
        held = np.stack([m.held for m in mine])
        works = np.isfinite(held[:, -1])
        scores = self._scores(told, why)
        curve = _mean(held)
        bands = [bootstrap_mean(column[works], self.seed) or (np.nan, np.nan) for column in held.T]
        return Formulas(
            title="Which formula of grammar says where a unit fires?",
            lede=_lede(told, curve, scores) + alike,
            units=told,
            layers=np.array([u.site.layer for u in units]),
            curve=curve,
            interval=np.array(bands),
            curve_searched=_mean(np.stack([m.searched for m in mine])),
            curve_shuffled=_mean(np.stack([m.held for m in blind])),
            curve_twin=_mean(np.stack([t.held for t in twin])) if twin else np.full(self.length, np.nan),
            n_concepts=len(concepts.names),
            n_searched=len(parts[0]),
            n_held=len(parts[1]),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _parts(self, lab: Lab, items: Sequence[Parsed], table: Table) -> tuple[tuple[np.ndarray, ...], str]:
        """Rows to search on and rows held out; equal sentences stay together, unless there is no other sentence."""
        texts = {p.text.lower(): i for i, p in reversed(list(enumerate(items)))}
        same = np.array([texts[p.text.lower()] for p in items])
        rng = lab.rng("searched and held-out sentences")
        if len(texts) < 2:
            words = " All sentences are the same: what was held out had been seen."
            return split(table.item, SHARES, rng), words
        return split(same[table.item], SHARES, rng), ""

    def _chosen(self, table: Table, sites: Sequence[Site], searched: np.ndarray) -> tuple[Unit, ...]:
        """The units named, or of every layer those that vary most. Raises `UsageError` for one that there is not."""
        found: list[Unit] = []
        for k, site in enumerate(sites):
            values = table.values[site]
            wrong = [u for u in self.units if not 0 <= u < values.shape[1]]
            if wrong:
                raise UsageError(
                    f"You asked for unit {wrong[0]} of {site}.",
                    f"It has the units 0 to {values.shape[1] - 1}.",
                    "Name units among these, or none for those that vary most.",
                )
            share = self.n_units // len(sites) + (k < self.n_units % len(sites))
            most = np.argsort(-values[searched].astype(np.float64).std(0), kind="stable")[:share]
            found += [Unit(site, int(u)) for u in (self.units or np.sort(most))]
        return tuple(found)

    def _masks(self, table: Table, units: Sequence[Unit], searched: np.ndarray) -> np.ndarray:
        """Where each unit is on [unit, row]: above the threshold that the words to search on set."""
        k = max(1, round(self.quantile * len(searched)))
        on = np.zeros((len(units), len(table)), dtype=bool)
        for i, u in enumerate(units):
            x = table.values[u.site][:, u.unit].astype(np.float64)
            low = FINE * x[searched].std()
            bar = np.partition(x[searched], -k)[-k]
            on[i] = x >= bar - low
            if on[i, searched].mean() > 0.5:  # it is at its lowest on most words, and that is not on
                on[i] = x > bar + low
        return on

    def _shuffled(self, lab: Lab, on: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Every unit on as often in each part, at random words."""
        rng, found = lab.rng("shuffled activations"), on.copy()
        for row in found:
            for part in parts:
                row[part] = row[rng.permutation(part)]
        return found

    def _explain(
        self, lab: Lab, atoms: Atoms, concepts: np.ndarray, on: np.ndarray, parts: Sequence[np.ndarray]
    ) -> tuple[_Judged, ...]:
        """Formulas searched for on the first part, judged on the second."""
        found, none = [], np.full(self.length, np.nan)
        away = concepts[:, parts[1]]
        with lab.working(len(on), "searching formulas") as done:
            for mask in on:
                done(1)
                if not mask[parts[0]].any() or not mask[parts[1]].any():
                    found.append(_Judged((), none, none))
                    continue
                best = search(atoms, mask[parts[0]], self.length, self.beam, self.penalty)
                held = np.array([iou(f.formula.on(away), mask[parts[1]]) for f in best])
                found.append(_Judged(tuple(f.formula for f in best), np.array([f.iou for f in best]), held))
        return tuple(found)

    def _twin(
        self, lab: Lab, marked: Sequence[Marked], sites: Sequence[Site], units: Sequence[Unit], atoms: Atoms,
        concepts: np.ndarray, parts: Sequence[np.ndarray],
    ) -> tuple[tuple[_Judged, ...], str]:  # fmt: skip
        """The same units with randomised weights; none and the reason where no copy is made."""
        twin, why = twin_of(lab)
        if twin is None:
            return (), why
        on = self._masks(harvest(twin, marked, sites, "max"), units, parts[0])
        return self._explain(lab, atoms, concepts, on, parts), ""

    def _scores(self, told: Sequence[UnitFormula], why: str) -> tuple[Score, ...]:
        """Mean held-out IoU over units, against all controls."""
        mine = np.array([u.iou for u in told])
        works = np.isfinite(mine)
        chance = float(_mean(np.array([u.shuffled for u in told])))

        def score(name: str, theirs: Sequence[float], control: str, skipped: str) -> Score:
            mean = float(_mean(np.where(works, theirs, np.nan)))
            known = bool(np.isfinite(mean))
            return Score(
                name=name,
                value=float(_mean(mine)),
                chance=chance if np.isfinite(chance) else None,
                control=mean if known else None,
                control_name=control if known else "",
                interval=bootstrap_mean(mine[works], self.seed),
                n=int(works.sum()),
                n_failed=int((~works).sum()),
                skipped="" if known else skipped or "there is nothing to compare with",
            )

        return (
            score("mean IoU on held-out sentences", [u.shuffled for u in told],
                  "the same search on shuffled activations", ""),
            score("the same, against formulas of other units", [u.other for u in told],
                  "another unit's formula", "there is one unit"),
            score("the same, against a model that learned nothing", [u.twin for u in told], "randomised weights", why),
        )  # fmt: skip


def _others(
    lab: Lab, mine: Sequence[_Judged], concepts: np.ndarray, on: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Held-out IoU of every unit with the formula of another [unit]; NaN where there is none."""
    found = np.full(len(mine), np.nan)
    good = [i for i, m in enumerate(mine) if m.formulas]
    if len(good) < 2:
        return found
    away, ring = concepts[:, held], [int(i) for i in lab.rng("other units").permutation(good)]
    for i, j in zip(ring, ring[1:] + ring[:1]):
        found[i] = iou(mine[j].formulas[-1].on(away), on[i, held])
    return found


def _mean(x: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is finite; NaN where nothing is."""
    good = np.isfinite(x)
    return np.asarray(np.where(good, x, 0.0).sum(0) / np.where(good.any(0), good.sum(0), np.nan))


def _words(words: Sequence[str], on: np.ndarray) -> tuple[str, ...]:
    """The words on which it is on most often."""
    counted = Counter(words[i].lower() for i in np.flatnonzero(on).tolist())
    return tuple(w for w, _ in sorted(counted.items(), key=lambda e: (-e[1], e[0]))[:SHOWN])


def _lede(units: Sequence[UnitFormula], curve: np.ndarray, scores: Sequence[Score]) -> str:
    shuffled, other, twin = scores
    good = [u for u in units if np.isfinite(u.iou)]
    if not good:
        return (
            f"None of {len(units)} units is on in both halves of the sentences: nothing can be said of them."
        )
    best = max(good, key=lambda u: u.iou)
    told = (
        f"Formulas and {len(good)} units agree with a mean IoU of {shuffled.value:.2f} on held-out sentences"
        f" ({shuffled.control:.2f} when activations are shuffled before the search"
    )
    told += "" if other.control is None else f", {other.control:.2f} with another unit's formula"
    told += ")." if twin.control is None else f", {twin.control:.2f} with randomised weights)."
    if len(curve) > 1:
        told += f" Single concepts reach {curve[0]:.2f}, formulas of up to {len(curve)} {curve[-1]:.2f}."
    told += f" Best: {best.name} fires on {best.formula} (IoU {best.iou:.2f})."
    if shuffled.beats_control is False:
        told += " That is no better than for shuffled activations: the formulas say nothing."
    if other.beats_control is False:
        told += " Another unit's formula does as well: the formulas do not tell units apart."
    if twin.beats_control is False:
        told += " A model that learned nothing is explained as well: formulas here tell of words, not of what was learned."
    return told
