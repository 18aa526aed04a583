"""Deep Taylor decomposition (DTD): relevance of one sign, handed back by the z+ rule at every sum of the model.

1. explain the logit (relevance starts there, whatever scale is shown);
2. every sum y = sum_i c_i (linear layers, mixing of values by the pattern, residual additions, means, biases) shares the
   relevance of y among the contributions that have the sign of y, in proportion:
       R_i = sum_j (c_ij s_j)+ / sum_i' (c_i'j s_j)+ · R_j,     s_j = sign y_j
3. activations, norms (feature by feature) and soft caps pass relevance on; gated products share in halves; patterns are
   constants;
4. relevance of tokens + relevance absorbed by biases and positions = logit, and no token has relevance of the other sign.

Where the theory reaches. For a ReLU network with non-negative activations step 2 is exactly the z+ rule, the Taylor
expansion at the nearest root of each neuron with non-negative inputs (Montavon et al.). Hidden activations of
transformers have both signs: the sign s_j carries the rule over (a negative neuron is explained by what makes it
negative). Products and norms have no root point that conserves; their rules are those of AttnLRP, not Taylor steps.
A logit below zero is explained by relevance below zero. With a foil the explanation is the difference of two, and signed.

Cost: one forward (linear layers four times) and one backward, R more with `per_output`.
Reference: Montavon et al. 2017 (arXiv:1512.02479), the z+ rule. LRP, of which this is a case, may be covered by patents.
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question
from exegete.models.relevance import Propagation, moved, propagate, tolerance
from exegete.models.relevance_rules import Rules


@register
class DeepTaylor(AttributionMethod):
    """Relevance of one sign, shared at every sum among what pushed the same way (z+ rule)."""

    id: ClassVar[str] = "deep_taylor"
    family: ClassVar[str] = "decomposition"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("A21",)
    reference: ClassVar[Reference] = Reference(
        authors="Montavon, Lapuschkin, Binder, Samek & Müller",
        year=2017,
        title="Explaining NonLinear Classification Decisions with Deep Taylor Decomposition",
        where="arXiv:1512.02479",
        equation="z+ rule",
    )
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients")
    passes: ClassVar[str] = "1 forward + 1 backward"

    per_output: bool = Field(False, description="also explain every output by itself (one backward each)")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward, one more an output with `per_output`."""
        return 1, 1 + (outputs if self.per_output else 0)

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Total [U] and, with `per_output`, every output [R, U], of the logit."""
        logit = q if q.scale == "logit" else replace(q, scale="logit", _memo={})
        rules = Rules("z_plus", "cp")
        values, (whole, *rows) = propagate(logit, rules, each=self.per_output)
        each = by_unit(np.stack([row.slots for row in rows]), units) if rows else None
        note = (
            () if logit is q else (f"Relevance is of the logit ({whole.value:.4g}), not of the {q.scale}.",)
        )
        contrast = bool(q.against)
        same = bool((values >= 0).all() or (values <= 0).all())
        return Scores(
            total=by_unit(whole.slots, units),
            each=each,
            signed=True,
            checks=(
                *whole.checks(moved(logit, values), tolerance(q)),
                *(() if contrast or not same else (_one_sign(whole, tolerance(q)),)),
            ),
            notes=(*note, *whole.notes()),
        )


def _one_sign(p: Propagation, most: float) -> Check:
    against = (-p.slots if p.value >= 0 else p.slots).clip(min=0).sum()
    share = float(against / max(np.abs(p.slots).sum(), 1e-30))
    return Check.at_most(
        "relevance has one sign", share, most, "share of relevance against the sign of the explained logit"
    )
