"""What probes of every layer find: how well labels are read off each, beside what their controls read, and where it is earned."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table, banded
from exegete.core.results.finding import Finding

_MOST_CLASSES = 40  # rows of the grid by class; the most frequent ones


class LayerProfile(Finding):
    """Scores by layer [layer] on held-out texts: accuracy, or R2 where the labels are numbers (`unit`).

    `what` is probed; `level` says of what (word, pair, text). `layers` name the rows: the embeddings, then each layer.
    `score` with `interval` [layer, 2]; `control` the same probe on labels that can only be remembered, `selectivity` the
    difference; `untrained` the probe on the model with randomised weights; `neighbour` the label of the words beside, from this
    word's vector (NaN where a row has no neighbours). What reads no vector: `majority` (0 for numbers), `words_alone`
    (`words_name` says how), `neighbour_words` for neighbours. `best` is the layer that development texts choose, `centre` the
    expected layer with `centre_interval` (rows counted from the embeddings, 0; NaN where the layers add nothing to them).
    `classes` with their `counts` [class]; `recall` [layer, class]; `dropped` classes were too rare. `measures` (name, value, what
    the mean guess gets) stand beside R2.
    """

    what: str
    level: str
    unit: str
    probe: str
    layers: tuple[str, ...]
    score: np.ndarray
    interval: np.ndarray
    control: np.ndarray
    selectivity: np.ndarray
    untrained: np.ndarray
    neighbour: np.ndarray
    majority: float
    words_alone: float
    words_name: str
    neighbour_words: float
    best: int
    centre: float
    centre_interval: tuple[float, float]
    classes: tuple[str, ...] = ()
    counts: np.ndarray
    recall: np.ndarray
    dropped: tuple[tuple[str, int], ...] = ()
    measures: tuple[tuple[str, float, float], ...] = ()

    def figures(self) -> tuple[AnyFigure, ...]:
        """The profile with its controls, the classes by layer, and the classes with their counts."""
        more = (self._by_class(), self._counted()) if self.classes else ()
        return (self._profile(), *more, *((self._measured(),) if self.measures else ()))

    def _profile(self) -> Curves:
        n = len(self.layers)
        lines = [
            banded(f"{self.probe} probe", self.score, self.interval),
            Series(name="control task (labels to remember)", y=self.control, control=True),
            Series(name="randomised weights", y=self.untrained, control=True),
            Series(name="neighbour's label from this word", y=self.neighbour, control=True),
            Series(name=self.words_name, y=np.full(n, self.words_alone), control=True),
            Series(
                name="most frequent label" if self.classes else "the mean",
                y=np.full(n, self.majority),
                control=True,
            ),
        ]
        lines = [line for line in lines if np.isfinite(line.y).any()]
        lines[1:] = sorted(lines[1:], key=lambda line: -float(line.y[self.best]))
        marks = (
            ((self.centre, f"centre of gravity: {where(self.centre)}"),) if np.isfinite(self.centre) else ()
        )
        return Curves(
            title=f"How well does each layer tell the {self.what}?",
            caption=f"{self.unit[:1].upper()}{self.unit[1:]} on held-out texts, with its 95 % interval over texts and seeds. Read the gap between the probe "
            f"and the controls, named from the highest to the lowest at {self.layers[self.best]}: what they reach without the model's "
            "training, structure or layers is not the layer's.",
            x=np.arange(n, dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis=self.unit,
            series=tuple(lines),
            marks=marks,
        )

    def _by_class(self) -> Grid:
        shown = np.argsort(-self.counts, kind="stable")[:_MOST_CLASSES]
        return Grid(
            title="Which classes does each layer tell apart?",
            caption="Share of the held-out examples of a class that are told right (recall); the most frequent classes first.",
            values=self.recall[:, shown].T,
            rows=tuple(self.classes[i] for i in shown),
            columns=self.layers,
            row_axis="class",
            column_axis="layer",
            unit="recall",
            signed=False,
        )

    def _counted(self) -> Table:
        total = max(int(self.counts.sum()), 1)
        rows = [
            (self.classes[i], int(self.counts[i]), round(float(self.counts[i]) / total, 3), "")
            for i in np.argsort(-self.counts, kind="stable")
        ]
        rows += [(name, n, None, "too rare, left out") for name, n in self.dropped]
        return Table(
            title="How are the classes distributed?",
            caption="Examples a class. A probe that always says the most frequent class is right on its share.",
            columns=("class", "examples", "share", ""),
            rows=tuple(rows),
        )

    def _measured(self) -> Table:
        return Table(
            title="The same in other measures",
            caption="At the layer that the development texts choose, on held-out texts, beside a guess of the training mean.",
            columns=("measure", "probe", "mean guess"),
            rows=tuple(
                (n, round(a, 3), round(b, 3) if np.isfinite(b) else None) for n, a, b in self.measures
            ),
        )


def where(centre: float) -> str:
    """A row counted from the embeddings as the number of a layer: row 1 is what layer 0 writes."""
    return f"layer {centre - 1:.1f}"
