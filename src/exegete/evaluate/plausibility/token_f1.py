"""Precision, recall and F1 of the units an explanation puts first against those that people marked.

    precision = hits / chosen     recall = hits / marked     F1 = 2 hits / (chosen + marked)

How many are chosen: a share of the units, or (share 0) as many as the annotator marked, where the three are the same number
("R-precision"). ERASER takes the share that is usual in its data set: give it as `share`. An annotator held against the others has
chosen what they marked, however many that is.
Cost: no pass of the model. Reference: DeYoung et al. 2020, section 4.1.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import PlausibilityMetric, Ranking
from exegete.evaluate.faithfulness.comprehensiveness import ERASER
from exegete.ops.curves import bin_sizes
from exegete.ops.marked import chosen

PAPER = Reference(
    authors="DeYoung et al.", year=2020, title=ERASER, where="arXiv:1911.03429", equation="section 4.1"
)
SHARE = "share of the units that is chosen; 0: as many as the annotator marked"


class Chosen(PlausibilityMetric):
    """Base of the metrics that look at the units an explanation puts first."""

    reference: ClassVar[Reference] = PAPER

    share: float = Field(0.0, ge=0, le=1, description=SHARE)

    def masks(self, marked: np.ndarray, ranking: Ranking) -> np.ndarray:
        """What each explanation chooses [K, U]."""
        k = int(bin_sizes(len(marked), (self.share,))[0]) if self.share else int(marked.sum())
        return chosen(ranking.order, k)

    @abstractmethod
    def held(self, mask: np.ndarray, marked: np.ndarray) -> np.ndarray:
        """The metric [K] of chosen units [K, U] against one row of marks [U], neither of them empty."""

    def score_marks(self, marked: np.ndarray, ranking: Ranking) -> np.ndarray:
        """The metric [K] of what each explanation puts first."""
        return self.held(self.masks(marked, ranking), marked)

    def ceiling(self, gold: np.ndarray) -> float:
        """What people reach: each annotator's own choice, held against the others'. NaN for fewer than two."""
        told = gold[gold.any(1)]
        if len(told) < 2:
            return float("nan")
        pairs = [
            (k, other) for k in range(len(told)) for other in np.delete(np.arange(len(told)), k).tolist()
        ]
        return float(np.mean([self.held(told[k : k + 1], told[other])[0] for k, other in pairs]))


@register
class TokenF1(Chosen):
    """F1 of the units an explanation puts first against those that people marked."""

    id: ClassVar[str] = "token_f1"
    techniques: ClassVar[tuple[str, ...]] = ("N2", "N5")

    def held(self, mask: np.ndarray, marked: np.ndarray) -> np.ndarray:
        """F1 [K]."""
        return 2 * (mask & marked).sum(1) / (mask.sum(1) + marked.sum())


@register
class TokenPrecision(Chosen):
    """Share of the units an explanation puts first that people marked too."""

    id: ClassVar[str] = "token_precision"
    techniques: ClassVar[tuple[str, ...]] = ("N2", "N5")

    share: float = Field(0.2, ge=0, le=1, description=SHARE)

    def held(self, mask: np.ndarray, marked: np.ndarray) -> np.ndarray:
        """Precision [K]."""
        return (mask & marked).sum(1) / mask.sum(1)


@register
class TokenRecall(Chosen):
    """Share of the units that people marked which an explanation puts first."""

    id: ClassVar[str] = "token_recall"
    techniques: ClassVar[tuple[str, ...]] = ("N2", "N5")

    share: float = Field(0.2, ge=0, le=1, description=SHARE)

    def held(self, mask: np.ndarray, marked: np.ndarray) -> np.ndarray:
        """Recall [K]."""
        return (mask & marked).sum(1) / marked.sum()
