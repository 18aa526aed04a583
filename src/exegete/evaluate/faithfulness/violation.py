"""Polarity violation: does the strongest unit push the other way than its score says?

    violation = [ sign(R_i) (f(x) - f(x without unit i)) < 0 ],   i the unit with the largest absolute score

1. take the strongest unit, first in text order among equals; 2. remove it; 3. one when the value moves against the sign of
its score, by more than rounding. Scores that are all zero claim nothing and are not judged (NaN). Magnitudes claim that their
units support the answer, and are held to it.
The mean over a set of texts is the violation ratio. Lower is better.

Cost: one forward a distinct strongest unit, and one of the untouched text.
Reference: Liu et al. 2022, section 3 (polarity consistency).
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Better, FaithfulnessMetric, Ranking, outcome, whole
from exegete.models.remove import Game
from exegete.ops.curves import deletion_curve
from exegete.ops.rank import descending
from exegete.ops.rounding import ROUNDING


@register
class Violation(FaithfulnessMetric):
    """Whether the strongest unit moves the value against the sign of its score; over a set, how often."""

    id: ClassVar[str] = "violation"
    techniques: ClassVar[tuple[str, ...]] = ("O4",)
    reference: ClassVar[Reference] = Reference(
        authors="Liu et al.",
        year=2022,
        title="Rethinking Attention-Model Explainability through Faithfulness Violation Test",
        where="arXiv:2201.12114",
        equation="section 3",
    )
    passes: ClassVar[str] = "one forward a distinct strongest unit"
    better: ClassVar[Better] = "lower"
    by_order: ClassVar[bool] = False
    undefined: ClassVar[str] = "all scores are zero"

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """1 where the polarity is violated [K], else 0; NaN for scores of zero."""
        strongest = descending(np.abs(ranking.scores))
        left = deletion_curve(lambda keep: outcome(game, keep), strongest, np.array([1]))[:, 0]
        score = np.take_along_axis(ranking.scores, strongest[:, :1], 1)[:, 0]
        before = outcome(game, whole(game))
        fall = before - left
        moved = np.abs(fall) > ROUNDING * np.maximum(np.abs(before), np.abs(left))
        return np.where(score == 0, np.nan, moved & (np.sign(score) * fall < 0))
