"""DFFOT: what share of the units must go, in the order of the explanation, before the model decides otherwise?

1. remove units one after the other by descending score; 2. stop at the first removal that changes the model's own answer
(the class, or the first token); 3. the share removed by then; 1 when nothing changes it. Lower is better.

All explanations go forward together, a few sizes at a time, and leave when they have flipped.
Cost: at most n_units + 1 forwards an order, usually far fewer.
Reference: Serrano & Smith 2019 (decision flips by sets of weights); as a metric Chan, Kong & Liang 2022 (arXiv:2204.05514).
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Better, FaithfulnessMetric, Ranking, decision, whole
from exegete.models.remove import Game
from exegete.ops.curves import deletion_curve

AT_ONCE = 4  # sizes asked in one go: large enough to fill a batch, small enough to stop early


@register
class DecisionFlipFraction(FaithfulnessMetric):
    """The share of units that must be removed, most important first, before the decision changes."""

    id: ClassVar[str] = "decision_flip_fraction"
    techniques: ClassVar[tuple[str, ...]] = ("O7",)
    reference: ClassVar[Reference] = Reference(
        authors="Serrano & Smith",
        year=2019,
        title="Is Attention Interpretable?",
        where="arXiv:1906.03731",
        equation="decision flips by sets of weights",
    )
    passes: ClassVar[str] = "at most n_units + 1 forwards an order"
    better: ClassVar[Better] = "lower"

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """Share removed at the first flip [K]; 1 where the decision never changes."""
        before = decision(game, whole(game))[0]
        removed, alive = np.full(len(ranking), game.n), np.arange(len(ranking))
        for start in range(1, game.n + 1, AT_ONCE):
            sizes = np.arange(start, min(start + AT_ONCE, game.n + 1))
            answers = deletion_curve(lambda keep: decision(game, keep), ranking.order[alive], sizes)
            flipped = answers != before
            done = flipped.any(1)
            removed[alive[done]] = sizes[flipped[done].argmax(1)]
            alive = alive[~done]
            if not len(alive):
                break
        return removed / game.n
