"""Relative input stability: the relative change of an explanation per relative change of its text.

    RIS = max over nearby x' of ||(e(x) - e(x')) / e(x)||_2 / max(||(x - x') / x||_2, 1e-6),   given as log10

x are the coordinates of the embedded tokens of the units; division is by coordinate (see `relative`). Nearby texts on which the
model's answer changes do not count.

Cost: explaining `n_variants` nearby texts, shared. Reference: Agarwal et al. 2022, eq. 2; the norms of Quantus.
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Pairing
from exegete.evaluate.stability.relative import RelativeStability


@register
class RelativeInputStability(RelativeStability):
    """The largest relative change of an explanation among nearby texts, per relative change of the embedded text."""

    id: ClassVar[str] = "relative_input_stability"
    techniques: ClassVar[tuple[str, ...]] = ("N11",)
    reference: ClassVar[Reference] = Reference(
        authors="Agarwal et al.", year=2022, where="arXiv:2203.06877", equation="eq. 2",
        title="Rethinking Stability for Attribution-based Explanations",
    )  # fmt: skip

    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """RIS [K]."""
        return self.ratio(pairing, pairing.input_relative)
