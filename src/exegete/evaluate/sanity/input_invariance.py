"""Input invariance: does an explanation stay when every input is shifted by a constant that the model takes away again?

    f2(x + m) = f1(x)  for all x:  the explanations must be equal

1. a copy of the model reads every embedding e as e + m, and takes m away behind the place where inputs are read, as the first bias of
   Kindermans et al. does (`same_function`); that both say the same is checked;
2. explain every text on both; 3. compare (`invariance`).

Gradients and removals pass, and so does a path from the embedding of a mask, which is shifted as well. Input times gradient fails, for
it multiplies with the numbers of the input, whose origin means nothing; so does a path from zero.
Cost: explanations, twice. Reference: Kindermans et al. 2017, section 3.
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.sanity.invariance import InvarianceStudy
from exegete.evaluate.sanity.same_function import shifted
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.question import Question


@register
class InputInvariance(InvarianceStudy):
    """Whether explanations stay when all inputs are shifted by a constant that does not change the function."""

    id: ClassVar[str] = "input_invariance"
    techniques: ClassVar[tuple[str, ...]] = ("O3",)
    reference: ClassVar[Reference] = Reference(
        authors="Kindermans et al.", year=2017, title="The (Un)reliability of Saliency Methods", where="arXiv:1711.00867", equation="section 3",
    )  # fmt: skip
    question: ClassVar[str] = "Does the explanation stay when the zero of the inputs is elsewhere?"
    size: float = Field(1.0, gt=0, le=100, description="length of the shift, in mean lengths of an embedding")

    def twin(self, lab: Lab, first: Question) -> tuple[Model, tuple[str, ...]]:
        """Every embedding shifted."""
        words = f"every input embedding is shifted by one vector of {self.size:g} times their mean length, and shifted back"
        return shifted(lab.model, self.size, self.seed), (words,)
