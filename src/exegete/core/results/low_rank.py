"""What rank reduction finds: the weight that is better made smaller, and the edit that does so."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series
from exegete.core.results.edits import ModelEdit


class LowRank(ModelEdit):
    """One weight replaced by its best approximation of a lower rank (`deltas`), and the search that chose it.

    `types` name the matrices of a block, `layers` the layers tried, `keep` the shares of the full rank that were kept.
    `chosen_on` and `held_out` [type, layer, share] are the mean change of the answer's log-probability over the facts that
    chose and over those that were held out; `right` the same of the share of wordings answered rightly, held out. NaN where
    a layer has no such matrix of its own. `place` (type, layer, share) is the choice, of `rank`; `random` [share] the change
    on the held-out facts with random projections of the same ranks.
    """

    types: tuple[str, ...]
    layers: tuple[str, ...]
    keep: tuple[float, ...]
    chosen_on: np.ndarray
    held_out: np.ndarray
    right: np.ndarray
    random: np.ndarray
    place: tuple[int, int, int]
    rank: int

    def figures(self) -> tuple[AnyFigure, ...]:
        """Where a reduction helps, how much of the chosen weight is needed, and what the edit changes."""
        return (self._where(), self._how_much(), *super().figures())

    def _where(self) -> Grid:
        values = np.full(self.held_out.shape[:2], np.nan)
        best = np.full(values.shape, -1)
        for at in np.ndindex(values.shape):
            if np.isfinite(self.chosen_on[at]).all():
                best[at] = int(self.chosen_on[at].argmax())
                values[at] = self.held_out[(*at, best[at])]
        return Grid(
            title="Which weight is better made smaller?",
            caption="Change of the answer's log-probability on held-out facts, nats, at the share of the rank that was best on "
            "the other facts. Marked: the weight chosen there.",
            values=values,
            rows=self.types,
            columns=self.layers,
            row_axis="weight",
            column_axis="layer",
            unit="nats",
            marked=(self.place[:2],),
        )

    def _how_much(self) -> Curves:
        at = self.place[:2]
        return Curves(
            title=f"How much of {self.types[at[0]]} in {self.layers[at[1]]} is needed?",
            caption="Change of the answer's log-probability by the share of the full rank that is kept.",
            x=np.arange(len(self.keep), dtype=np.float64),
            x_axis="share of the rank",
            x_names=tuple(f"{k:.3g}" for k in self.keep),
            y_axis="nats",
            series=(
                Series(name="facts that were held out", y=self.held_out[at]),
                Series(name="facts that chose", y=self.chosen_on[at]),
                Series(name="random projections, held out", y=self.random, control=True),
            ),
        )
