"""Data randomisation: does an explanation change when the model learned the same texts with labels that were dealt at random?

1. three small classifiers of whole words are trained on the texts: on their labels, on their labels again from other first weights,
   and on the same labels permuted, which has to be learned by heart (`models.small_classifier`);
2. each method explains the first classifier's answer on texts it was trained on, and the very same output of the other two;
3. rank correlation with the first explanation, a mean over texts.

What the labels taught is gone from the third, so the correlation should be that of random orders (`n_random` draws; their 95 %
range is the band). A method whose whole interval lies above the band, and of which it is not sure, text by text, that it keeps less
than with another training on true labels, is flagged: it shows the texts (an edge detector), not what was learned of them.

Score: what is lost of the order, 1 - r. Chance is 0, what scores that never look at the model lose; control: what is lost
between two trainings on the true labels, which is seldom nothing. A classifier that did not learn its labels by heart
(`least_learned`) scores no method. The model that is named is not used. Cost: three trainings, explanations three times.
Reference: Adebayo et al. 2018 (arXiv:1810.03292), section 3.2. Randomised weights (section 3.1) are `cascading_randomisation`.
"""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.data_randomisation import DataRandomised
from exegete.core.seed import derive, generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.evaluate.labelled_texts import LabelledTexts
from exegete.evaluate.sanity.checking import Bench, SanityStudy, settled
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.small_classifier import Recipe, answers, from_texts, trained
from exegete.ops.rank import row_correlation
from exegete.ops.stats import bootstrap_mean, mean_interval

NAN = float("nan")
CONTROL = "trained again on the true labels"


@register
class DataRandomisation(SanityStudy):
    """How much of each method's explanations is left when the model was trained on permuted labels."""

    id: ClassVar[str] = "data_randomisation"
    techniques: ClassVar[tuple[str, ...]] = ("O18",)
    asks: ClassVar[Any] = "marked"
    kind: ClassVar[str] = "text"
    usual: ClassVar[int | None] = 120
    finds: ClassVar[type] = DataRandomised
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    reference: ClassVar[Reference] = Reference(
        authors="Adebayo et al.", year=2018, title="Sanity Checks for Saliency Maps", where="arXiv:1810.03292", equation="section 3.2",
    )  # fmt: skip
    passes: ClassVar[str] = "three trainings of n_steps, and explanations three times"
    n_explained: int = Field(24, ge=2, le=10_000, description="training texts that are explained")
    n_steps: int = Field(300, ge=1, le=100_000, description="training steps of each classifier")
    width: int = Field(48, ge=4, le=1024, multiple_of=4, description="width of the classifiers")
    least_learned: float = Field(
        0.95, ge=0, le=1, description="share of its own labels that each classifier must know by heart"
    )
    n_random: int = Field(
        200, ge=1, le=100_000, description="random orders of every text, for the band of chance"
    )

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> DataRandomised:
        """Train three times, explain, compare."""
        data = LabelledTexts.of(items, self.id, self.seed)
        permuted = tuple(generator(self.seed, "permuted labels").permutation(np.array(data.told)).tolist())
        told = {"true labels": data.told, "true labels, again": data.told, "permuted labels": permuted}
        models, accuracy = [], []
        with lab.working(len(told), "training") as done:
            for name, own in told.items():
                models.append(self._trained(data, own, name))
                accuracy.append(
                    float(np.mean([a == b for a, b in zip(answers(models[-1], data.texts), own)]))
                )
                done()
        recipe = Recipe()
        lab.meter.forwards += len(told) * (self.n_steps * recipe.batch + len(data.texts))
        lab.meter.backwards += len(told) * self.n_steps * recipe.batch
        learned = min(accuracy) >= self.least_learned
        first = replace(lab, model=models[0])
        some = [Text(text=t) for t in data.texts if len(t.split()) > 1][: self.n_explained]
        bench = self.bench(first, some, Target(scale="logit"))
        kept = (
            self._kept(bench, models) if learned else np.full((2, len(bench.methods), len(bench.asked)), NAN)
        )
        low, high = self._band(bench)
        scores = tuple(self._score(n, kept[1, m], kept[0, m], learned) for m, n in enumerate(bench.names))
        ends = np.array([self._interval(row) for row in kept[1]])
        flagged = tuple(bool(e[0] > high and not s.beats_control) for e, s in zip(ends, scores))
        return DataRandomised(
            title="Do these explanations depend on the labels that the model learned?",
            lede=_lede(bench.names, kept, flagged, high, accuracy, learned),
            context=(("texts", str(len(data.texts))), ("labels", ", ".join(data.labels))),
            methods=bench.names,
            permuted=np.array([_mean(v) for v in kept[1]]),
            again=np.array([_mean(v) for v in kept[0]]),
            interval=ends,
            random=(low, high),
            accuracy=(accuracy[0], accuracy[1], accuracy[2]),
            flagged=flagged,
            trust=Trust(scores=scores, seed=self.seed, notes=bench.notes()),
        )

    def _trained(self, data: LabelledTexts, told: tuple[str, ...], name: str) -> Model:
        recipe = Recipe(width=self.width, n_steps=self.n_steps)
        seed = derive(self.seed, name == "true labels, again")
        return trained(
            data.vocabulary, data.labels, from_texts(data.texts, told), data.longest, recipe, seed, f"trained on {name}"
        )  # fmt: skip

    def _kept(self, bench: Bench, models: list[Model]) -> np.ndarray:
        """Rank correlations [again or permuted, method, text] with the explanations of the first classifier."""
        found = np.full((2, len(bench.methods), len(bench.asked)), NAN)
        for m in range(len(bench.methods)):
            for i in range(len(bench.asked)):
                own = bench.explain(m, i)
                for k, model in enumerate(models[1:]):
                    other = bench.explain(m, i, model)
                    if own is not None and other is not None:
                        found[k, m, i] = row_correlation(
                            settled(own)[None], settled(other)[None], "spearman"
                        )[0]
        return found

    def _band(self, bench: Bench) -> tuple[float, float]:
        """What 95 % of the means of random orders over the texts lie within."""
        rng = generator(self.seed, "random orders")
        drawn = [rng.random((2, self.n_random, len(a.units))) for a in bench.asked]
        low, high = np.quantile(
            np.mean([row_correlation(a, b, "spearman") for a, b in drawn], axis=0), [0.025, 0.975]
        )
        return float(low), float(high)

    def _interval(self, values: np.ndarray) -> tuple[float, float]:
        known = values[np.isfinite(values)]
        return (bootstrap_mean(known, self.seed) if len(known) else None) or (NAN, NAN)

    def _score(self, name: str, kept: np.ndarray, again: np.ndarray, learned: bool) -> Score:
        """What is lost of the order [text] with permuted labels, beside what another training loses."""
        known, bar = kept[np.isfinite(kept)], again[np.isfinite(again)]
        nothing = "its scores have no order" if learned else "a classifier did not learn its labels by heart"
        return Score(
            name=f"{name}: order lost when the labels are permuted",
            value=_mean(1 - kept),
            chance=0.0,
            control=float(1 - bar.mean()) if len(bar) else None,
            control_name=CONTROL if len(bar) else "",
            interval=mean_interval(1 - known, self.seed, (0, 2)),
            over_control=mean_interval((again - kept)[np.isfinite(again - kept)], self.seed, (-2, 2)),
            n=len(known),
            n_failed=len(kept) - len(known),
            skipped="" if len(bar) else nothing,
        )


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else NAN


def _lede(
    names: tuple[str, ...], kept: np.ndarray, flagged: tuple[bool, ...], high: float, accuracy: list[float], learned: bool
) -> str:  # fmt: skip
    if not learned:
        told = ", ".join(f"{a:.0%}" for a in accuracy)
        return f"Nothing is compared: the classifiers know only {told} of their own labels; train longer, or wider."
    known = [
        (n, _mean(kept[1, m]), _mean(kept[0, m]))
        for m, n in enumerate(names)
        if np.isfinite(kept[1, m]).any()
    ]
    if not known:
        return "No method gives an order to compare."
    told = ", ".join(f"{n} {r:.2f} (trained again {a:.2f})" for n, r, a in sorted(known, key=lambda p: -p[1]))
    words = f"With permuted labels, learned by heart, explanations correlate with those of the true labels by {told}; random orders reach {high:.2f}."
    bad = [n for n, f in zip(names, flagged) if f]
    if bad:
        return f"{words} {', '.join(bad)} {'keep' if len(bad) > 1 else 'keeps'} as much as another training on the true labels: what is shown is the text, not what was learned."
    return f"{words} None keeps as much as another training on the true labels."
