"""Soft comprehensiveness: how much is lost when every unit is erased by as much as its score says?

    SOFT-COMP = max(0, f(x) - f(x')) / (f(x) - f(nothing)),   each element of x' stays with probability 1 - a_i

1. bring the scores to a_i in 0 .. 1; 2. erase elements of the embeddings at random, the more the higher the score; 3. the share of
the judged value that is lost, held within 0 .. 1. Higher is better. All scores count, not only the highest, and no unit is cut out whole.
With probabilities this is the published normalised form. Not defined (NaN) for constant scores and where f(x) <= f(nothing).

Cost: n_draws forwards a distinct row of scores, and two.
Reference: Zhao & Aletras 2023, section 4 (Soft-NC).
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.evaluate.contract import Ranking
from exegete.evaluate.faithfulness.soft_erasure import SoftMetric
from exegete.models.remove import Game


@register
class SoftComprehensiveness(SoftMetric):
    """The share of the judged value that is lost when each unit's embedding is erased in proportion to its score."""

    id: ClassVar[str] = "soft_comprehensiveness"

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """SOFT-COMP [K]."""
        return self.lost(game, ranking, erase=True)
