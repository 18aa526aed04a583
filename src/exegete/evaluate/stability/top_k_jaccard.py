"""Top-k Jaccard: are the strongest units the same ones after a change?

    J = mean over changed texts of |T_k(e) and T_k(e')| / |T_k(e) or T_k(e')|,   T_k: the k largest absolute scores

1. explain the changed text (by default with a neutral word put in); 2. take the k strongest units of both, first in text order
among equals; 3. divide what they share by what they hold together.

Cost: explaining the changed texts, shared with other metrics of the same change.
Reference: Zafar et al. 2021, section 4; Ghorbani et al. 2019, section 2 (top-k intersection).
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.changes import Change, Nudge, Padding, Seeds
from exegete.evaluate.contract import Pairing, StabilityMetric
from exegete.evaluate.rewordings import Insertion, Reorder, Synonyms
from exegete.ops.rank import descending

CHANGES: dict[str, Change] = {
    "seed": Seeds(), "insertion": Insertion(), "synonym": Synonyms(), "reorder": Reorder(), "padding": Padding(), "nudge": Nudge(),
}  # fmt: skip


@register
class TopKJaccard(StabilityMetric):
    """How far the strongest units stay the same ones after a change, as a Jaccard index."""

    id: ClassVar[str] = "top_k_jaccard"
    techniques: ClassVar[tuple[str, ...]] = ("N1",)
    reference: ClassVar[Reference] = Reference(
        authors="Zafar et al.", year=2021, where="arXiv:2106.04631", equation="section 4",
        title="On the Lack of Robust Interpretability of Neural Text Classifiers",
    )  # fmt: skip
    undefined: ClassVar[str] = "no more units than k, all of one strength, or no changed text counts"
    k: int = Field(3, ge=1, description="how many of the strongest units")
    change: Literal["seed", "insertion", "synonym", "reorder", "padding", "nudge"] = Field(
        "insertion", description="what is changed"
    )

    def changes(self) -> tuple[Change, ...]:
        """The change asked for, as other metrics make it."""
        return (CHANGES[self.change],)

    def score_pairing(self, pairing: Pairing) -> np.ndarray:
        """The Jaccard index [K]; NaN where all units are among the strongest, or all are as strong as any other."""
        n = pairing.own.shape[1]
        if n <= self.k:
            return np.full(len(pairing.own), np.nan)
        own, other = (_strongest(x, self.k) for x in (pairing.own, pairing.other))
        level = [np.ptp(np.abs(x), axis=1) == 0 for x in (pairing.own, pairing.other)]
        return np.where(level[0] | level[1], np.nan, (own & other).sum(1) / (own | other).sum(1))


def _strongest(scores: np.ndarray, k: int) -> np.ndarray:
    """Which units [K, U] are among the k strongest."""
    found = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(found, descending(np.abs(scores))[:, :k], True, axis=1)
    return found
