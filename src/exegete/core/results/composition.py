"""What the study of composition finds: which heads read what which earlier heads write."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding

KINDS = ("k", "q", "v")
WORDS = {
    "k": ("K-composition", "what the reader looks for its keys in"),
    "q": ("Q-composition", "what the reader makes its queries of"),
    "v": ("V-composition", "what the reader carries on"),
}
MOST = 64  # heads drawn one by one; above, layers are


class Composition(Finding):
    """Composition of every earlier head with every later one, on raw weights.

    `score` and `excess` [kind, writer, reader] in the order of `KINDS`: the score, and how far it lies above the same two heads
    with a random rotation between them; NaN where the writer is not earlier, or one of the two is as good as zero. `heads` name
    both axes; `layers` [head] their layers. `top` are rows (kind, writer, reader, score, by chance, excess, percent of random
    rotations below, size of the writer's W_OV as a share of the largest), largest excess first. `distance_zero`: positions
    are a rotation of q and k, which is left out: the heads are seen as at distance 0.
    """

    score: np.ndarray
    excess: np.ndarray
    heads: tuple[str, ...]
    layers: np.ndarray
    top: tuple[tuple[str, str, str, float, float, float, float, float], ...]
    distance_zero: bool

    def figures(self) -> tuple[AnyFigure, ...]:
        """The strongest pairs, then a grid a kind: by head, or by layer where heads are many."""
        return (self._table(), *(self._grid(i, kind) for i, kind in enumerate(KINDS)))

    def _table(self) -> Table:
        note = " Positions are rotations here, seen as at distance 0." if self.distance_zero else ""
        return Table(
            title="Which heads read which",
            caption="By chance: the same two heads with a random rotation between them; percentile: the share of "
            f"rotations below (of this pair alone). Size: ||W_V W_O|| of the writer as a share of the largest.{note}",
            columns=(
                "kind",
                "writer",
                "reader",
                "composition",
                "by chance",
                "excess",
                "percentile",
                "writer's size",
            ),
            rows=self.top,
        )

    def _grid(self, i: int, kind: str) -> Grid:
        title, words = WORDS[kind]
        values, names, axis = self.excess[i].T, self.heads, "head"
        if len(self.heads) > MOST:
            values, names, axis = self._by_layer(values), tuple(map(str, np.unique(self.layers))), "layer"
        which = " The largest of each pair of layers." if axis == "layer" else ""
        return Grid(
            title=title,
            caption=f"Excess over chance of reader (row) and writer (column): {words}.{which}",
            values=values,
            rows=names,
            columns=names,
            row_axis=f"reading {axis}",
            column_axis=f"writing {axis}",
            unit="excess",
        )

    def _by_layer(self, values: np.ndarray) -> np.ndarray:
        every = np.unique(self.layers)
        cells = [[values[np.ix_(self.layers == r, self.layers == w)] for w in every] for r in every]
        return np.array(
            [
                [c[~np.isnan(c)].max(initial=np.nan) if (~np.isnan(c)).any() else np.nan for c in row]
                for row in cells
            ]
        )
