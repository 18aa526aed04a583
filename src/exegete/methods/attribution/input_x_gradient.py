"""Input x gradient: how much of the output would the embeddings account for, if the model were linear around the input?

1. one forward and one backward at the input: the gradient of the output to each slot's embedding;
2. score of a token = gradient . embedding; of a unit = the sum over its tokens.

Cost: one forward and one backward (with `per_output` one backward an output).
Reference: Shrikumar et al. 2016 (arXiv:1605.01713), sec. 3.2.
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.gradient import gradients
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question


@register
class InputXGradient(AttributionMethod):
    """Each token's embedding times its gradient: its share in the output of a model that were linear here."""

    id: ClassVar[str] = "input_x_gradient"
    family: ClassVar[str] = "gradient"
    techniques: ClassVar[tuple[str, ...]] = ("A9",)
    reference: ClassVar[Reference] = Reference(
        authors="Shrikumar, Greenside, Shcherbina & Kundaje",
        year=2016,
        title="Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
        where="arXiv:1605.01713",
        equation="sec. 3.2",
    )
    needs: ClassVar = ("gradients",)
    passes: ClassVar[str] = "1 forward + 1 backward"

    per_output: bool = Field(
        False, description="also score every output of a longer target, one backward each"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward (one an output with `per_output`)."""
        return 1, outputs if self.per_output else 1

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [U] of the total, and [R, U] of the outputs where asked."""
        x = q.embeddings()
        slots = (gradients(q, x[None], self.per_output)[0] * x).sum(-1).double().cpu().numpy()
        got = by_unit(slots, units)
        return Scores(total=got[-1], each=got[:-1] if self.per_output else None)
