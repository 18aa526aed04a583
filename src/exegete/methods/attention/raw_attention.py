"""Raw attention: where the last layer looks from the place where the output is read.

1. read the patterns of the last layer, mean over heads;
2. take the row of the place where the output is read (of a pooled output, rows in the shares in which they are read). In an
   encoder-decoder, half is the decoder's attention to itself, half its attention to the source.

The places of the last layer are taken for the tokens that stand there, though by then they hold much else: this is the
baseline that rollout and flow are measured against.

Cost: 1 forward (and 1 backward from the last residual, a pooled output).
Reference: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", sec. 2.
"""

from typing import ClassVar

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attention.token_routes import look_along, scored
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.question import Question


@register
class RawAttention(AttributionMethod):
    """Attention of the last layer from the place where the output is read."""

    id: ClassVar[str] = "raw_attention"
    family: ClassVar[str] = "attention"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("B9",)
    reference: ClassVar[Reference] = Reference(
        authors="Abnar & Zuidema", year=2020, title="Quantifying Attention Flow in Transformers",
        where="arXiv:2005.00928", equation="sec. 2",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 forward (+ 1 backward a pooled output)"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward, and a short backward an output."""
        return 1, outputs

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Shares [R, U]: over all slots, special tokens included, they sum to 1 an output."""
        seen = look_along(q, self.id)
        slots, lost = seen.arrived(seen.top())
        return scored(
            slots, units, lost, "Places of the last layer are taken for the tokens that stand there."
        )
