"""Paraphrase stability: is a word as important when its text is worded another way?

    r = mean over other wordings of Spearman(e, e'), over the words that both have or that stand for each other

1. take the paraphrases that a file gives for the text (lines of "text" and "paraphrase"; words that stay are matched in order), or
   exchange words for synonyms of a short list: all that are known, then each alone;
2. explain them; wordings that change the model's answer do not count; 3. correlate the orders.

The list of synonyms is English and small; with a domain of its own, give a file.
Cost: explaining `n_variants` wordings, shared. Reference: Sinha et al. 2021 (synonyms that leave the answer alone).
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.changes import Change
from exegete.evaluate.rewordings import Paraphrase, Synonyms
from exegete.evaluate.stability.rank import RankStability


@register
class ParaphraseStability(RankStability):
    """Rank correlation of an explanation with that of the text in other words."""

    id: ClassVar[str] = "paraphrase_stability"
    techniques: ClassVar[tuple[str, ...]] = ("N1",)
    reference: ClassVar[Reference] = Reference(
        authors="Sinha et al.", year=2021, where="arXiv:2108.04990", equation="section 3",
        title="Perturbing Inputs for Fragile Interpretations in Deep Natural Language Processing",
    )  # fmt: skip
    paraphrases: str = Field(
        "", description='JSONL file of "text" and "paraphrase"; empty: synonyms of a short list'
    )
    n_variants: int = Field(2, ge=1, le=100, description="other wordings at most")

    def changes(self) -> tuple[Change, ...]:
        """Paraphrases of the file, or synonyms."""
        return (
            (Paraphrase(self.n_variants, self.paraphrases),)
            if self.paraphrases
            else (Synonyms(self.n_variants),)
        )
