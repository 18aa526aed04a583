"""Saliency: how strongly does the output react to small changes of a token's embedding?

1. one forward and one backward at the input: the gradient of the output to each slot's embedding;
2. score of a token = the norm of its gradient; of a unit = the sum over its tokens. Never negative.

Cost: one forward and one backward (with `per_output` one backward an output).
Reference: Simonyan, Vedaldi & Zisserman 2014, sec. 3 (as a norm over the embedding: Mohebbi et al. 2021, eq. 3).
"""

from typing import ClassVar, Literal

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.gradient import gradients
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question

Norm = Literal["l2", "l1"]


@register
class Saliency(AttributionMethod):
    """How strongly the output reacts to a small change of each token: the norm of the gradient."""

    id: ClassVar[str] = "saliency"
    family: ClassVar[str] = "gradient"
    techniques: ClassVar[tuple[str, ...]] = ("A9",)
    reference: ClassVar[Reference] = Reference(
        authors="Simonyan, Vedaldi & Zisserman",
        year=2014,
        title="Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps",
        where="arXiv:1312.6034",
        equation="sec. 3",
    )
    needs: ClassVar = ("gradients",)
    passes: ClassVar[str] = "1 forward + 1 backward"

    norm: Norm = Field(
        "l2", description="norm of the gradient over the embedding: l2 or l1 (sum of absolute values)"
    )
    per_output: bool = Field(
        False, description="also score every output of a longer target, one backward each"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward (one an output with `per_output`)."""
        return 1, outputs if self.per_output else 1

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [U] of the total, and [R, U] of the outputs where asked; magnitudes."""
        grads = gradients(q, q.embeddings()[None], self.per_output)[0]
        slots = grads.norm(p=1 if self.norm == "l1" else 2, dim=-1).double().cpu().numpy()
        got = by_unit(slots, units)
        return Scores(total=got[-1], each=got[:-1] if self.per_output else None, signed=False)
