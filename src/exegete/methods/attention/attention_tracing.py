"""Layerwise attention tracing: relevance handed down from the output along attention, all heads alike.

1. relevance 1 stands at the place where the output is read (of a pooled output, in the shares in which places are read);
2. layer by layer: r_j = mean over heads of sum_i A_ij r_i; the paper sums over heads, a factor that is the same for all tokens;
3. in an encoder-decoder the two attentions of a decoder layer count alike, as its heads do.

Equal weights of heads and no residual path are the known caveats of the method: what a layer passes on unread is not seen.

Cost: 1 forward (and 1 backward from the last residual, a pooled output).
Reference: Wu, Nguyen & Ong 2020, "Structured Self-Attention Weights Encode Semantics in Sentiment Analysis", sec. 3.
"""

from typing import ClassVar

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attention.token_routes import look_along, scored
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.question import Question

NOTE = "Residual paths are left out, and all heads count alike."


@register
class AttentionTracing(AttributionMethod):
    """Layerwise attention tracing: relevance handed down along attention alone, heads alike."""

    id: ClassVar[str] = "attention_tracing"
    family: ClassVar[str] = "attention"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("E22",)
    reference: ClassVar[Reference] = Reference(
        authors="Wu, Nguyen & Ong", year=2020, title="Structured Self-Attention Weights Encode Semantics in Sentiment Analysis",
        where="BlackboxNLP 2020", equation="sec. 3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 forward (+ 1 backward a pooled output)"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward, and a short backward an output."""
        return 1, outputs

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Shares [R, U]: over all slots, special tokens included, they sum to 1 an output."""
        seen = look_along(q, self.id)
        slots, lost = seen.arrived(seen.routes(residual=False))
        return scored(slots, units, lost, NOTE)
