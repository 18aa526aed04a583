"""Self-attention attribution of tokens: what the output owes to the attention paid to each of them.

1. Attr [head, query, key] of a layer: integrated gradients while its attention grows from nothing (`scaled_attention`);
2. the score of token j = sum over heads and queries of Attr[:, :, j], over all layers, or in the last layer alone
   (`layers="last"`: cheaper, and on the embedded models in less agreement with what removing the token does). In an
   encoder-decoder the last layer is the decoder's, its cross-attention included.

Scores of a layer sum (over all slots) to what its attention does to the output: F - F without it. Places of a layer are
taken for the tokens that stand there; by the last layer they hold much else (see `hidden_token_attribution`).

Cost: 1 forward, and n_steps + 1 forwards and backwards an attention, from its layer on ("auto": 17 to max_steps).
Reference: Hao, Dong, Wei & Xu 2021, "Self-Attention Attribution: Interpreting Information Interactions Inside Transformer".
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attention.scaled_attention import Steps, complete, weigh
from exegete.methods.attention.token_routes import only_branch, pattern_sites, slots_of
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question


@register
class AttAttr(AttributionMethod):
    """Integrated gradients of attention weights, summed for the token that is looked at."""

    id: ClassVar[str] = "attattr"
    family: ClassVar[str] = "attention"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("B11",)
    reference: ClassVar[Reference] = Reference(
        authors="Hao, Dong, Wei & Xu", year=2021, title="Self-Attention Attribution: Interpreting Information Interactions",
        where="arXiv:2004.11207", equation="eq. 3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = (
        "1 forward + n_steps + 1 forwards and backwards an attention (auto: 17 to max_steps)"
    )

    layers: Literal["last", "all"] = Field(
        "last", description="attention of the last layer, or of all layers"
    )
    n_steps: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = Field(
        "auto", description="points of the integral, a layer; auto: refined until the gap is under tolerance"
    )
    tolerance: float = Field(
        0.01, gt=0, le=1, description="gap allowed, as a share of what the attention changes"
    )
    max_steps: int = Field(512, ge=17, le=100_000, description="most points a layer of n_steps='auto'")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """Of the two attentions of a last layer, or of twelve layers (how many there are is the model's)."""
        steps = min(65, self.max_steps) if self.n_steps == "auto" else self.n_steps
        attentions = 2 if self.layers == "last" else 12
        return 1 + attentions * (steps + 1), attentions * (steps + 1)

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Signed scores [U] of the total output. Raises `TargetError` for a contrast of continuations."""
        only_branch(q, self.id)
        groups = [g for g in pattern_sites(q) if g]
        last = groups[1:] or groups
        sites = [s for g in groups for s in g] if self.layers == "all" else [g[-1] for g in last]
        steps = Steps(self.n_steps, self.tolerance, self.max_steps)
        found = weigh(q, sites, steps, lambda attr: attr.sum((1, 2)))
        slots = np.zeros(len(q.ids))
        for w in found:
            keys = slots_of(q, w.site)[1]
            np.add.at(slots, keys[keys >= 0], w.attr[keys >= 0])
        note = "Places of a layer are taken for the tokens that stand there."
        return Scores(by_unit(slots, units), checks=(complete(found, self.tolerance),), notes=(note,))
