"""What `head_redundancy` finds: how alike heads are, groups of them, and what is lost as redundant ones are removed."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding
from exegete.core.results.head_curve import RemovalCurves


class HeadRedundancy(Finding):
    """`apart` [head, head] is the mean Jensen-Shannon divergence of the attention of two heads, as a share of ln 2 (0 the same).

    `within` [layer] is its mean over pairs of a layer, `within_scattered` for heads as sharp that look at unrelated places, and
    `within_random` in a model with shuffled weights (NaN: none). `group` [head] numbers groups of heads that are alike. `order`
    [head] are heads in the order in which others stand in for them. `curves` says what is lost.
    """

    heads: tuple[str, ...]
    layers: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    apart: np.ndarray
    within: np.ndarray
    within_scattered: np.ndarray
    within_random: np.ndarray
    group: np.ndarray
    order: np.ndarray
    curves: RemovalCurves

    def figures(self) -> tuple[AnyFigure, ...]:
        """The matrix, groups, layers, and the prune curves."""
        return (
            self._matrix(),
            self.curves.loss_figure(),
            self.curves.right_figure(),
            self._layers(),
            self._groups(),
        )

    def _matrix(self) -> Grid:
        return Grid(
            title="How far apart heads are",
            caption="Jensen-Shannon divergence of their attention, as a share of ln 2: 0 the same, 1 nothing in common.",
            values=self.apart,
            rows=self.heads,
            columns=self.heads,
            row_axis="head",
            column_axis="head",
            unit="divergence",
            signed=False,
        )

    def _layers(self) -> Curves:
        lines = [Series(name="this model", y=self.within)]
        lines.append(Series(name="as sharp, at unrelated places", y=self.within_scattered, control=True))
        if np.isfinite(self.within_random).all():
            lines.append(Series(name="shuffled weights", y=self.within_random, control=True))
        return Curves(
            title="How far apart the heads of a layer are",
            caption="Mean over pairs of heads of one layer.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="divergence / ln 2",
            series=tuple(lines),
        )

    def _groups(self) -> Table:
        sizes = np.bincount(self.group)
        rows = []
        for place, g in enumerate(np.argsort(-sizes, kind="stable")):
            at = np.flatnonzero(self.group == g)
            inside = self.apart[np.ix_(at, at)]
            pairs = inside[np.triu_indices(len(at), 1)]
            mean = round(float(pairs.mean()), 4) if len(pairs) else None
            rows.append((place + 1, len(at), mean, " ".join(self.heads[i] for i in at)))
        return Table(
            title="Groups of heads that look alike",
            columns=("group", "heads", "mean distance", "which"),
            rows=tuple(rows),
        )
