"""F1 over stretches: does an explanation find the stretches that people marked, if not to the word?

1. the units put first (as many as were marked, or a share) fall into runs, and so do the marks;
2. a run is hit when its intersection over union with a run of the other side is at least `least`;
3. precision over the explanation's runs, recall over the marks' runs, and their F1.

Cost: no pass of the model. Reference: DeYoung et al. 2020, section 4.1 (threshold 0.5).
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.evaluate.plausibility.token_f1 import Chosen
from exegete.ops.marked import overlap_f1


@register
class IouF1(Chosen):
    """F1 over stretches of units, a stretch being found when it overlaps a marked one by half."""

    id: ClassVar[str] = "iou_f1"
    techniques: ClassVar[tuple[str, ...]] = ("N2", "N5")

    least: float = Field(0.5, gt=0, le=1, description="intersection over union from which a stretch is found")

    def held(self, mask: np.ndarray, marked: np.ndarray) -> np.ndarray:
        """F1 [K]."""
        return np.array([overlap_f1(m, marked, self.least) for m in mask])
