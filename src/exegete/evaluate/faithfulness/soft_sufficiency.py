"""Soft sufficiency: how much is left when every unit is left by as much as its score says?

    SOFT-SUFF = 1 - max(0, f(x) - f(x')) / (f(x) - f(nothing)),   each element of x' stays with probability a_i

1. bring the scores to a_i in 0 .. 1; 2. erase elements of the embeddings at random, the more the lower the score; 3. the share of
the judged value that is kept, held within 0 .. 1. Higher is better (unlike sufficiency, which is a fall).
With probabilities this is the published normalised form. Not defined (NaN) for constant scores and where f(x) <= f(nothing).

Cost: n_draws forwards a distinct row of scores, and two.
Reference: Zhao & Aletras 2023, section 4 (Soft-NS).
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.evaluate.contract import Ranking
from exegete.evaluate.faithfulness.soft_erasure import SoftMetric
from exegete.models.remove import Game


@register
class SoftSufficiency(SoftMetric):
    """The share of the judged value that is kept when each unit's embedding is left in proportion to its score."""

    id: ClassVar[str] = "soft_sufficiency"

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """SOFT-SUFF [K]."""
        return 1 - self.lost(game, ranking, erase=False)
