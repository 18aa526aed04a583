"""Transformer relevance (Chefer): attention patterns weighted by their gradients, carried through the layers.

1. run the model once, reading every attention pattern A with its graph;
2. gradient of the output with respect to each pattern; per layer A' = mean over heads of (gradient * A)+;
3. carry: R starts as the identity; self-attention R <- R + A' R, so that R = (I + A'_L) ... (I + A'_1). In an encoder-decoder
   each stack carries its own map, and cross-attention adds to the map of decoder on source (`ops.relevance`);
4. read the row of the position that the output is made at: the target's own position, for a pooled classifier the
   positions the pooling reads (by |gradient · last residual|; one for CLS and last-token pooling). The identity that the
   row started with is taken off: a token is not credited for standing where the output is read. A classifier whose decoder
   reads the text again, one place to the right, holds a token at two places: their relevance is added.

Scores are magnitudes (>= 0) and do not sum to the output. Pattern times gradient stands for the LRP relevance of the
pattern (2021b), so that nothing but attention is needed. Several outputs: one row each, and their sum.

Cost: one forward and one backward an output.
Reference: Chefer, Gur & Wolf 2021a (arXiv:2012.09838), eq. 13-14; 2021b (arXiv:2103.15679), eq. 5-11.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import TargetError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.site import Site
from exegete.core.text import Unit
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.capture import trace
from exegete.models.model import still
from exegete.models.question import Question
from exegete.models.stack_slots import stack_slots
from exegete.ops.relevance import carry, cross, head_average


@register
class Chefer(AttributionMethod):
    """Attention weighted by its gradient, carried from the input to the position of the output."""

    id: ClassVar[str] = "chefer"
    family: ClassVar[str] = "decomposition"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("A27",)
    reference: ClassVar[Reference] = Reference(
        authors="Chefer, Gur & Wolf",
        year=2021,
        title="Transformer Interpretability Beyond Attention Visualization",
        where="arXiv:2012.09838; generic form arXiv:2103.15679",
        equation="eq. 13-14; eq. 5-11",
    )
    needs: ClassVar[tuple[Need, ...]] = ("text", "gradients", "sites")
    passes: ClassVar[str] = "1 forward + n_outputs backwards"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward an output."""
        return 1, outputs

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Magnitudes [R, U] and their sum [U]. Raises `TargetError` for a contrast of several tokens."""
        if len(q.branches) > 1:
            raise TargetError(
                "You asked for transformer relevance of a contrast between continuations of several tokens.",
                "They are read in two passes, whose attention cannot be weighed against each other.",
                "Explain one of them, or a contrast of two single tokens.",
            )
        each = by_unit(_relevance(q), units)
        note = "Scores are magnitudes of attention relevance; they do not add up to the output."
        return Scores(total=each.sum(0), each=each, signed=False, notes=(note,))


def _relevance(q: Question) -> np.ndarray:
    """Relevance of every slot for every output [R, S]."""
    sites = [s for s in q.model.map.sites() if s.kind in ("pattern", "cross_pattern")]
    last = Site("final_in", stack=q.model.map.stacks[-1])
    with still(q.model.module), torch.enable_grad(), trace(q.model, [*sites, last], keep_graph=True) as t:
        values = q.run(q.embeddings()[None])[0]
        seen = [t[s] for s in sites]
        rows = []
        for value, row in zip(values, q.branches[0].rows):
            found = torch.autograd.grad(value, [*seen, t[last]], retain_graph=True, allow_unused=True)
            layers = [(s, _layer(p, g)) for s, p, g in zip(sites, seen, found)]
            reads = _reads(t[last], found[-1]) if row.position is None else None
            rows.append(_row(q, layers, row.position, reads))
    q.meter.backwards += len(rows)
    return np.stack(rows)


def _layer(pattern: Tensor, gradient: Tensor | None) -> np.ndarray:
    """A' [to, from] of one layer; a pattern that the output does not depend on carries nothing."""
    g = torch.zeros_like(pattern) if gradient is None else gradient
    return head_average(pattern[0].detach().double().cpu().numpy(), g[0].double().cpu().numpy())


def _reads(last: Tensor, gradient: Tensor | None) -> np.ndarray:
    """Share in which a pooled output reads each position [T], from the last residual [1, T, d] and its gradient."""
    weight = np.zeros(last.shape[1])
    if gradient is not None:
        weight = (last * gradient).sum(-1).abs()[0].detach().double().cpu().numpy()
    return weight / weight.sum() if weight.sum() > 0 else np.full(len(weight), 1 / len(weight))


def _row(
    q: Question, layers: list[tuple[Site, np.ndarray]], position: int | None, reads: np.ndarray | None
) -> np.ndarray:
    """Relevance of the slots [S] at `position`, or in the shares `reads` over positions."""
    places = stack_slots(q)  # of the main stack or encoder, and of the decoder
    own = [np.eye(len(p)) for p in places]
    across = np.zeros((len(places[1]), len(places[0])))
    two = len(places[1]) > 0
    for site, attention in layers:
        side = int(two and site.stack == "dec")
        if site.kind == "cross_pattern":
            across = across + cross(own[1], attention, own[0])
        else:
            own[side] = carry(own[side], attention)
            across = carry(across, attention) if side else across
    weights = np.eye(len(own[two]))[position] if reads is None else reads
    within = weights @ (own[two] - np.eye(len(own[two])))
    return _onto(q, (weights @ across, within) if two else (within, np.zeros(0)))


def _onto(q: Question, held: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Relevance of the places of both stacks as that of slots [S]; a slot that both read holds both, a start token nothing."""
    out = np.zeros(len(q.ids))
    for slots, relevance in zip(stack_slots(q), held):
        np.add.at(out, slots[slots >= 0], relevance[slots >= 0])
    return out
