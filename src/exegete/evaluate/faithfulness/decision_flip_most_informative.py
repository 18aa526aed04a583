"""DFMIT: does the model decide otherwise when the single unit that an explanation puts first is removed?

1. remove the unit with the highest score; 2. one when the model's own answer (class or first token) changes, else zero.
The mean over a set of texts is the rate. Higher is better.

Cost: one forward a distinct first unit, and one of the untouched text.
Reference: Chrysostomou & Aletras 2021 (decision flip, most informative token); as a metric Chan, Kong & Liang 2022 (arXiv:2204.05514).
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, decision, whole
from exegete.models.remove import Game
from exegete.ops.curves import deletion_curve


@register
class DecisionFlipMostInformative(FaithfulnessMetric):
    """Whether the decision changes when the most important unit is removed; over a set, how often."""

    id: ClassVar[str] = "decision_flip_most_informative"
    techniques: ClassVar[tuple[str, ...]] = ("O8",)
    reference: ClassVar[Reference] = Reference(
        authors="Chrysostomou & Aletras",
        year=2021,
        title="Improving the Faithfulness of Attention-based Explanations with Task-specific Information",
        where="arXiv:2105.02657",
        equation="decision flip, most informative token",
    )
    passes: ClassVar[str] = "one forward a distinct first unit"

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """1 where removing the first unit changes the decision [K], else 0."""
        answers = deletion_curve(lambda keep: decision(game, keep), ranking.order, np.array([1]))
        return (answers[:, 0] != decision(game, whole(game))[0]).astype(np.float64)
