"""What `head_syntax` finds: the head that follows each dependency relation best, and how much syntax attention holds."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding

WAYS = ("dependent to head", "head to dependent")


class HeadSyntax(Finding):
    """By relation [relation], on the half of the sentences that nothing was chosen on:

    `best` is the head chosen, `way` 0 where the dependent looks for its head and 1 where the head looks for its dependent, `n`
    the arcs judged. `accuracy`, `low`, `high` of the head; `distance` the fixed place chosen, `by_distance` its accuracy on the
    same arcs; `by_random` the accuracy of the head chosen in the same way in a model with shuffled weights (NaN: none).
    `table` [way, relation, head] is the accuracy of every head. `probe` [way, head] are the weights of the probe on attention
    alone (on a(i, j) and a(j, i)); `uas` its share of words whose head is found, beside `uas_distance`, `uas_random`.
    """

    heads: tuple[str, ...]
    relations: tuple[str, ...]
    best: tuple[int, ...]
    way: tuple[int, ...]
    n: tuple[int, ...]
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    distance: tuple[int, ...]
    by_distance: np.ndarray
    by_random: np.ndarray
    table: np.ndarray
    probe: np.ndarray
    uas: float
    uas_distance: float
    uas_random: float

    def figures(self) -> tuple[AnyFigure, ...]:
        """Relations, then every head, then the probe."""
        return (self._relations(), *(self._heads(w) for w in range(len(WAYS))), self._probe())

    def _relations(self) -> Table:
        rows = []
        for i, name in enumerate(self.relations):
            seen = [round(float(x[i]), 3) for x in (self.accuracy, self.low, self.high)]
            bars = [
                round(float(x[i]), 3) if np.isfinite(x[i]) else None
                for x in (self.by_distance, self.by_random)
            ]
            head, way = self.heads[self.best[i]], WAYS[self.way[i]]
            rows.append((name, self.n[i], head, way, *seen, f"{self.distance[i]:+d}", *bars))
        return Table(
            title="The head that follows each relation best",
            caption="Head, direction and distance are chosen on half of the sentences, accuracy is of the other half, with its 95 % "
            "interval. 'place' is the word at that distance; 'random' is the best head of a model with shuffled weights.",
            columns=(
                "relation",
                "n",
                "head",
                "way",
                "accuracy",
                "low",
                "high",
                "place",
                "by place",
                "random",
            ),
            rows=tuple(rows),
        )

    def _heads(self, way: int) -> Grid:
        chosen = [(self.best[i], i) for i in range(len(self.relations)) if self.way[i] == way]
        return Grid(
            title=f"Accuracy of every head: {WAYS[way]}",
            caption="Share of arcs whose other end is the word attended to most. Marked: chosen on the other half. Empty: too few.",
            values=self.table[way].T,
            rows=self.heads,
            columns=self.relations,
            row_axis="head",
            column_axis="relation",
            unit="accuracy",
            signed=False,
            marked=tuple(chosen),
        )

    def _probe(self) -> Grid:
        return Grid(
            title="What the probe reads",
            caption="Weight of each head's attention from the candidate head to the word, and from the word to the candidate. "
            f"Heads found: {self.uas:.0%}; by a fixed place {self.uas_distance:.0%}; shuffled weights {self.uas_random:.0%}.",
            values=self.probe.T,
            rows=self.heads,
            columns=("candidate to word", "word to candidate"),
            row_axis="head",
            column_axis="attention from",
            unit="weight",
        )
