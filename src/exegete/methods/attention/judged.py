"""Numbers of a set of texts as one score: mean, 95 % bootstrap interval, chance, control, n and what failed.

A text without a number (NaN) counts as failed, in the value and never silently. Cost: no model pass.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from exegete.core.trust import Score
from exegete.ops.stats import bootstrap_mean


def mean_score(
    name: str,
    values: np.ndarray | Sequence[float],
    better: Literal["higher", "lower"] = "higher",
    *,
    chance: float | None = None,
    control: np.ndarray | Sequence[float] | None = None,
    control_name: str = "",
    failed: int = 0,
    skipped: str = "",
    seed: int = 0,
) -> Score:
    """The score of a mean over texts [text]; `failed` counts texts that never came this far."""
    x = np.asarray(values, dtype=np.float64)
    good = x[np.isfinite(x)]
    other = None if control is None else np.asarray(control, dtype=np.float64)
    other = None if other is None else other[np.isfinite(other)]
    has = other is not None and len(other) > 0
    return Score(
        name=name,
        value=float(good.mean()) if len(good) else float("nan"),
        better=better,
        chance=chance,
        control=float(other.mean()) if other is not None and has else None,
        control_name=control_name if has else "",
        interval=bootstrap_mean(good, seed),
        n=len(good),
        n_failed=len(x) - len(good) + failed,
        skipped="" if has or chance is not None else skipped or "no text allowed it",
    )


def beaten(score: Score) -> bool:
    """Whether a score beats every bar it has."""
    return score.beats_chance is not False and score.beats_control is not False


def passed_by(score: Score) -> bool:
    """Whether the whole interval of a score lies on the bad side of its control: worse than the control, not just no better."""
    if score.control is None:
        return False
    low, high = score.interval or (score.value, score.value)
    return high < score.control if score.better == "higher" else low > score.control
