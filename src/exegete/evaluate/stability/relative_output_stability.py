"""Relative output stability: the relative change of an explanation per change of the model's logits.

    ROS = max over nearby x' of ||(e(x) - e(x')) / e(x)||_2 / max(||h(x) - h(x')||_2, 1e-6),   given as log10

h are the explained rows of logits, all classes or tokens of them; division is by coordinate (see `relative`). Nearby texts on
which the model's answer changes do not count.

Cost: explaining `n_variants` nearby texts, shared. Reference: Agarwal et al. 2022, eq. 5; the norms of Quantus.
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Pairing
from exegete.evaluate.stability.relative import RelativeStability


@register
class RelativeOutputStability(RelativeStability):
    """The largest relative change of an explanation among nearby texts, per change of the model's logits."""

    id: ClassVar[str] = "relative_output_stability"
    techniques: ClassVar[tuple[str, ...]] = ("N11",)
    reference: ClassVar[Reference] = Reference(
        authors="Agarwal et al.", year=2022, where="arXiv:2203.06877", equation="eq. 5",
        title="Rethinking Stability for Attribution-based Explanations",
    )  # fmt: skip

    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """ROS [K]."""
        return self.ratio(pairing, pairing.output_change)
