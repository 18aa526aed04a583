"""A statistic a layer against its permutation null, as a score: is there structure beyond chance?

The statistic of the whole model is the mean over layers; its null the mean over layers of permuted draws, so that one
percentile is read off, not one a layer (which would need a correction for looking at many layers).
"""

from dataclasses import dataclass

import numpy as np

from exegete.core.trust import Score
from exegete.ops.stats import midrank_percentile


@dataclass(frozen=True)
class Permuted:
    """Values [layer], their permuted draws [layer, draw], and the control's values [layer], NaN where it was not run."""

    value: np.ndarray
    null: np.ndarray
    control: np.ndarray

    def score(self, name: str, control_name: str, skipped: str = "") -> Score:
        """The score of the mean over layers; `skipped` says why the control was not run."""
        draws = self.null.mean(0)
        mean = float(self.value.mean())
        return Score(
            name=name,
            value=mean,
            chance=float(draws.mean()),
            control=None if skipped else float(self.control.mean()),
            control_name="" if skipped else control_name,
            skipped=skipped,
            percentile=midrank_percentile(mean, draws),
            n=len(self.value),
        )

    @property
    def low(self) -> np.ndarray:
        """2.5 % of the null [layer]."""
        return np.quantile(self.null, 0.025, axis=1)

    @property
    def high(self) -> np.ndarray:
        """97.5 % of the null [layer]."""
        return np.quantile(self.null, 0.975, axis=1)
