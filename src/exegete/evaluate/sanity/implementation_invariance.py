"""Implementation invariance: are explanations of two networks that compute the same function the same?

1. copy the model, put the hidden units of every feed-forward part in another order, double the values of attention and halve what
   reads them (`same_function`): the same function in other numbers, which is checked;
2. explain every text on both; 3. compare (`invariance`).

Gradients and removals see only the function, and pass; a rule that reads hidden units or weights as they stand fails, and one is
planted beside the methods to show that the check can tell. Which parts could be rewritten stands in the finding.
Cost: explanations, twice; a forward a rewritten part. Reference: Sundararajan et al. 2017, section 2.2.
"""

from typing import ClassVar

import torch

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.sanity.invariance import InvarianceStudy
from exegete.evaluate.sanity.same_function import rewritten
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.question import Question
from exegete.models.randomise import asked_of


@register
class ImplementationInvariance(InvarianceStudy):
    """Whether methods explain alike two models that compute the same with other weights."""

    id: ClassVar[str] = "implementation_invariance"
    techniques: ClassVar[tuple[str, ...]] = ("O2",)
    reference: ClassVar[Reference] = Reference(
        authors="Sundararajan et al.", year=2017, title="Axiomatic Attribution for Deep Networks", where="arXiv:1703.01365", equation="section 2.2",
    )  # fmt: skip
    question: ClassVar[str] = "Is the explanation of the function, or of the way it is written down?"

    def twin(self, lab: Lab, first: Question) -> tuple[Model, tuple[str, ...]]:
        """Hidden units permuted, values rescaled."""

        def output(model: Model) -> torch.Tensor:
            lab.meter.forwards += 1
            return torch.cat([x.flatten() for x in asked_of(model, first).reference()])

        return rewritten(lab.model, output, self.seed)
