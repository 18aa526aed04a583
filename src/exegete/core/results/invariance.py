"""What checks of invariance find: how far explanations move between two models that compute the same."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class Invariance(Finding):
    """Relative change of explanations, ||e' - e|| / max(||e||, ||e'||), between a model and another of the same function.

    `methods` are rows, texts columns of `change` [method, text] (NaN where a method failed); `dealt` [method] is the change when
    the scores are dealt out at random, `planted` that of scores that read the weights or the numbers of the input as they stand.
    `changed` says in words what was rewritten, `gap` how far the outputs of the two models are apart. `passed`: all changes
    are within `tolerance`.
    """

    methods: tuple[str, ...]
    change: np.ndarray
    dealt: np.ndarray
    planted: float
    passed: tuple[bool, ...]
    tolerance: float
    changed: tuple[str, ...]
    gap: float

    def figures(self) -> tuple[AnyFigure, ...]:
        """The methods as a table, then what was rewritten."""
        rows = [
            (m, *_ends(self.change[i]), float(self.dealt[i]), _verdict(self.change[i], self.passed[i]))
            for i, m in enumerate(self.methods)
        ]
        table = Table(
            title="Does the explanation stay the same?",
            caption=f"Change as a share of the explanation; up to {self.tolerance:g} counts as rounding. "
            f"Scores that read the numbers as they stand change by {self.planted:.2g}.",
            columns=("method", "mean change", "largest change", "scores dealt at random", "verdict"),
            rows=tuple(rows),
        )
        parts = Table(
            title="What was rewritten without a change of the function",
            caption=f"The two models' outputs differ by {self.gap:.1e} at most.",
            columns=("part",),
            rows=tuple((w,) for w in self.changed),
        )
        return (table, parts)


def _ends(change: np.ndarray) -> tuple[float | None, float | None]:
    known = change[np.isfinite(change)]
    return (float(known.mean()), float(known.max())) if len(known) else (None, None)


def _verdict(change: np.ndarray, passed: bool) -> str:
    if not np.isfinite(change).any():
        return "could not be explained"
    return "the same" if passed else "CHANGES: depends on how, not on what, the model computes"
