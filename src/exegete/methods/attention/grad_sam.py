"""Grad-SAM: attention weighted by the positive part of its gradient, over all layers and heads at once.

1. run the model once, reading every attention pattern A [head, query, key] with its graph;
2. G = gradient of the output with respect to A; H = A * max(G, 0);
3. score of token i = mean over layers, heads and slots of H summed over the keys that i looks at (`side="query"`, as
   published), or over the queries that look at i (`side="key"`).

Places of every layer are taken for the tokens that stand there. A query's side credits the token that looks, not the one
it looks at; cross-attention goes to the decoder's tokens by query and to the source by key.

Scores are magnitudes (>= 0) and do not sum to the output. Cost: 1 forward, 1 backward an output.
Reference: Barkan et al. 2021, "Grad-SAM: Explaining Transformers via Gradient Self-Attention Maps", eq. 3-5.
"""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.site import Site
from exegete.core.text import Unit
from exegete.methods.attention.token_routes import only_branch, pattern_sites, slots_of
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.capture import trace
from exegete.models.model import still
from exegete.models.question import Question

NOTE = "Scores are magnitudes of attention times gradient; they do not add up to the output."


@register
class GradSam(AttributionMethod):
    """Attention times the positive part of its gradient, mean over layers and heads."""

    id: ClassVar[str] = "grad_sam"
    family: ClassVar[str] = "attention"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("B10",)
    reference: ClassVar[Reference] = Reference(
        authors="Barkan et al.", year=2021, title="Grad-SAM: Explaining Transformers via Gradient Self-Attention Maps",
        where="arXiv:2204.11073", equation="eq. 3-5",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 forward + n_outputs backwards"

    side: Literal["query", "key"] = Field(
        "query", description="credit the token that looks (as published) or the token looked at"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward an output."""
        return 1, outputs

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Magnitudes [R, U] and their sum [U]. Raises `TargetError` for a contrast of continuations."""
        only_branch(q, self.id)
        each = by_unit(self._slots(q), units)
        return Scores(each.sum(0), each, signed=False, notes=(NOTE,))

    def _slots(self, q: Question) -> np.ndarray:
        """Score of every slot for every output [R, S]."""
        sites = [s for each in pattern_sites(q) for s in each]
        with still(q.model.module), torch.enable_grad(), trace(q.model, sites, keep_graph=True) as t:
            values = q.run(q.embeddings()[None])[0]
            seen = [t[s] for s in sites]
            rows = [
                self._row(q, sites, seen, torch.autograd.grad(v, seen, retain_graph=True, allow_unused=True))
                for v in values
            ]
        q.meter.backwards += len(rows)
        return np.stack(rows)

    def _row(
        self, q: Question, sites: list[Site], seen: list[Tensor], found: tuple[Tensor | None, ...]
    ) -> np.ndarray:
        """Scores [S] of one output; a pattern that the output does not depend on adds nothing."""
        out = np.zeros(len(q.ids))
        for site, pattern, gradient in zip(sites, seen, found):
            if gradient is None:
                continue
            weighed = (pattern * gradient.clamp_min(0)).detach()[0].double().mean(0)
            of_queries, of_keys = slots_of(q, site)
            slots, held = (of_queries, weighed.sum(1)) if self.side == "query" else (of_keys, weighed.sum(0))
            np.add.at(out, slots[slots >= 0], held.cpu().numpy()[slots >= 0])
        return out / (len(sites) * len(q.ids))
