"""Sufficiency: how far does the judged value fall when only the units an explanation puts first are left?

    SUFF = mean over bins b of  f(x) - f(only the first k units of x),   k = n b rounded up, at least 1

1. order the units by descending signed score; 2. keep only the first k of each bin; 3. average the falls. Lower is better:
what is left should be enough for the same answer.

Cost: at most (distinct bins + 1) forwards an order; orders that agree on their first k share them.
Reference: DeYoung et al. 2020, section 4.2, eq. 2 and 3 (mean over the bins given).
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Better, FaithfulnessMetric, Ranking, outcome, whole
from exegete.models.remove import Game
from exegete.ops.curves import bin_sizes, insertion_curve

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
ERASER = "ERASER: A Benchmark to Evaluate Rationalized NLP Models"


@register
class Sufficiency(FaithfulnessMetric):
    """How far the judged value falls when only the units that an explanation puts first are left."""

    id: ClassVar[str] = "sufficiency"
    techniques: ClassVar[tuple[str, ...]] = ("O10",)
    reference: ClassVar[Reference] = Reference(
        authors="DeYoung et al.", year=2020, title=ERASER, where="arXiv:1911.03429", equation="eq. 2 and 3"
    )
    passes: ClassVar[str] = "one forward a distinct set of leading units, at most len(bins) + 1 an order"
    better: ClassVar[Better] = "lower"

    bins: tuple[float, ...] = Field(
        BINS, min_length=1, description="shares of the units that are kept, 0 to 1"
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """SUFF [K]."""
        sizes = bin_sizes(game.n, self.bins)
        kept = insertion_curve(lambda keep: outcome(game, keep), ranking.order, sizes)
        return outcome(game, whole(game)) - kept.mean(1)
