"""Insertion: the area under the judged value as units are put back, the most important first. Higher is better.

1. from the text with every unit removed, put back 0, 1, 2, ... all units by descending score (at most `n_steps` + 1 points,
evenly spread, on long texts); 2. the trapezoid area over the share put back.

Cost: at most n_steps + 1 forwards an order; the reverse of an order needs the same inputs for its deletion curve.
Reference: Petsiuk, Das & Saenko 2018 (deletion and insertion metrics).
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, outcome
from exegete.models.remove import Game
from exegete.ops.curves import area, insertion_curve, step_sizes


@register
class InsertionAUC(FaithfulnessMetric):
    """Area under the judged value as units are put back, the most important first."""

    id: ClassVar[str] = "insertion_auc"
    reference: ClassVar[Reference] = Reference(
        authors="Petsiuk, Das & Saenko",
        year=2018,
        title="RISE: Randomized Input Sampling for Explanation of Black-box Models",
        where="arXiv:1806.07421",
        equation="deletion and insertion metrics",
    )
    passes: ClassVar[str] = "at most n_steps + 1 forwards an order"

    n_steps: int = Field(
        20, ge=1, le=10_000, description="points of the curve on texts with more units than that"
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """Area [K]."""
        sizes = step_sizes(game.n, self.n_steps)
        return area(insertion_curve(lambda keep: outcome(game, keep), ranking.order, sizes), sizes)
