"""What the metrics of order share: Spearman's correlation of an explanation with that of the changed text.

    r = mean over changed texts of the Pearson correlation of mid-ranks

NaN for scores that are all equal. Cost: O(U log U) a pairing beside explaining.
"""

import numpy as np

from exegete.evaluate.contract import Pairing, StabilityMetric
from exegete.ops.rank import row_correlation


class RankStability(StabilityMetric):
    """Base of the metrics that correlate the order of units before and after a change."""

    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """Spearman's correlation [K]."""
        if pairing.own.shape[1] < 2:
            return np.full(len(pairing.own), np.nan)
        return row_correlation(pairing.own, pairing.other, "spearman")
