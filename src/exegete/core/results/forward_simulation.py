"""Whether who has seen explanations foretells the model better than who has not."""

import numpy as np

from exegete.core.figure import AnyFigure, Series, Table, banded, curves_of
from exegete.core.results.finding import Finding


class ForwardSimulation(Finding):
    """How often a reader says what the model says of texts that it has not read, after other texts with their explanations.

    methods   whose explanations; the last row is random scores
    hits      [method, text] 1 where the reader with explanations agrees with the model, NaN where the method failed
    plain     [text] the same of the reader without explanations
    shuffled  [method, draw] its agreement when the scores of each text are shuffled over its words
    interval  [method, 2] of the agreement
    majority  agreement of who says what the model says most often
    reader    who reads; `answers` [text] what the model says, `labels` the names of that
    """

    methods: tuple[str, ...]
    hits: np.ndarray
    plain: np.ndarray
    shuffled: np.ndarray
    interval: np.ndarray
    majority: float
    reader: str
    labels: tuple[str, ...]
    answers: np.ndarray

    @property
    def agreement(self) -> np.ndarray:
        """With explanations [method]; NaN where a method explained nothing."""
        return np.array([_mean(row) for row in self.hits])

    def figures(self) -> tuple[AnyFigure, ...]:
        """Agreement by method with what it is held against, and the same as a table."""
        n, told = len(self.methods), self.agreement
        without, control = _mean(self.plain), np.array([_mean(row) for row in self.shuffled])
        curves = curves_of(
            self.methods,
            "How often does the reader say what the model says?",
            "Texts that it has not read; it learned from others. The band is the 95 % interval over texts.",
            "whose explanations",
            "agreement with the model",
            (
                banded("with explanations", told, self.interval),
                Series(name="without", y=np.full(n, without), control=True),
                Series(name="scores shuffled over the words", y=control, control=True),
                Series(name="what it says most often", y=np.full(n, self.majority), control=True),
            ),
        )
        table = Table(
            title="By method",
            caption="Gain: agreement with explanations less agreement without.",
            columns=("method", "texts", "with", "without", "gain", "shuffled", "most often"),
            rows=tuple(
                (
                    name,
                    int(np.isfinite(self.hits[m]).sum()),
                    _cell(told[m]),
                    _cell(without),
                    _cell(told[m] - without),
                    _cell(control[m]),
                    _cell(self.majority),
                )
                for m, name in enumerate(self.methods)
            ),
        )
        return (curves, table)


def _mean(x: np.ndarray) -> float:
    known = x[np.isfinite(x)]
    return float(known.mean()) if known.size else float("nan")


def _cell(x: float) -> float | None:
    return round(float(x), 3) if np.isfinite(x) else None
