"""Neuron ablation: does the model need the neurons that a ranking puts first?

1. rank neurons on labelled words (or by no label at all), on training texts;
2. on test texts, take away the first k: set them to zero, or to their mean over words, at every token; or keep only them;
   the pass resumes at the first layer that is changed;
3. measure the model's own loss and how often it is right (masked models: one masked token a text; causal ones: every next
   token; classifiers: what they said before), and how many words' classes a probe of the last layer, fitted without changes,
   still tells;
4. the same in the reversed order and in random orders. This is the second half of the two-step analysis: neurons found
   without labels (`ranking="variance"`), related to classes (the table), then verified.

Chance: the mean of the random orders; control: the best of them. Cost: 1 forward a labelled text, then 1 a test text and,
from the changed layer on, (2 + n_random) for each k. Shapes: activations [word, neuron], measures [text].
Reference: Sajjad et al. 2022, "Neuron-level Interpretation of Deep NLP Models: A Survey"; Antverg & Belinkov 2022, section 4.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.neuron_edits import EditCurve, NeuronAblation
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.neurons.edit_study import EditStudy, Setting, curve, measured
from exegete.methods.neurons.examples import Examples
from exegete.methods.neurons.interventions import Change, Measured
from exegete.methods.neurons.judged import ranked
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean


@register
class NeuronAblationStudy(EditStudy):
    """Ranked neurons taken away in order: what the model loses, against random orders."""

    id: ClassVar[str] = "neuron_ablation"
    techniques: ClassVar[tuple[str, ...]] = ("F4", "F1")
    finds: ClassVar[type] = NeuronAblation
    passes: ClassVar[str] = "1 a labelled text; (2 + n_random) a test text and k, from the changed layer on"
    reference: ClassVar[Reference] = Reference(
        authors="Sajjad et al.", year=2022, title="Neuron-level Interpretation of Deep NLP Models: A Survey",
        where="arXiv:2108.13138", equation="section 4",
    )  # fmt: skip
    how: Literal["zero", "mean", "keep"] = Field(
        "mean", description="zero or mean: what the first neurons become; keep: all others become their mean"
    )

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> NeuronAblation:
        """Ablate in every order, and compare."""
        setting = self.setting(lab, items, self.layers, hide=True)
        points = self.points(len(setting.ex.places))
        orders = self.orders(lab, setting.found)

        with lab.working(len(points) * len(orders), "ablating neurons") as done:

            def run(columns: np.ndarray) -> np.ndarray:
                found = _told(setting, setting.runs.run(lambda batch: self.changes(setting.ex, columns)))
                done()
                return found

            found = measured(orders, points, run)
        base = _told(setting, setting.runs.base)
        names = ("loss (nats)", "share right", "share of labels told")
        loss, correct, labels = (curve(n, base[i], found[:, :, i]) for i, n in enumerate(names))
        scores = (
            self._score("loss", base[0], found[:, :, 0], 1.0, setting),
            self._score("labels told", base[2], found[:, :, 2], -1.0, setting),
        )
        return NeuronAblation(
            title="Does the model need these neurons?",
            lede=self._lede(setting, points, loss, labels, scores),
            ranking=self.ranking,
            how=self.how,
            k=points,
            loss=loss,
            correct=correct,
            labels=labels,
            ranked=ranked(setting.ex, setting.found),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def changes(self, ex: Examples, columns: np.ndarray) -> Mapping[Site, Change]:
        """What becomes of each site when the neurons `columns` are taken away (or kept)."""
        gone = np.zeros(len(ex.places), dtype=bool)
        gone[columns] = True
        gone ^= self.how == "keep"
        found = {}
        for n, site in enumerate(ex.places.sites):
            here = ex.places.place == n
            if gone[here].any():
                fill = np.zeros(int(here.sum())) if self.how == "zero" else ex.mean[here]
                found[site] = _replaced(torch.from_numpy(gone[here]), torch.from_numpy(fill))
        return found

    def _score(self, what: str, base: np.ndarray, found: np.ndarray, sign: float, setting: Setting) -> Score:
        """How far a measure [order, point, text] moves, mean over k; `sign` 1 where taking away should raise it."""
        keep = self.how == "keep"
        moved = np.nanmean(sign * (found - base), 1)  # [order, text]
        own = moved[0][~np.isnan(moved[0])]
        random = np.nanmean(moved[2:], 1)
        doing = "keeping only" if keep else "taking away"
        rise = {"loss": "rise of the loss (nats)", "labels told": "fall of the share of labels told"}[what]
        return Score(
            name=f"{rise} by {doing} ranked neurons, mean over k",
            value=float(own.mean()),
            better="lower" if keep else "higher",
            chance=float(random.mean()),
            control=float(random.min() if keep else random.max()),
            control_name=f"the best of {self.n_random} random orders",
            interval=bootstrap_mean(own, self.seed),
            n=len(own),
            n_failed=len(moved[0]) - len(own),
        )

    def _lede(
        self, setting: Setting, points: np.ndarray, loss: EditCurve, labels: EditCurve, scores: tuple[Score, ...]
    ) -> str:  # fmt: skip
        at = len(points) // 2
        k, n = int(points[at]), len(setting.ex.places)
        doing = {"zero": "Setting to zero", "mean": "Setting to their mean", "keep": "Keeping only"}[self.how]
        words = (
            f"{doing} the first {k} of {n:,} neurons takes the loss from {loss.base:.2f} to {loss.ranked[at]:.2f} (random ones: "
            f"{loss.random[:, at].mean():.2f}, the last {k}: {loss.reversed[at]:.2f}), and the share of words whose class a probe "
            f"of the last layer tells from {labels.base:.2f} to {labels.ranked[at]:.2f} (random: {labels.random[:, at].mean():.2f})."
        )
        lost = [s.name.split(" by ")[0] for s in scores if not s.beats_control]
        return words + (f" Random orders do as well by the {' and the '.join(lost)}." if lost else "")


def _replaced(gone: Tensor, fill: Tensor) -> Change:
    """The neurons `gone` [width] become `fill` [width]."""
    return lambda x: torch.where(gone.to(x.device), fill.to(x), x)


def _told(setting: Setting, found: Measured) -> np.ndarray:
    """Loss, share right, share of labels told, a text [3, text]; words that hide the masked token do not count."""
    right = (setting.says(found.words) == setting.ex.y[setting.rows]).astype(np.float64)
    seen = ~setting.runs.masked
    n = len(found.loss)
    count = np.bincount(setting.text[seen], minlength=n)
    with np.errstate(invalid="ignore"):
        told = np.bincount(setting.text[seen], right[seen], minlength=n) / np.where(count, count, np.nan)
    return np.stack([found.loss, found.correct, told])
