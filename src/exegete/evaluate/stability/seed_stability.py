"""Seed stability: how much of an explanation is the luck of the method's seed?

    r = mean over n other seeds of Spearman(e_seed, e_other seed)

1. explain the same text with other seeds (a method without a seed is run again as it is, and must give 1);
2. correlate the orders. NaN for scores that are all equal.

Cost: n_seeds explanations; inputs that seeds have in common are run once.
Reference: Zafar et al. 2021, section 4 (explanations of two runs differ).
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.changes import Change, Seeds
from exegete.evaluate.stability.rank import RankStability


@register
class SeedStability(RankStability):
    """Rank correlation of an explanation with those of other seeds of its method."""

    id: ClassVar[str] = "seed_stability"
    techniques: ClassVar[tuple[str, ...]] = ("N1",)
    reference: ClassVar[Reference] = Reference(
        authors="Zafar et al.", year=2021, where="arXiv:2106.04631", equation="section 4",
        title="On the Lack of Robust Interpretability of Neural Text Classifiers",
    )  # fmt: skip
    n_seeds: int = Field(3, ge=1, le=1000, description="other seeds")

    def changes(self) -> tuple[Change, ...]:
        """Other seeds."""
        return (Seeds(self.n_seeds),)
