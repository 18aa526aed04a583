"""Deletion: the area under the judged value as units are removed, the most important first. Lower is better.

1. remove 0, 1, 2, ... all units by descending score (at most `n_steps` + 1 points, evenly spread, on long texts);
2. the trapezoid area over the share removed.

Cost: at most n_steps + 1 forwards an order; the reverse of an order needs the same inputs for its insertion curve.
Reference: Petsiuk, Das & Saenko 2018 (deletion and insertion metrics).
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Better, FaithfulnessMetric, Ranking, outcome
from exegete.models.remove import Game
from exegete.ops.curves import area, deletion_curve, step_sizes


@register
class DeletionAUC(FaithfulnessMetric):
    """Area under the judged value as units are removed, the most important first."""

    id: ClassVar[str] = "deletion_auc"
    reference: ClassVar[Reference] = Reference(
        authors="Petsiuk, Das & Saenko",
        year=2018,
        title="RISE: Randomized Input Sampling for Explanation of Black-box Models",
        where="arXiv:1806.07421",
        equation="deletion and insertion metrics",
    )
    passes: ClassVar[str] = "at most n_steps + 1 forwards an order"
    better: ClassVar[Better] = "lower"

    n_steps: int = Field(
        20, ge=1, le=10_000, description="points of the curve on texts with more units than that"
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """Area [K]."""
        sizes = step_sizes(game.n, self.n_steps)
        return area(deletion_curve(lambda keep: outcome(game, keep), ranking.order, sizes), sizes)
