"""MONO: does the value rise with the scores when units are added, the least important first?

    MONO = rho( R_(j), f(only the j lowest-scored units of x) ),   j = 1 .. n, R_(j) the score of the j-th unit added

1. start from the text with every unit removed; 2. add units by increasing score; 3. correlate the value after each step with
the score of the unit just added. Higher is better. Not defined (NaN) for constant scores or values, or below two units.

Read it beside chance only: any order that ends with strong units does well, and where some units count against the answer the
value first falls and then rises, so that even the true explanation stays below 1.

Cost: n_units forwards an order; orders that agree on their last units share them.
Reference: Arya et al. 2019 (monotonicity metric), as a correlation Chan, Kong & Liang 2022 (arXiv:2204.05514).
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, outcome
from exegete.models.remove import Game
from exegete.ops.curves import insertion_curve
from exegete.ops.rank import row_correlation
from exegete.ops.rounding import alike


@register
class Monotonicity(FaithfulnessMetric):
    """The correlation of the scores with the value as units are added, the least important first."""

    id: ClassVar[str] = "monotonicity"
    techniques: ClassVar[tuple[str, ...]] = ("O12",)
    reference: ClassVar[Reference] = Reference(
        authors="Arya et al.",
        year=2019,
        title="One Explanation Does Not Fit All: A Toolkit and Taxonomy of AI Explainability Techniques",
        where="arXiv:1909.03012",
        equation="monotonicity metric",
    )
    passes: ClassVar[str] = "n_units forwards an order"
    by_order: ClassVar[bool] = False
    undefined: ClassVar[str] = "all scores are equal, or the value stays while units are added"

    rho: Literal["pearson", "spearman"] = Field(
        "pearson", description="which correlation: pearson or spearman"
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """MONO [K]."""
        rising = ranking.order[:, ::-1]
        values = insertion_curve(lambda keep: outcome(game, keep), rising, np.arange(1, game.n + 1))
        found = row_correlation(np.take_along_axis(ranking.scores, rising, 1), values, self.rho)
        return np.where(alike(values), np.nan, found)
