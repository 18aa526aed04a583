"""What cascading randomisation finds: how much of a method's explanation is left as the model forgets layer after layer."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table
from exegete.core.results.finding import Finding


class Cascade(Finding):
    """Rank correlation of explanations with those of the whole model.

    `methods` are rows, `depths` columns: what had been randomised by then, from nothing to everything. `kept` [method, depth] is
    the mean over texts, `interval` [method, depth, 2] its 95 % interval (NaN for one text), `random` (low, high) holds 95 % of what
    random orders of the same texts reach, `flagged` says which methods keep more than that when everything is random.
    """

    methods: tuple[str, ...]
    depths: tuple[str, ...]
    kept: np.ndarray
    interval: np.ndarray
    random: tuple[float, float]
    flagged: tuple[bool, ...]

    @property
    def doubt(self) -> str:
        """Which methods are flagged, and of which it cannot be told."""
        unsure = [
            m
            for m, kept, bad in zip(self.methods, self.kept[:, -1], self.flagged)
            if kept > self.random[1] and not bad
        ]
        bad = [m for m, bad in zip(self.methods, self.flagged) if bad]
        words = [f"flagged, more alike than random orders without the model: {', '.join(bad)}"] if bad else []
        words += (
            [f"undecided, above random orders but not with the whole interval: {', '.join(unsure)}"]
            if unsure
            else []
        )
        told = "; ".join(words)
        return told[:1].upper() + told[1:]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The cascade as curves, then the end of it as a table."""
        n = len(self.depths)
        band = Series(
            name="random orders", y=np.zeros(n), low=np.full(n, self.random[0]), high=np.full(n, self.random[1]), control=True,
        )  # fmt: skip
        curves = Curves(
            title="What is left of the explanation as the model forgets?",
            caption="Rank correlation with the explanation of the whole model. A method that reads the model falls to the band: 95 % of "
            f"random orders lie within {self.random[0]:.2f} to {self.random[1]:.2f}.",
            x=np.arange(n, dtype=np.float64),
            x_axis="randomised by then, from the output down",
            x_names=self.depths,
            y_axis="rank correlation",
            series=(
                *(
                    Series(name=m, y=self.kept[i], low=self.interval[i, :, 0], high=self.interval[i, :, 1])
                    for i, m in enumerate(self.methods)
                ),
                band,
            ),
        )
        table = Table(
            title="With every weight random",
            caption="A method is flagged when its explanations stay more alike than random orders do.",
            columns=("method", "after the output", "after everything", "low", "high", "verdict"),
            rows=tuple(
                (
                    m,
                    float(self.kept[i, min(1, n - 1)]),
                    float(self.kept[i, -1]),
                    float(self.interval[i, -1, 0]),
                    float(self.interval[i, -1, 1]),
                    _verdict(float(self.kept[i, -1]), self.random[1], self.flagged[i]),
                )
                for i, m in enumerate(self.methods)
            ),
        )
        return (curves, table)


def _verdict(kept: float, high: float, flagged: bool) -> str:
    if kept != kept:
        return "has no order to compare"
    if flagged:
        return "FLAGGED: does not need the model"
    return "undecided: above random orders, its interval is not" if kept > high else "depends on the model"
