"""Sensitivity-n: do the scores of subsets of n units rise and fall with what removing them changes?

    SENS = mean over sizes n of  rho_S ( sum of the scores of S, f(x) - f(x without S) ),   |S| = n

1. draw subsets of several sizes from the text and the seed; 2. remove each; 3. the Pearson correlation within each size, and
their mean. Higher is better. A size whose sums or changes are constant (to rounding) has no correlation and is left out; NaN where all are.

Cost: n_sizes * n_subsets forwards a text, shared by all explanations and with infidelity.
Reference: Ancona et al. 2018, section 4 (eq. 9 as a correlation).
"""

import warnings
from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Ranking, outcome, whole
from exegete.evaluate.faithfulness.subset_metric import SubsetMetric
from exegete.models.remove import Game
from exegete.ops.rank import row_correlation
from exegete.ops.rounding import alike


@register
class SensitivityN(SubsetMetric):
    """The correlation of the scores of random subsets with what removing them changes, a mean over their sizes."""

    id: ClassVar[str] = "sensitivity_n"
    undefined: ClassVar[str] = "all scores are equal, or no removal moves the value more than another"
    reference: ClassVar[Reference] = Reference(
        authors="Ancona et al.",
        year=2018,
        title="Towards Better Understanding of Gradient-based Attribution Methods for Deep Neural Networks",
        where="arXiv:1711.06104",
        equation="section 4",
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """SENS [K]."""
        gone = self.drawn(game)
        before = float(outcome(game, whole(game))[0])
        each = [
            row_correlation(sums, np.broadcast_to(fall, sums.shape))
            for fall, sums in zip(self.falls(game, gone), (ranking.scores @ g.T for g in gone))
            if not alike(before - fall)
        ]
        if not each:
            return np.full(len(ranking), np.nan)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)
            return np.nanmean(each, axis=0)
