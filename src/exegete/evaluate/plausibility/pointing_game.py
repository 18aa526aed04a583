"""The pointing game: is the unit that an explanation puts first one that people marked?

Chance is the share of marked units, by drawn orders. Cost: no pass of the model.
Reference: Zhang et al. 2018, Top-down Neural Attention by Excitation Backprop; Poerner et al. 2018 for texts.
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import PlausibilityMetric, Ranking


@register
class PointingGame(PlausibilityMetric):
    """How often the unit that an explanation puts first is one that people marked."""

    id: ClassVar[str] = "pointing_game"
    techniques: ClassVar[tuple[str, ...]] = ("N2",)
    reference: ClassVar[Reference] = Reference(
        authors="Poerner et al.", year=2018, where="arXiv:1801.06422", equation="section 4",
        title="Evaluating neural network explanation methods using hybrid documents and morphosyntactic agreement",
    )  # fmt: skip

    def score_marks(self, marked: np.ndarray, ranking: Ranking) -> np.ndarray:
        """1 or 0 [K]."""
        return marked[ranking.order[:, 0]].astype(float)
