"""What interventions on ranked neurons find: what becomes of the model's output and of its last layer, by number of neurons."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, banded
from exegete.core.results.finding import Finding
from exegete.core.results.ranked_neurons import RankedNeurons
from exegete.core.value import Value


class EditCurve(Value):
    """One measure under interventions on k neurons [point]: in the ranked order, with interval [point, 2] over texts, in the
    reversed order, and in random orders [draw, point]. `base` is its value without any; `name` says what it is.
    """

    name: str
    base: float
    ranked: np.ndarray
    interval: np.ndarray
    reversed: np.ndarray
    random: np.ndarray

    def figure(self, k: np.ndarray, title: str, caption: str) -> Curves:
        """The three orders and the model as it is."""
        low, high = self.random.min(0), self.random.max(0)
        return Curves(
            title=title,
            caption=f"{caption} Band of the ranked order: 95 % interval over texts; of random orders: from the least to the most.",
            x=np.arange(len(k), dtype=np.float64),
            x_axis="neurons",
            x_names=tuple(f"{int(v):,}" for v in k),
            y_axis=self.name,
            series=(
                banded("ranked order", self.ranked, self.interval),
                Series(name="reversed order", y=self.reversed),
                Series(name="random orders", y=self.random.mean(0), low=low, high=high, control=True),
                Series(name="nothing changed", y=np.full(len(k), self.base), control=True),
            ),
        )


class NeuronAblation(Finding):
    """Neurons taken away in order. `ranking` is what ordered them, `how` what became of them; `k` [point].

    `loss` in nats, `correct` share of what the model says that is right (a classifier: as before), `labels` share of words
    whose class a probe of the last layer still tells.
    """

    ranking: str
    how: str
    k: np.ndarray
    loss: EditCurve
    correct: EditCurve
    labels: EditCurve
    ranked: RankedNeurons

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves, then the ranking."""
        what = {
            "zero": "set to zero",
            "mean": "set to their mean",
            "keep": "kept, all others set to their mean",
        }[self.how]
        words = f"The first k neurons of each order are {what}."
        return (
            self.loss.figure(self.k, "What does the model lose?", words),
            self.labels.figure(self.k, "Is the label still there?", words),
            self.correct.figure(self.k, "How often is the model still right?", words),
            self.ranked.table(),
        )


class NeuronTranslation(Finding):
    """Words moved from the mean of their class towards that of another in k neurons. `ranking`, `k` [point] as above.

    `turned` share of these words that a probe of the last layer takes for the other class, `kept` for their own; `others`
    share of the other words of the text whose class the probe tells as before.
    """

    ranking: str
    k: np.ndarray
    turned: EditCurve
    kept: EditCurve
    others: EditCurve
    ranked: RankedNeurons

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves, then the ranking."""
        words = (
            "One word a text is moved towards the mean of another class in the first k neurons of each order."
        )
        return (
            self.turned.figure(self.k, "Can the label be turned?", words),
            self.kept.figure(self.k, "Is the old label gone?", words),
            self.others.figure(self.k, "Are the other words left alone?", words),
            self.ranked.table(),
        )
