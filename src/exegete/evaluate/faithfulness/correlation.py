"""CORR: do units with higher scores leave a lower value behind when they are removed?

    CORR = - rho( R_i, f(x without unit i) )   over all units i

1. remove each unit alone; 2. correlate what is left with the scores; 3. turn the sign, so that higher is better. Not defined
(NaN) for constant scores, for a value that no removal moves by more than rounding, or for fewer than two units.

With rho="kendall" this is the correlation with leave-one-out that ferret calls tau-LOO.
Cost: n_units forwards, whatever the number of explanations.
Reference: Arya et al. 2019 (faithfulness metric); Chan, Kong & Liang 2022 (arXiv:2204.05514).
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, outcome
from exegete.models.remove import Game
from exegete.ops.rank import row_correlation
from exegete.ops.rounding import alike


@register
class Correlation(FaithfulnessMetric):
    """Minus the correlation of the scores with what is left when each unit is removed alone."""

    id: ClassVar[str] = "correlation"
    techniques: ClassVar[tuple[str, ...]] = ("O11",)
    reference: ClassVar[Reference] = Reference(
        authors="Arya et al.",
        year=2019,
        title="One Explanation Does Not Fit All: A Toolkit and Taxonomy of AI Explainability Techniques",
        where="arXiv:1909.03012",
        equation="faithfulness metric",
    )
    passes: ClassVar[str] = "n_units forwards"
    by_order: ClassVar[bool] = False
    undefined: ClassVar[str] = "all scores are equal, or no removal moves the value"

    rho: Literal["pearson", "spearman", "kendall"] = Field(
        "pearson", description="which correlation: pearson, spearman or kendall (tau-b, with leave-one-out)"
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """CORR [K]."""
        left = outcome(game, ~np.eye(game.n, dtype=bool))
        if alike(left):
            return np.full(len(ranking), np.nan)
        return -row_correlation(ranking.scores, np.broadcast_to(left, ranking.scores.shape), self.rho)
