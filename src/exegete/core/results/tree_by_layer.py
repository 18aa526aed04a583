"""What probes find that read a sentence's tree off every layer: measures by layer beside their controls, and sentences."""

import numpy as np

from exegete.core.figure import AnyFigure, Arcs, Curves, Series, Table, banded
from exegete.core.results.finding import Finding

_QUESTIONS = {
    "UUAS": "Which layer gives the tree? (UUAS: share of arcs found)",
    "DSpr": "Which layer's distances are in the order of those in the tree? (DSpr: correlation of ranks)",
    "root accuracy": "Which layer's depths find the root? (share of sentences)",
    "NSpr": "Which layer's depths are in the order of those in the tree? (NSpr: correlation of ranks)",
    "UAS": "Which layer gives the heads of the words? (UAS: share of words with the right head)",
    "LAS": "Which layer gives heads and relations? (LAS: share of words with both right)",
}


class TreeByLayer(Finding):
    """Trees read off each layer, on sentences that nothing was trained or chosen on.

    `layers` [layer] are names ("embeddings" are what enters the first layer). `values` [measure, layer] with their 95 %
    `intervals` [measure, layer, 2] over sentences; `by_control` [control, measure, layer] (NaN where a control has none);
    `rivals` are those of `controls` that are no controls, but another probe or other sentences of equal right;
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
    rivals: tuple[str, ...] = ()

    def figures(self) -> tuple[AnyFigure, ...]:
        """The first measure by layer, sentences, then the other measures and all numbers."""
        first, *rest = (self._curve(m) for m in range(len(self.measures)))
        return (first, *self.sentences, *rest, self._table())

    def _curve(self, m: int) -> Curves:
        name = self.measures[m]
        flat = np.full(len(self.layers), float(self.chance[m]))
        controls = tuple(
            Series(name=c, y=self.by_control[i, m], control=c not in self.rivals)
            for i, c in enumerate(self.controls)
            if np.isfinite(self.by_control[i, m]).any()
        )
        return Curves(
            title=_QUESTIONS.get(name, f"Which layer has the highest {name}?"),
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
