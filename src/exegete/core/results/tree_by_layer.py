"""What probes find that read a sentence's tree off every layer: measures by layer beside their controls, and sentences."""

import numpy as np

from exegete.core.figure import AnyFigure, Arcs, Curves, Series, Table, banded
from exegete.core.results.finding import Finding


class TreeByLayer(Finding):
    """Trees read off each layer, on sentences that nothing was trained or chosen on.

    `layers` [layer] are names ("embeddings" are what enters the first layer). `values` [measure, layer] with their 95 %
    `intervals` [measure, layer, 2] over sentences; `by_control` [control, measure, layer] (NaN where a control has none);
    `chance` [measure] is what `chance_name` scores. `best` [measure] is the layer chosen on development sentences.
    `seeds` [seed] is the first measure at its best layer, trained anew from other random starts. `sentences` are examples.
    """

    layers: tuple[str, ...]
    measures: tuple[str, ...]
    values: np.ndarray
    intervals: np.ndarray
    controls: tuple[str, ...]
    by_control: np.ndarray
    chance: np.ndarray
    chance_name: str
    best: tuple[int, ...]
    seeds: np.ndarray
    probe: str
    sentences: tuple[Arcs, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The first measure by layer, sentences, then the other measures and all numbers."""
        first, *rest = (self._curve(m) for m in range(len(self.measures)))
        return (first, *self.sentences, *rest, self._table())

    def _curve(self, m: int) -> Curves:
        name = self.measures[m]
        flat = np.full(len(self.layers), float(self.chance[m]))
        controls = tuple(
            Series(name=c, y=self.by_control[i, m])
            for i, c in enumerate(self.controls)
            if np.isfinite(self.by_control[i, m]).any()
        )
        return Curves(
            title=f"{name} by layer",
            caption="With its 95 % interval over held-out sentences; the mark is the layer chosen on development sentences.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis=name,
            series=(
                banded(self.probe, self.values[m], self.intervals[m]),
                *controls,
                *([Series(name=self.chance_name, y=flat, control=True)] if np.isfinite(flat).all() else []),
            ),
            marks=((float(self.best[m]), "chosen"),),
        )

    def _table(self) -> Table:
        rows = []
        for m, name in enumerate(self.measures):
            for i, layer in enumerate(self.layers):
                low, high = self.intervals[m, i]
                others = [_shown(x) for x in self.by_control[:, m, i]]
                rows.append(
                    (
                        name,
                        layer,
                        _shown(self.values[m, i]),
                        _shown(low),
                        _shown(high),
                        *others,
                        _shown(self.chance[m]),
                    )
                )
        return Table(
            title="All layers in numbers",
            caption=f"Chance: {self.chance_name}.",
            columns=("measure", "layer", "value", "low", "high", *self.controls, "chance"),
            rows=tuple(rows),
        )


def _shown(x: float) -> float | None:
    return round(float(x), 3) if np.isfinite(x) else None
