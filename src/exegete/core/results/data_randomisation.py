"""What is found when a model is trained again on permuted labels: how much of its explanations is left."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class DataRandomised(Finding):
    """Rank correlation of explanations between classifiers that were trained on the same texts.

    `methods` are rows: `permuted` [method] with the classifier of permuted labels, `again` [method] with another one of the true
    labels (other first weights and batches), means over texts, each with its `interval` [method, 2] of `permuted`. `random` (low, high) holds
    95 % of what random orders reach. `accuracy` are shares of the training texts that each classifier gets right by its own labels:
    true labels, true labels again, permuted. `flagged` says which methods keep more than random orders do, and not surely
    less than with another training on the true labels.
    """

    methods: tuple[str, ...]
    permuted: np.ndarray
    again: np.ndarray
    interval: np.ndarray
    random: tuple[float, float]
    accuracy: tuple[float, float, float]
    flagged: tuple[bool, ...]

    @property
    def doubt(self) -> str:
        """Which methods are flagged."""
        bad = [m for m, flagged in zip(self.methods, self.flagged) if flagged]
        return f"Flagged, as alike where the labels were permuted: {', '.join(bad)}" if bad else ""

    def figures(self) -> tuple[AnyFigure, ...]:
        """The methods, then the classifiers."""
        rows = tuple(
            (
                m,
                *_numbers(self.permuted[i], *self.interval[i], self.again[i]),
                _verdict(float(self.permuted[i]), self.random[1], self.flagged[i]),
            )
            for i, m in enumerate(self.methods)
        )
        methods = Table(
            title="What is left of the explanation when the labels are permuted?",
            caption="Rank correlation with the explanations of a classifier trained on the true labels. Trained again: on the true "
            f"labels, from other weights. 95 % of random orders lie within {self.random[0]:.2f} and {self.random[1]:.2f}.",
            columns=("method", "permuted labels", "low", "high", "trained again", "verdict"),
            rows=rows,
        )
        names = ("true labels", "true labels, again", "permuted labels")
        models = Table(
            title="The classifiers",
            caption="The one of permuted labels must have learned them by heart, else there is nothing to explain.",
            columns=("trained on", "training texts it gets right"),
            rows=tuple(zip(names, map(float, self.accuracy))),
        )
        return (methods, models)


def _numbers(*found: float) -> tuple[float | None, ...]:
    return tuple(float(x) if np.isfinite(x) else None for x in found)


def _verdict(kept: float, high: float, flagged: bool) -> str:
    if kept != kept:
        return "nothing to compare"
    if flagged:
        return "FLAGGED: does not need the labels"
    return "above random orders, yet below another training" if kept > high else "depends on the labels"
