"""What is found about axioms: does a method keep what it should keep by definition?"""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding


class Axioms(Finding):
    """Sensitivity, dummy and completeness of methods on models of which it is known what matters.

    `methods` are rows. `sensitivity`, `dummy` and `gap` [method, model] are means over texts (NaN where a method failed): the share of
    the scores on the only word that matters; the share on words that never matter; and how far the scores are from adding up to
    f(x) - f(baseline), as a share of it. `kept` [method, 3] says which axioms hold on every text of every model, within `tolerance`.
    """

    methods: tuple[str, ...]
    models: tuple[str, ...]
    sensitivity: np.ndarray
    dummy: np.ndarray
    gap: np.ndarray
    kept: np.ndarray
    tolerance: tuple[float, float, float]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Which axioms each method keeps, then each axiom by model."""
        verdicts = Table(
            title="Which axioms does the method keep?",
            caption=f"Sensitivity: the only word that matters gets at least {self.tolerance[0]:g} of the scores, in every text. Dummy: "
            f"words that never matter get at most {self.tolerance[1]:g} of them. Completeness: the scores add up to f(x) - f(baseline) "
            f"within {self.tolerance[2]:g} of it.",
            columns=("method", "sensitivity", "dummy", "completeness"),
            rows=tuple(
                (m, *("holds" if k else "FAILS" for k in self.kept[i])) for i, m in enumerate(self.methods)
            ),
        )
        parts = (
            ("Sensitivity: share of the scores on the only word that matters", self.sensitivity, "share"),
            ("Dummy: share of the scores on words that never matter", self.dummy, "share"),
            ("Completeness: how far the scores are from adding up", self.gap, "gap"),
        )
        return (verdicts, *(self._grid(*part) for part in parts))

    def _grid(self, title: str, values: np.ndarray, unit: str) -> Grid:
        return Grid(
            title=title, values=values, rows=self.methods, columns=self.models, row_axis="method", column_axis="planted model",
            unit=unit, signed=False,
        )  # fmt: skip
