"""Layer-wise relevance propagation (LRP) with the rules for transformers of AttnLRP.

1. run the model once under the rules of `models.relevance_rules`: activations pass relevance on as it is, normalisers are
   constants, gated products share in halves, attention by `attention`, linear layers by `rule`;
2. one backward pass carries the output's relevance to the input embeddings; a token's score is its sum over the width;
3. count what biases, position embeddings and other constants absorbed on the way: relevance of all tokens + absorbed must
   be the output. That is a check; how much the tokens lack is told in the notes.

attention="cp" (default): patterns are constants (Ali et al. 2022, eq. 6). The model is then a sum of contributions, and on a model
    without biases the tokens receive the whole output exactly.
attention="attnlrp": relevance also flows into queries and keys; a softmax with input x, output s and gradient g then
    absorbs E_s[g] - Cov_s(x, g), which no rule hands to the tokens (Achtibat et al. 2024, prop. 3.2).
Both were equally faithful on the models this was tried on; `docs` hold the figures. "cp" is the default because it conserves.

Cost: one forward and one backward, R more backwards with `per_output`.
Reference: Montavon et al. 2019, section 10.2; Achtibat et al. 2024 (arXiv:2402.05602), propositions 3.1-3.4.
Patents: LRP may be covered by patents in some countries (for example US 11,263,521-type claims on relevance score
assignment); research use is common, commercial use should be cleared first.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.contract import AttributionMethod, Scores, by_unit
from exegete.models.question import Question
from exegete.models.relevance import moved, propagate, tolerance
from exegete.models.relevance_rules import AttentionRule, LinearRule, Rules


@register
class LRP(AttributionMethod):
    """Relevance of the output handed back layer by layer, each operation sharing it among its inputs.

    LRP may be covered by patents: clear commercial use first.
    """

    id: ClassVar[str] = "lrp"
    family: ClassVar[str] = "decomposition"
    techniques: ClassVar[tuple[str, ...]] = ("A22",)
    reference: ClassVar[Reference] = Reference(
        authors="Achtibat et al.",
        year=2024,
        title="AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers",
        where="arXiv:2402.05602",
        equation="prop. 3.1-3.4",
    )
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients")
    passes: ClassVar[str] = "1 forward + 1 backward"

    rule: LinearRule = Field(
        "epsilon", description="linear layers: epsilon (signed), gamma (agreeing contributions count more), z_plus"
    )
    epsilon: float = Field(0.0, ge=0, description="damping of rule='epsilon', in units of the layer's output")
    gamma: float = Field(0.25, ge=0, description="extra weight of agreeing contributions for rule='gamma'")
    attention: AttentionRule = Field("cp", description="patterns as constants (cp) or part of the path (attnlrp)")
    per_output: bool = Field(False, description="also explain every output by itself (one backward each)")

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Total [U], and with `per_output` every output [R, U]."""
        rules = Rules(self.rule, self.attention, self.epsilon, self.gamma)
        values, (whole,) = propagate(q, rules)
        each = None
        if self.per_output:
            _, rows = propagate(q, rules, each=True)
            each = by_unit(np.stack([row.slots for row in rows]), units)
        return Scores(
            total=by_unit(whole.slots, units),
            each=each,
            checks=whole.checks(moved(q, values), tolerance(q)),
            notes=(*whole.notes(), "LRP may be covered by patents: clear commercial use first."),
        )
