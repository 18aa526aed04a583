"""Descriptions of units, and how well each foretells its unit on texts that its writer never saw."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value

KINDS = ("simulation", "detection", "fuzzing")


class Described(Value):
    """One unit: its description in words, and by kind of score (`KINDS`) its own [kind] and the mean of the other units'
    descriptions on the same test texts, `swapped` [kind]; NaN where the test texts do not allow the score.
    """

    name: str
    words: str
    own: np.ndarray
    swapped: np.ndarray


class NeuronDescriptions(Finding):
    """What a writer says that units do. `n_explain` texts were read by the writer, `n_test` others judge; `repeated` texts were left out."""

    units: tuple[Described, ...]
    writer: str
    n_explain: int
    n_test: int
    repeated: int

    def figures(self) -> tuple[AnyFigure, ...]:
        """The descriptions with their scores and those of swapped descriptions."""
        columns = ["unit", f"description ({self.writer})"]
        for kind in KINDS:
            columns += [kind, "swapped"]
        rows = tuple(
            (
                u.name,
                u.words or "(nothing was found to say)",
                *(_cell(x) for pair in zip(u.own, u.swapped) for x in pair),
            )
            for u in self.units
        )
        return (
            Table(
                title="What does each unit fire on, in words?",
                caption=f"Written from {self.n_explain} texts, judged on {self.n_test} others. Simulation: correlation with the"
                " true activations (0 by chance). Detection: which texts set it off; fuzzing: which marked token is the right"
                " one (balanced, 0.5 by chance). Swapped: the other units' descriptions on this unit's texts.",
                columns=tuple(columns),
                rows=rows,
            ),
        )


def _cell(x: float) -> float | None:
    return None if np.isnan(x) else float(x)
