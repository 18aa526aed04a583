"""What a board of methods says: how well each finds circuits that are known because they were put there. Plain data."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding


class CircuitTruth(Finding):
    """Methods against models whose circuit is known.

    `auroc` [method, model]: how well a method's scores tell gold edges (of methods that score parts: gold parts) from the
    others. `precision` and `recall` [method, model] of what it keeps; NaN for methods that keep nothing. `gold` [model] and
    `total` [model] are numbers of edges.
    """

    methods: tuple[str, ...]
    models: tuple[str, ...]
    auroc: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    gold: np.ndarray
    total: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """AUROC of every method on every model, and what it keeps."""
        grid = Grid(
            title="Does it find the circuit that was put in?",
            caption="AUROC of its scores against the gold edges (or parts): 1 finds them all first, 0.5 is a guess.",
            values=self.auroc,
            rows=self.methods,
            columns=self.models,
            row_axis="method",
            column_axis="model",
            unit="AUROC",
            signed=False,
        )
        rows = [
            (m, n, float(self.auroc[i, j]), _number(self.precision[i, j]), _number(self.recall[i, j]),
             int(self.gold[j]), int(self.total[j]))
            for i, m in enumerate(self.methods)
            for j, n in enumerate(self.models)
        ]  # fmt: skip
        columns = ("method", "model", "AUROC", "precision", "recall", "gold edges", "edges")
        return grid, Table(title="What is kept, and what of it is gold", columns=columns, rows=tuple(rows))


def _number(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
