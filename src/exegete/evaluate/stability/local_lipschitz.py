"""Local Lipschitz estimate: the steepest change of an explanation per change of its text.

    L = max over nearby x' of ||e(x) - e(x')||_2 / ||x - x'||_2,   x the embedded tokens of the units, one long vector

1. explain the text with its embeddings moved a little; 2. divide the Euclidean distances; 3. take the largest. Both norms are
Euclidean, as in the paper and in Quantus. It is in the method's own unit, so compare methods of one scale; the percentile beside it
has none. Nearby texts on which the model's answer changes do not count.

Cost: explaining `n_variants` nearby texts, shared. Reference: Alvarez-Melis & Jaakkola 2018, eq. 2.
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Pairing
from exegete.evaluate.stability.near import NearMetric


@register
class LocalLipschitz(NearMetric):
    """The largest change of an explanation among nearby texts, per distance of the embedded text."""

    id: ClassVar[str] = "local_lipschitz"
    techniques: ClassVar[tuple[str, ...]] = ("N11",)
    reference: ClassVar[Reference] = Reference(
        authors="Alvarez-Melis and Jaakkola", year=2018, where="arXiv:1806.08049", equation="eq. 2",
        title="On the Robustness of Interpretability Methods",
    )  # fmt: skip

    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """The ratio of distances [K]; NaN where the text did not move."""
        step = np.linalg.norm(pairing.own - pairing.other, axis=1)
        return step / pairing.input_change if pairing.input_change > 0 else np.full(len(step), np.nan)
