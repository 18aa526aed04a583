"""Attention flow: the largest flow from the output to each token, with attention as the capacity of the edges.

1. A = mean over heads of a layer's pattern; an edge's capacity is that of 1/2 A + 1/2 I (an encoder-decoder as in rollout);
2. the place where the output is read is the source (of a pooled output, a source that feeds places in the shares in which
   they are read), the tokens of one unit together the sink;
3. one maximum flow a unit and output (`ops.max_flow`); outputs read at the same place share it.

Flows to different units may use the same edges, so they do not sum to anything; a word is the sink of all its tokens at
once, and gets at most the sum of what they get alone. For the same reason no single flow gives all values: each sink is
solved for itself, on a graph that is laid out once.

Cost: 1 forward (and 1 backward from the last residual, a pooled output), and U flows of L n^2 edges each.
Reference: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", sec. 3. The decoder is by the same rule.
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.attention.token_routes import BLIND, kept, look_along
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.question import Question
from exegete.ops.max_flow import max_flows

FULL = 1e-6  # a flow this close to 1 is all there is
NOTE = "Flows to different units share edges; they do not add up."


@register
class AttentionFlow(AttributionMethod):
    """Maximum flow from the output to each unit, attention being the capacity."""

    id: ClassVar[str] = "attention_flow"
    family: ClassVar[str] = "attention"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("B9",)
    reference: ClassVar[Reference] = Reference(
        authors="Abnar & Zuidema", year=2020, title="Quantifying Attention Flow in Transformers",
        where="arXiv:2005.00928", equation="sec. 3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 forward (+ 1 backward a pooled output)"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward, and a short backward an output."""
        return 1, outputs

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Flows [R, U] in [0, 1], and their sum over outputs [U]."""
        seen = look_along(q, self.id)
        routes = seen.routes(residual=True)
        sinks = [seen.places(routes, u) for u in units]
        starts, which = np.unique(seen.reads, axis=0, return_inverse=True)
        found = [max_flows(routes, start, sinks) for start in starts]
        each = np.stack([found[i].values for i in which.ravel()])
        _, lost = seen.arrived(routes)
        made, gap = max(f.lost for f in found), max(f.gap for f in found)
        checks = (
            kept(lost),
            Check.at_most("flow kept", made, 0.0, "flow made or lost in any place"),
            Check.at_most(
                "flow is maximal", gap, 0.0, "capacity of a cut that the flow fills, minus the flow"
            ),
        )
        return Scores(each.sum(0), each, signed=False, checks=checks, notes=(NOTE, BLIND, *_full(each)))


def _full(each: np.ndarray) -> tuple[str, ...]:
    """A warning where units take all that flows from the output, so that they cannot be told apart."""
    full = int((each >= 1 - FULL).all(0).sum())
    if full < 2:
        return ()
    return (
        f"{full} of {each.shape[1]} units can take all that flows from the output: flow does not order them.",
    )
