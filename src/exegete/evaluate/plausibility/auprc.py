"""Area under the precision-recall curve: do the marked units stand first, whatever number of them is taken?

    AUPRC = area under precision against recall as the threshold on the scores falls

Equal scores enter at once, and the curve starts at the precision of the first that enter, so that scores that are all equal have the
share of marked units and no more. A random order scores about the share of units that are marked, and more in short texts, which is why
chance is drawn and not assumed. Joined by straight lines, as ERASER has it; `average_precision` of scikit-learn is a step lower.
Cost: no pass of the model. Reference: DeYoung et al. 2020, section 4.1.
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import PlausibilityMetric, Ranking
from exegete.evaluate.faithfulness.comprehensiveness import ERASER
from exegete.ops.marked import precision_recall_area


@register
class Auprc(PlausibilityMetric):
    """Area under the precision-recall curve of the units that people marked, over all thresholds."""

    id: ClassVar[str] = "auprc"
    techniques: ClassVar[tuple[str, ...]] = ("N2", "N5")
    by_order: ClassVar[bool] = False
    reference: ClassVar[Reference] = Reference(
        authors="DeYoung et al.", year=2020, title=ERASER, where="arXiv:1911.03429", equation="section 4.1"
    )

    def score_marks(self, marked: np.ndarray, ranking: Ranking) -> np.ndarray:
        """AUPRC [K] against one row of marks [U]."""
        return precision_recall_area(ranking.scores, marked)
