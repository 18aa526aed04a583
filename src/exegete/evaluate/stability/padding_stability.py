"""Padding stability: does an explanation depend on the texts that stand beside it in a batch?

    r = mean over paddings of Spearman(e, e'),   e' explained with 1, 2, 4, ... masked places at its right

1. let the model read padding at the right of every input, masked out; 2. explain again; 3. correlate. The model must not read
what is masked, so anything short of 1 (to rounding) is a fault, of the method or of the model.

Cost: explaining `n_variants` padded texts. Reference: Atanasova et al. 2020, section 4 (consistency of explanations).
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.changes import Change, Padding
from exegete.evaluate.stability.rank import RankStability


@register
class PaddingStability(RankStability):
    """Rank correlation of an explanation with that of the same text beside padding."""

    id: ClassVar[str] = "padding_stability"
    techniques: ClassVar[tuple[str, ...]] = ("N1",)
    reference: ClassVar[Reference] = Reference(
        authors="Atanasova et al.", year=2020, where="arXiv:2009.13295", equation="section 4",
        title="A Diagnostic Study of Explainability Techniques for Text Classification",
    )  # fmt: skip
    n_variants: int = Field(2, ge=1, le=10, description="paddings: 1, 2, 4, ... places")

    def changes(self) -> tuple[Change, ...]:
        """Masked places at the right."""
        return (Padding(self.n_variants),)
