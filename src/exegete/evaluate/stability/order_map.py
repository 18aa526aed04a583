"""Order MAP: do the most important tokens of a text come in the same order when it is perturbed a little?

    MAP = 1/U sum_i |T_i(e) and T_i(e')| / i,   T_i: the i units with the largest scores, i = 1 .. U

1. put a neutral word in, and exchange words for synonyms; 2. explain; 3. for every i, the share of the i most important units of the
perturbed text that are among the i most important of the text; 4. the mean over i, over the units that both have. Random orders
score about one half, whatever the length: read it beside its chance.

Cost: explaining the perturbed texts, shared with other metrics. Reference: Shen et al. 2022, section 4 (MAP).
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.changes import Change
from exegete.evaluate.contract import Pairing, StabilityMetric
from exegete.evaluate.rewordings import Insertion, Synonyms
from exegete.ops.rank import descending


@register
class OrderMap(StabilityMetric):
    """Mean average precision between the order of important units before and after a small change of words."""

    id: ClassVar[str] = "order_map"
    techniques: ClassVar[tuple[str, ...]] = ("N3",)
    undefined: ClassVar[str] = "all scores are equal, or no changed text counts"
    reference: ClassVar[Reference] = Reference(
        authors="Shen et al.", year=2022, where="arXiv:2207.13948", equation="section 4",
        title="An Interpretability Evaluation Benchmark for Pre-trained Language Models",
    )  # fmt: skip

    def changes(self) -> tuple[Change, ...]:
        """A neutral word put in, and synonyms."""
        return (Insertion(), Synonyms())

    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """MAP [K]; NaN where the scores of either text are all equal, which have no order to keep."""
        places = [np.argsort(descending(x), axis=1) for x in (pairing.own, pairing.other)]
        later = np.maximum(
            *places
        )  # from the place where both have it on, a unit is among the first i of both
        n = later.shape[1]
        shared = (later[:, None, :] <= np.arange(n)[:, None]).sum(2)
        level = (np.ptp(pairing.own, axis=1) == 0) | (np.ptp(pairing.other, axis=1) == 0)
        return np.where(level, np.nan, (shared / np.arange(1, n + 1)).mean(1))
