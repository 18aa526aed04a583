"""Source and prefix share: how much of each generated token comes from the prompt, how much from what was said before?

1. for every output, hand back the relevance of its logit by rules that conserve it (`rule`: "positive" = agreeing
   contributions only, z+; "signed" = epsilon rule, magnitudes taken at the end), patterns constant;
2. divide by the sum over all tokens of text (prompt and prefix; special tokens are told apart in the notes), so that
   every output has exactly one unit of contribution to share out;
3. share of the prompt = sum over its tokens; entropy (nats) of the shares over the tokens, how spread they are.

For an encoder-decoder the prompt is the source and the prefix the decoder's own earlier tokens; for a causal model the
prompt is what was given. Use it with `prefix=True` and a generated or given continuation; without `prefix` rows sum
to the prompt's share. The total is the mean over outputs.

Cost: one forward, one backward an output.
Reference: Voita, Sennrich & Titov 2021 (2021.acl-long.91), which propagates LRP (alpha-beta rule) through
encoder-decoder transformers; the rules here are those of `deep_taylor` or `lrp`.
"""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import TargetError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question
from exegete.models.relevance import moved, propagate, tolerance
from exegete.models.relevance_rules import Rules
from exegete.ops.relevance import entropy, shares


@register
class SourceShare(AttributionMethod):
    """Share of the prompt and of the target's own prefix in every generated token; each output sums to 1."""

    id: ClassVar[str] = "source_share"
    family: ClassVar[str] = "decomposition"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("A25",)
    reference: ClassVar[Reference] = Reference(
        authors="Voita, Sennrich & Titov",
        year=2021,
        title="Analyzing the Source and Target Contributions to Predictions in Neural Machine Translation",
        where="2021.acl-long.91",
    )
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients")
    passes: ClassVar[str] = "1 forward + n_outputs backwards"
    tasks: ClassVar[tuple[str, ...]] = ("causal", "seq2seq")

    rule: Literal["positive", "signed"] = Field(
        "positive", description="agreeing contributions only (positive), or all, by magnitude (signed)"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward an output."""
        return 1, outputs

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Shares [R, U] and their mean [U]. Raises `TargetError` for a contrast."""
        if q.against:
            raise TargetError(
                "You asked for source and prefix shares of a contrast.",
                "A share is of one continuation.",
                "Drop `against`.",
            )
        logit = q if q.scale == "logit" else replace(q, scale="logit", _memo={})
        rules = Rules("z_plus" if self.rule == "positive" else "epsilon", "cp")
        values, rows = propagate(logit, rules, total=False, each=True)
        roles = np.array([t.role for t in q.tokens])
        part, special = shares(np.stack([row.slots for row in rows]), roles != "special")
        worst = max(rows, key=lambda row: row.gap)
        off = float(np.abs(part.sum(-1) - 1).max())
        return Scores(
            total=by_unit(part.mean(0), units),
            each=by_unit(part, units),
            signed=False,
            checks=(
                *worst.checks(moved(logit, values), tolerance(q)),
                Check.at_most(
                    "shares sum to one", off, 1e-9, "largest deviation over outputs, prompt and prefix"
                ),
            ),
            notes=_notes(q, part, special, roles),
        )


def _notes(q: Question, part: np.ndarray, special: np.ndarray, roles: np.ndarray) -> tuple[str, ...]:
    prompt = part[:, roles == "prompt"].sum(-1)
    spread = entropy(part)
    told = "; ".join(f"{o!r} {p:.2f} ({h:.2f} nats)" for o, p, h in zip(q.outputs, prompt, spread))
    return (
        f"Share of the prompt in each output (the rest is the prefix), and entropy of the shares: {told}.",
        f"Mean over outputs: prompt {prompt.mean():.3f}, prefix {1 - prompt.mean():.3f}.",
        f"Special tokens, outside the shares, received {special.mean():.3f} of all relevance on average.",
    )
