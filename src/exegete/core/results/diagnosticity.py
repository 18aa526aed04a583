"""What is found about metrics themselves: how often each puts the truth before random scores, and what that costs."""

from typing import Any

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Table, banded
from exegete.core.results.finding import Finding


class MetricDiagnosticities(Finding):
    """Diagnosticity D = Pr[metric puts the truth before random scores], ties one half.

    `metrics` are rows, `truths` planted models. `each` [metric, truth] is D of the whole truth, `interval` [metric, truth, 2] its
    95 % interval over texts (NaN where there is none). `levels` [level] are shares of the truth that were dealt anew, `fallen`
    [metric, level] is D at each, a mean over all texts, `fallen_interval` [metric, level, 2]; the last level, 1, is the control.
    `passes` [metric] are mean forward passes an explanation. `planted` says in words what is planted in each model.
    """

    metrics: tuple[str, ...]
    truths: tuple[str, ...]
    each: np.ndarray
    interval: np.ndarray
    levels: np.ndarray
    fallen: np.ndarray
    fallen_interval: np.ndarray
    passes: np.ndarray
    planted: tuple[tuple[str, str], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Metrics by planted models, how D falls as the truth is spoilt, every interval, and what is planted."""
        won = np.argwhere(self.interval[..., 0] > 0.5)
        grid = Grid(
            title="Does the metric know the truth from noise?",
            caption="How often the metric puts the planted truth before random scores of the same text: 1 always, 0.5 is a guess. "
            "Marked: the whole interval lies above 0.5.",
            values=self.each,
            rows=self.metrics,
            columns=self.truths,
            row_axis="metric",
            column_axis="planted model",
            unit="diagnosticity",
            signed=False,
            marked=tuple((int(i), int(j)) for i, j in won),
            end=1.0,
        )
        curves = Curves(
            title="Does it fall as the truth is spoilt?",
            caption="A share of the words has its scores dealt out anew. At 1 nothing of the truth is left, and a guess is right.",
            x=self.levels,
            x_axis="share of the truth that was dealt anew",
            y_axis="diagnosticity",
            series=tuple(
                banded(m, self.fallen[i], self.fallen_interval[i]) for i, m in enumerate(self.metrics)
            ),
        )
        order = np.argsort(-np.nan_to_num(self.fallen[:, 0], nan=-1.0), kind="stable")
        cost = Table(
            title="Diagnosticity and complexity",
            caption="Passes: forward passes that the metric needs for one explanation of one text. Largest rise: how much D grows at "
            "most from one level of spoiling to the next; a sound metric's does not.",
            columns=("metric", "diagnosticity", "low", "high", "all dealt anew", "largest rise", "passes"),
            rows=tuple(
                (
                    self.metrics[i],
                    *_numbers(self.fallen[i, 0], *self.fallen_interval[i, 0], self.fallen[i, -1]),
                    *_numbers(float(np.diff(self.fallen[i]).max()), self.passes[i]),
                )
                for i in order
            ),
        )
        every = Table(
            title="Every metric on every planted model",
            columns=("metric", "planted model", "diagnosticity", "low", "high"),
            rows=tuple(
                (m, t, *_numbers(self.each[i, j], *self.interval[i, j]))
                for i, m in enumerate(self.metrics)
                for j, t in enumerate(self.truths)
            ),
        )
        told = Table(title="What is planted", columns=("model", "what is planted"), rows=self.planted)
        return (grid, cost, curves, every, told)


def _numbers(*found: Any) -> tuple[float | None, ...]:
    return tuple(float(x) if np.isfinite(x) else None for x in found)
