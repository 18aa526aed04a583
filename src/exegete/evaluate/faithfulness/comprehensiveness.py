"""Comprehensiveness: how far does the judged value fall when the units an explanation puts first are removed?

    COMP = mean over bins b of  f(x) - f(x without the first k units),   k = n b rounded up, at least 1

1. order the units by descending signed score (a magnitude likewise);
2. remove the first k of each bin at once; 3. average the falls (area over the perturbation curve, AOPC).

The mean is over the bins given; the paper's eq. 3 also counts the bin of nothing, which adds 0 and divides by one more.
Cost: at most (distinct bins + 1) forwards an order; orders that agree on their first k share them.
Reference: DeYoung et al. 2020, section 4.2, eq. 1 and 3.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, outcome, whole
from exegete.models.remove import Game
from exegete.ops.curves import bin_sizes, deletion_curve

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
ERASER = "ERASER: A Benchmark to Evaluate Rationalized NLP Models"


@register
class Comprehensiveness(FaithfulnessMetric):
    """How far the judged value falls when the units that an explanation puts first are removed."""

    id: ClassVar[str] = "comprehensiveness"
    techniques: ClassVar[tuple[str, ...]] = ("O9",)
    reference: ClassVar[Reference] = Reference(
        authors="DeYoung et al.", year=2020, title=ERASER, where="arXiv:1911.03429", equation="eq. 1 and 3"
    )
    passes: ClassVar[str] = "one forward a distinct set of leading units, at most len(bins) + 1 an order"

    bins: tuple[float, ...] = Field(
        BINS, min_length=1, description="shares of the units that are removed, 0 to 1"
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """COMP [K]."""
        sizes = bin_sizes(game.n, self.bins)
        left = deletion_curve(lambda keep: outcome(game, keep), ranking.order, sizes)
        return outcome(game, whole(game)) - left.mean(1)
