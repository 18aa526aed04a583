"""Attention rollout: attention of every layer multiplied down to the tokens, half of each layer left to the residual path.

1. A = mean over heads of a layer's pattern; A' = 1/2 A + 1/2 I;
2. rollout = A'_L ... A'_1, rows that sum to 1; only the row where the output is read is carried (of a pooled output, rows
   in the shares in which they are read);
3. in an encoder-decoder a decoder layer is two such parts: 1/2 self-attention + 1/2 I, then 1/2 cross-attention to the
   encoder's rollout + 1/2 I.

Every product is of non-negative numbers: a token is credited for each path to it, whatever that path does to the output.

Cost: 1 forward (and 1 backward from the last residual, a pooled output).
Reference: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", eq. 1. The decoder is by the same rule.
"""

from typing import ClassVar

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attention.token_routes import look_along, scored
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.question import Question

NOTE = "Half of every layer is given to the residual path, whatever the model does with it."


@register
class AttentionRollout(AttributionMethod):
    """Attention multiplied through the layers, with half of each for the residual path."""

    id: ClassVar[str] = "attention_rollout"
    family: ClassVar[str] = "attention"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("B9",)
    reference: ClassVar[Reference] = Reference(
        authors="Abnar & Zuidema", year=2020, title="Quantifying Attention Flow in Transformers",
        where="arXiv:2005.00928", equation="eq. 1",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 forward (+ 1 backward a pooled output)"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward, and a short backward an output."""
        return 1, outputs

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Shares [R, U]: over all slots, special tokens included, they sum to 1 an output."""
        seen = look_along(q, self.id)
        slots, lost = seen.arrived(seen.routes(residual=True))
        return scored(slots, units, lost, NOTE)
