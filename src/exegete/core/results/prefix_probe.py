"""What probing by a prefix finds: whether the frozen model does a task with a learned prefix, and with which heads."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table, banded
from exegete.core.results.finding import Finding


class PrefixProbe(Finding):
    """Held-out accuracy with a prefix, and what is left of it without heads.

    labels       classes, with the token that stands for each (`tokens`)
    majority     share of held-out texts of the commonest class
    accuracy     [prefix, 2] on the texts learned from and on those held out: of the prefix, of one learned for randomised weights (NaN
                 where there are none), and of one learned for labels dealt to other texts
    confusion    [label, said] held-out texts
    gates        [layer, head] the learned gate of every head, 1 open, 0 closed
    removed      [point] how many heads are taken away
    without      [point] probability of the right class without the heads the task needs most, with its `interval` [point, 2]
    at_random    [point] without as many random heads, mean over draws; `random_band` [point, 2] the range of the draws
    language     [point] loss of the model on plain text (nats a token) without the heads the task needs; `language_random` without
                 random ones; NaN for models that continue no text
    vectors      [layer, slot, d] the prefix
    """

    labels: tuple[str, ...]
    tokens: tuple[str, ...]
    majority: float
    accuracy: np.ndarray
    confusion: np.ndarray
    gates: np.ndarray
    removed: np.ndarray
    without: np.ndarray
    interval: np.ndarray
    at_random: np.ndarray
    random_band: np.ndarray
    language: np.ndarray
    language_random: np.ndarray
    vectors: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy without heads, the gates, the loss on plain text, and which classes are mixed up."""
        return (self._learned(), self._curves(), self._gates(), *self._language(), self._classes())

    def _learned(self) -> Table:
        names = ("the model", "randomised weights", "the model, labels dealt to other texts")
        rows = tuple(
            (name, round(float(seen), 3), round(float(unseen), 3))
            for name, (seen, unseen) in zip(names, self.accuracy)
            if np.isfinite(seen)
        )
        return Table(
            title="What does the prefix learn by itself?",
            caption="Accuracy of prefixes learned in the same way. What a prefix learns by heart shows on the texts it was learned "
            f"from; what the model brings shows on held-out ones (the commonest class: {self.majority:.3f}).",
            columns=("a prefix for", "texts learned from", "held-out texts"),
            rows=rows,
        )

    def _curves(self) -> Curves:
        low, high = self.random_band.T
        return Curves(
            title="What is left of the task without its heads?",
            caption="Probability of the right class (among the classes) of held-out texts when heads are taken away (their output set "
            "to zero): those whose gates are most open first, against as many at random (band: the range of the draws).",
            x=self.removed.astype(np.float64),
            x_axis="heads taken away",
            y_axis="probability of the right class",
            series=(
                banded("heads that the task needs", self.without, self.interval),
                Series(name="random heads", y=self.at_random, low=low, high=high, control=True),
            ),
        )

    def _gates(self) -> Grid:
        return Grid(
            title="Which heads does the task need?",
            caption="The learned gate of each head: 1 stays open, 0 is closed without harm to the task.",
            values=self.gates,
            rows=tuple(f"layer {i}" for i in range(len(self.gates))),
            columns=tuple(f"h{i}" for i in range(self.gates.shape[1])),
            row_axis="layer",
            column_axis="head",
            unit="gate",
            signed=False,
        )

    def _language(self) -> tuple[Curves, ...]:
        if np.isnan(self.language).all():
            return ()
        return (
            Curves(
                title="Are the same heads needed for plain text?",
                caption="Loss of the model on the texts themselves, without any prefix (nats a token; higher is worse).",
                x=self.removed.astype(np.float64),
                x_axis="heads taken away",
                y_axis="loss on plain text",
                series=(
                    Series(name="heads that the task needs", y=self.language),
                    Series(name="random heads", y=self.language_random, control=True),
                ),
            ),
        )

    def _classes(self) -> Table:
        return Table(
            title="What is taken for what?",
            caption="Held-out texts by their label (rows) and by what the model says with the prefix (columns).",
            columns=("label", "said as", *self.labels),
            rows=tuple(
                (name, self.tokens[i], *(int(v) for v in self.confusion[i]))
                for i, name in enumerate(self.labels)
            ),
        )
