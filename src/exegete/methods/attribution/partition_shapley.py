"""Partition Shapley (Owen values): scores shared down a hierarchy of the text, from sentences over constituents to words.

1. build a tree over the units: split between segments first, then sentences, then at punctuation (but never inside a
   span that the request marks before the text around it is split); equal boundaries are split nearest to the middle;
2. share f(x) - f(nothing left) between the two halves of each group, with the other half absent and present, and go on
   inside each half; the groups that move the output most are split first;
3. when `n_samples` inputs have been asked, the words of an unsplit group share its score equally.

A phrase that acts as one is measured as one; interactions between far groups cost nothing extra. Nothing is random.
Cost: at most n_samples forwards; about 4/3 n_units^2 would split everything.
Reference: Owen 1977, eq. 2, in several levels as in Winter 1989.
"""

from dataclasses import replace
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit, sentences
from exegete.methods.attribution.removing import RemovingMethod, active, shapley_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question
from exegete.ops.partition import owen

SEGMENT, SENTENCE, PUNCTUATION = 3.0, 2.0, 1.0


@register
class PartitionShapley(RemovingMethod):
    """Owen values over the text's own hierarchy: groups of words first, then the words inside."""

    id: ClassVar[str] = "partition_shapley"
    family: ClassVar[str] = "surrogate"
    techniques: ClassVar[tuple[str, ...]] = ("A17", "A19")
    reference: ClassVar[Reference] = Reference(
        authors="Owen",
        year=1977,
        title="Values of Games with a Priori Unions",
        where="doi:10.1007/978-3-642-45494-3_7",
        equation="eq. 2",
    )
    passes: ClassVar[str] = "min(n_samples, about 4/3 n_units^2) forwards"

    n_samples: int = Field(
        512, ge=4, le=1_000_000, description="most inputs asked, the whole and the empty one included"
    )
    tree: Literal["text", "balanced"] = Field(
        "text", description="text: segments, sentences, punctuation; balanced: halves"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """Two forwards a split until every group is split or the budget ends."""
        return self.n_samples * self.repeats, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Owen values [R, U] and of the total [U]."""
        game, how = self.game(q, units)
        strength = boundaries(q, units) if self.tree == "text" else np.zeros(max(len(units) - 1, 0))
        found, unsplit = owen(game, len(units), strength, self.n_samples, active(q, units))
        notes = [how]
        if unsplit:
            notes.append(
                f"After {self.n_samples} inputs {unsplit} groups were not split: their units share equally."
            )
        return replace(shapley_scores(q, units, found, *notes), stderr=None)


def boundaries(q: Question, units: tuple[Unit, ...]) -> np.ndarray:
    """How strong the boundary between neighbouring units is [U - 1]; inside a marked span weaker than any outside."""
    ends = {end for _, end in sentences(q.encoded.text)}
    out = np.zeros(max(len(units) - 1, 0))
    for i, (a, b) in enumerate(pairwise(units)):
        inside = sum(
            start <= a.start and b.end <= end for start, end in q.spans if a.role == b.role == "prompt"
        )
        if inside:
            out[i] = -float(inside)
        elif a.segment != b.segment or a.role != b.role:
            out[i] = SEGMENT
        elif any(a.end <= end <= b.start for end in ends):
            out[i] = SENTENCE
        elif a.text and not any(c.isalnum() for c in a.text):
            out[i] = PUNCTUATION
    return out
