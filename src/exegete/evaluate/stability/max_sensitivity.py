"""Max-sensitivity: how far does an explanation move when the text moves a little?

    S = max over nearby x' of ||e(x') - e(x)||_2 / ||e(x)||_2

1. explain the text with its embeddings moved by `radius` of their length; 2. take the largest change, as a share of the
explanation's own length (as the authors' code, Captum and Quantus 0.6 do, so that methods of other scales compare). Nearby texts
on which the model's answer changes do not count.

Cost: explaining `n_variants` nearby texts, shared. Reference: Yeh et al. 2019, definition 3.1.
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Pairing
from exegete.evaluate.stability.near import NearMetric


@register
class MaxSensitivity(NearMetric):
    """The largest relative change of an explanation among nearby texts."""

    id: ClassVar[str] = "max_sensitivity"
    techniques: ClassVar[tuple[str, ...]] = ("N11",)
    reference: ClassVar[Reference] = Reference(
        authors="Yeh et al.", year=2019, where="arXiv:1901.09392", equation="definition 3.1",
        title="On the (In)fidelity and Sensitivity of Explanations",
    )  # fmt: skip

    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """The relative change [K]; NaN for an explanation of zeros."""
        size = np.linalg.norm(pairing.own, axis=1)
        step = np.linalg.norm(pairing.other - pairing.own, axis=1)
        return np.divide(step, size, out=np.full(size.shape, np.nan), where=size > 0)
