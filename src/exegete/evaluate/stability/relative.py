"""What the relative stabilities share: the relative change of an explanation, over a change of something else.

    RS = max over nearby x' of ||(e(x) - e(x')) / e(x)||_2 / max(d(x, x'), eps)

Division is by coordinate; a score of zero is divided by eps = 1e-6, as in Quantus. The ratio is heavy-tailed (one score next to
nothing makes it huge), so its decimal logarithm is given unless `log` is off, with eps as its floor; the authors plot it so too.
Cost: see `near`. Reference: Agarwal et al. 2022, eq. 2 and 5.
"""

import numpy as np
from pydantic import Field

from exegete.evaluate.contract import Pairing
from exegete.evaluate.stability.near import NearMetric

EPS = 1e-6


class RelativeStability(NearMetric):
    """Base of the relative stabilities."""

    log: bool = Field(True, description="give the decimal logarithm of the ratio")

    def ratio(self, pairing: Pairing, moved: float) -> np.ndarray:
        """The relative change of the explanation [K] over what moved; NaN where that has no distance."""
        own = pairing.own
        change = np.linalg.norm((own - pairing.other) / np.where(own == 0, EPS, own), axis=1)
        found = change / max(moved, EPS) if moved == moved else np.full(len(change), np.nan)
        return np.log10(np.maximum(found, EPS)) if self.log else found
