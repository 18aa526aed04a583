"""Reorder stability: is a word as important when the clauses change places?

    r = mean over orders of Spearman(e, e'), each unit held against itself in its new place

1. exchange what stands before a joint and what stands after it (the end of a sentence; else a semicolon, "but", "and", a comma);
2. explain; orders that change the model's answer do not count; 3. correlate. A text without a joint does not count.

Cost: explaining `n_variants` orders, shared. Reference: Sinha et al. 2021 (inputs changed where the answer stays); order as in
Pham et al. 2021.
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.changes import Change
from exegete.evaluate.rewordings import Reorder
from exegete.evaluate.stability.rank import RankStability


@register
class ReorderStability(RankStability):
    """Rank correlation of an explanation with that of the text with its clauses exchanged."""

    id: ClassVar[str] = "reorder_stability"
    techniques: ClassVar[tuple[str, ...]] = ("N1",)
    reference: ClassVar[Reference] = Reference(
        authors="Pham et al.", year=2021, where="arXiv:2012.15180", equation="section 3",
        title="Out of Order: How Important Is The Sequential Order of Words in a Sentence in Natural Language Understanding Tasks?",
    )  # fmt: skip
    n_variants: int = Field(2, ge=1, le=100, description="orders at most")

    def changes(self) -> tuple[Change, ...]:
        """Clauses exchanged."""
        return (Reorder(self.n_variants),)
