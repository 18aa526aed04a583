"""What `head_pruning` finds: importance of every head by several measures, what is lost as heads go, and feed-forward layers."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding
from exegete.core.results.head_curve import RemovalCurves
from exegete.core.results.heads import by_place, cell, columns


class HeadPruning(Finding):
    """`importance` [measure, head] by each of `measures`; `curves` has one order a measure (least important first), then random.

    `alone` [head] is the rise of the loss without this head alone (NaN: not measured). `open` [head] is the probability of an open
    gate, `gate_loss` [step] the course of its training. `feed_forward` [layer], with `feed_forward_low`, `feed_forward_high`, is
    the rise of the loss without the feed-forward part of a layer, `feed_forward_noise` with noise of the same length in its
    place; `feed_forward_layers` name the layers. `kind` [head] is the kind of each head's map, `induction`
    [head] its share of attention on the token after the same one, on random tokens said twice.
    """

    heads: tuple[str, ...]
    layers: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    measures: tuple[str, ...]
    importance: np.ndarray
    alone: np.ndarray
    open: np.ndarray
    gate_loss: np.ndarray
    kind: tuple[str, ...]
    induction: np.ndarray
    curves: RemovalCurves
    feed_forward_layers: tuple[str, ...]
    feed_forward: np.ndarray
    feed_forward_low: np.ndarray
    feed_forward_high: np.ndarray
    feed_forward_noise: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Curves, each head alone, its gate, feed-forward layers, and all in a table."""
        alone = (
            self._grid("What is lost without each head alone", self.alone, "rise of the loss (nats)", True),
        )
        gates = self._grid("Which gates stay open", self.open, "probability of an open gate", False)
        shown = alone if np.isfinite(self.alone).any() else ()
        return (
            self.curves.loss_figure(),
            self.curves.right_figure(),
            *shown,
            gates,
            self._feed_forward(),
            self._table(),
        )

    def _grid(self, title: str, values: np.ndarray, unit: str, signed: bool) -> Grid:
        return Grid(
            title=title,
            caption="On the texts that the orders are made from.",
            values=by_place(self.places, len(self.layers), values),
            rows=self.layers,
            columns=columns(self.places),
            row_axis="layer",
            column_axis="head",
            unit=unit,
            signed=signed,
        )

    def _feed_forward(self) -> Curves:
        return Curves(
            title="What is lost without the feed-forward part of a layer",
            caption="Rise of the loss, with its 95 % interval over texts.",
            x=np.arange(len(self.feed_forward_layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.feed_forward_layers,
            y_axis="rise of the loss (nats)",
            series=(
                Series(
                    name="left out",
                    y=self.feed_forward,
                    low=self.feed_forward_low,
                    high=self.feed_forward_high,
                ),
                Series(name="noise of the same length", y=self.feed_forward_noise, control=True),
            ),
        )

    def _table(self) -> Table:
        rows = [
            (
                name,
                self.kind[i],
                *(cell(x) for x in self.importance[:, i]),
                cell(self.open[i]),
                cell(self.induction[i]),
            )
            for i, name in enumerate(self.heads)
        ]
        return Table(
            title="Every head by every measure",
            caption="Larger is more important; heads are removed from the smallest on.",
            columns=("head", "map", *self.measures, "gate open", "induction"),
            rows=tuple(rows),
        )
