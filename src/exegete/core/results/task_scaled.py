"""What is found about attention with learned scores beside it: how soon decisions flip when its first words are removed."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class TaskScaled(Finding):
    """Decision flips of attention classifiers, plain and task-scaled.

    `forms` are rows (plain, lin, feat, conv), `metrics` columns; `value` [form, metric] is the mean over texts of the ranking that the
    form stands for (plain: the attention; else attention times score), `interval` [form, metric, 2], `alone` that of the same
    classifier's attention without its scores, `random` that of random orders. `accuracy` [form] is on held-out texts.
    """

    forms: tuple[str, ...]
    metrics: tuple[str, ...]
    value: np.ndarray
    interval: np.ndarray
    alone: np.ndarray
    random: np.ndarray
    accuracy: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """One table."""
        rows = tuple(
            (
                f,
                m,
                *_numbers(
                    self.value[i, k],
                    *self.interval[i, k],
                    self.alone[i, k],
                    self.random[i, k],
                    self.accuracy[i],
                ),
            )
            for k, m in enumerate(self.metrics)
            for i, f in enumerate(self.forms)
        )
        return (
            Table(
                title="Does a task-scaled attention say sooner what the decision hangs on?",
                caption="decision_flip_fraction: share of the words to remove, lower is better; decision_flip_most_informative: share of texts "
                "that flip without the first word, higher is better.",
                columns=(
                    "form",
                    "metric",
                    "value",
                    "low",
                    "high",
                    "attention alone",
                    "random orders",
                    "accuracy",
                ),
                rows=rows,
            ),
        )


def _numbers(*found: np.floating) -> tuple[float | None, ...]:
    return tuple(float(x) if np.isfinite(x) else None for x in found)
