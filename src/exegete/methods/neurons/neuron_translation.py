"""Neuron translation: can a word's label be turned by moving a few of its neurons towards another class?

1. rank neurons on labelled words of training texts; q(z) is the mean activation of class z there;
2. in each test text take one word of class z and draw another class z'; at the word's tokens, add to the neuron of rank r
   among the first k    alpha_r * (q(z') - q(z)),   alpha_r = beta * (1 - log r / log(k + 1)),   which falls from beta towards 0;
   the pass resumes at the changed layer;
3. a probe of the last layer, fitted without changes, says what the word is now, and what the other words of the text are;
4. the same in the reversed order and in random orders.

Chance: how often the probe says z' without any change; control: the best of the random orders. Cost: 1 forward a labelled
text, then 1 a test text and, from the changed layer on, (2 + n_random) for each k. Shapes: activations [word, neuron].
Reference: Antverg & Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons in Language Models", section 4.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.neuron_edits import EditCurve, NeuronTranslation
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.neurons.edit_study import EditStudy, Setting, curve, measured
from exegete.methods.neurons.interventions import Batch, Change, Measured
from exegete.methods.neurons.judged import ranked
from exegete.models.lab import Lab
from exegete.ops.neuron_rank import class_means
from exegete.ops.stats import bootstrap_mean


@dataclass(frozen=True)
class Moves:
    """One word a text: `word` [text] among all words, its class `old` [text] and the class it is moved to, `new` [text]."""

    word: np.ndarray
    old: np.ndarray
    new: np.ndarray


@register
class NeuronTranslationStudy(EditStudy):
    """Words moved towards another class in their first neurons, and what the last layer takes them for."""

    id: ClassVar[str] = "neuron_translation"
    techniques: ClassVar[tuple[str, ...]] = ("F6", "F4")
    finds: ClassVar[type] = NeuronTranslation
    passes: ClassVar[str] = "1 a labelled text; (2 + n_random) a test text and k, from the changed layer on"
    reference: ClassVar[Reference] = Reference(
        authors="Antverg, Belinkov", year=2022,
        title="On the Pitfalls of Analyzing Individual Neurons in Language Models",
        where="arXiv:2110.07483", equation="section 4.2",
    )  # fmt: skip
    layers: tuple[int, ...] = Field((), description="layers to change, side by side; none: the middle one")
    beta: float = Field(
        4.0, gt=0, le=100, description="how far the first neuron is moved, in distances of the means"
    )

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> NeuronTranslation:
        """Translate in every order, and compare."""
        setting = self.setting(lab, items, self.layers or (lab.model.map.n_layers // 2,), hide=False)
        points = self.points(len(setting.ex.places))  # with all of them, the orders would be one
        orders = self.orders(lab, setting.found)
        moves = self.moves(lab, setting)
        before = setting.says(setting.runs.base.words)

        with lab.working(len(points) * len(orders), "translating neurons") as done:

            def run(columns: np.ndarray) -> np.ndarray:
                found = setting.runs.run(lambda batch: self.changes(setting, moves, columns, batch))
                done()
                return _told(setting, moves, before, found)

            found = measured(orders, points, run)
        base = _told(setting, moves, before, setting.runs.base)
        names = ("share turned", "share still of the old class", "share of other words told as before")
        turned, kept, others = (curve(n, base[i], found[:, :, i]) for i, n in enumerate(names))
        scores = (
            self._score("share of words turned to the other class, mean over k", base[0], found[:, :, 0]),
            self._score(
                "share of words no longer of their class, mean over k", 1 - base[1], 1 - found[:, :, 1]
            ),
        )
        return NeuronTranslation(
            title="Can a word's label be turned by a few neurons?",
            lede=self._lede(setting, points, turned, others, scores),
            ranking=self.ranking,
            k=points,
            turned=turned,
            kept=kept,
            others=others,
            ranked=ranked(setting.ex, setting.found),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def moves(self, lab: Lab, setting: Setting) -> Moves:
        """A word of every text, and a class for it that is not its own."""
        rng = lab.rng("moves")
        n = len(setting.runs.base.loss)
        word = np.array([int(rng.choice(np.flatnonzero(setting.text == t))) for t in range(n)])
        old = setting.ex.y[setting.rows[word]]
        step = rng.integers(1, len(setting.ex.classes), n)
        return Moves(word, old, (old + step) % len(setting.ex.classes))

    def changes(
        self, setting: Setting, moves: Moves, columns: np.ndarray, batch: Batch
    ) -> Mapping[Site, Change]:
        """What is added at the chosen words of a batch, by site, in the neurons `columns` (ranked)."""
        ex, train = setting.ex, setting.ex.parts[0]
        mean = class_means(ex.x[train], ex.y[train], len(ex.classes)) * ex.scale
        alpha = np.zeros(len(ex.places))
        alpha[columns] = self.beta * (1 - np.log(np.arange(1, len(columns) + 1)) / np.log(len(columns) + 1))
        here = np.flatnonzero(np.isin(batch.word, moves.word))
        text = batch.texts[batch.row[here]]
        added = alpha * (mean[moves.new[text]] - mean[moves.old[text]])  # [word, neuron]
        found = {}
        for n, site in enumerate(ex.places.sites):
            at = ex.places.place == n
            if alpha[at].any():
                whole = torch.zeros(*batch.ids.shape, int(at.sum()))
                for row, first, last, move in zip(
                    batch.row[here], batch.first[here], batch.token[here], added
                ):
                    whole[int(row), int(first) : int(last) + 1] = torch.from_numpy(move[at]).float()
                found[site] = _added(whole)
        return found

    def _score(self, name: str, base: np.ndarray, found: np.ndarray) -> Score:
        """A share, mean over k, from [text] without changes and [order, point, text]."""
        own = found[0].mean(0)
        return Score(
            name=name,
            value=float(own.mean()),
            chance=float(base.mean()),
            control=float(found[2:].mean((1, 2)).max()),
            control_name=f"the best of {self.n_random} random orders",
            interval=bootstrap_mean(own, self.seed),
            n=len(own),
        )

    def _lede(
        self,
        setting: Setting,
        points: np.ndarray,
        turned: EditCurve,
        others: EditCurve,
        scores: tuple[Score, ...],
    ) -> str:
        at = len(points) // 2
        k, n = int(points[at]), len(setting.ex.places)
        mine, random = turned.ranked[at], turned.random[:, at]
        if mine > random.max():
            held = f"more than any of {len(random)} random orders"
        else:
            held = f"NOT more than the best of {len(random)} random orders, {random.max():.0%}"
        words = (
            f"Moving one word a text towards another class in the first {k} of {n:,} neurons makes a probe of the last layer take "
            f"{mine:.0%} of them for that class, {held} (mean: {random.mean():.0%}; without a change: {turned.base:.0%}); "
            f"in {int(points[-1])} neurons {turned.ranked[-1]:.0%} (best random order: {turned.random[:, -1].max():.0%}). "
            f"Of the other words {others.ranked[at]:.0%} are taken as before."
        )
        lost = ("turned", "moved away from their own")
        words_lost = [w for w, s in zip(lost, scores) if not s.beats_control]
        return words + (
            f" Over all numbers of neurons some random order has as many {' and '.join(words_lost)}."
            if words_lost
            else ""
        )


def _added(whole: Tensor) -> Change:
    """Plus `whole` [batch, tok, width]."""
    return lambda x: x + whole.to(x)


def _told(setting: Setting, moves: Moves, before: np.ndarray, found: Measured) -> np.ndarray:
    """Turned, still the old class, other words as before: [3, text]; NaN where a text has no other word."""
    says = setting.says(found.words)
    same = (says == before).astype(np.float64)
    n = len(moves.word)
    other = np.ones(len(says), dtype=bool)
    other[moves.word] = False
    count = np.bincount(setting.text[other], minlength=n)
    with np.errstate(invalid="ignore"):
        alike = np.bincount(setting.text[other], same[other], minlength=n) / np.where(count, count, np.nan)
    at = says[moves.word]
    return np.stack([at == moves.new, at == moves.old, alike]).astype(np.float64)
