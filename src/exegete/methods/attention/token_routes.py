"""What attention methods read of a question: mean patterns of every layer, where the output is read, and the way to tokens.

1. run the text once and keep of each pattern the mean over its heads [to, from];
2. an output of a token is read at its position. A pooled output is read in shares: |gradient . residual| of the last layer,
   all on one token for CLS and last-token pooling;
3. `routes` joins the layers into a graph (`ops.routes`), `fold` brings what its input places hold back to the tokens. A
   classifier whose decoder reads the text again, one place to the right, has two input places a token; what arrives at its
   start token belongs to none.

Cost: 1 forward; 1 backward from the last residual an output of a pooled model. Memory: one layer's patterns.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import ModelError, TargetError
from exegete.core.site import Site
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.contracts.attribution import Scores, by_unit
from exegete.models.capture import trace
from exegete.models.model import still
from exegete.models.question import Branch, Question
from exegete.models.stack_slots import stack_slots
from exegete.ops.routes import Routes, carried, double, single

SUMS = 1e-9  # float64 sums of products of rows that sum to 1
BLIND = "Attention says nothing about which output: every target read at the same place has these scores."


@dataclass(frozen=True)
class TokenRoutes:
    """Mean attention [to, from] a layer of `own` (the only stack, or the encoder), `decoder` and `across`; `reads` [R, place].

    `slots` are the slots that the stacks read: of the first stack, and of the decoder (-1 for a start token of its own).
    """

    own: tuple[np.ndarray, ...]
    decoder: tuple[np.ndarray, ...]
    across: tuple[np.ndarray, ...]
    reads: np.ndarray
    slots: tuple[np.ndarray, np.ndarray]
    n_slots: int

    def routes(self, residual: bool) -> Routes:
        """All layers as a graph; with half of every layer for the residual path, or attention alone."""
        if self.decoder:
            return double(self.own, self.decoder, self.across, residual)
        return single(self.own, residual)

    def top(self) -> Routes:
        """The last layer alone, its places taken for the tokens they stand at."""
        if self.decoder:
            return double((), self.decoder[-1:], self.across[-1:], False)
        return single(self.own[-1:], False)

    def arrived(self, routes: Routes) -> tuple[np.ndarray, float]:
        """What arrives at every slot [R, slot], and how far the sum over all input places is from the 1 that was sent."""
        held = carried(routes, self.reads)
        out = np.zeros((len(self.reads), self.n_slots))
        for level, slots in zip(routes.inputs, self.slots):
            real = slots >= 0
            np.add.at(out.T, slots[real], held[level][:, real].T)
        total = np.sum([held[level].sum(1) for level in routes.inputs], 0)
        return out, float(np.abs(total - 1).max())

    def places(self, routes: Routes, unit: Unit) -> list[tuple[int, int]]:
        """The input places (level, place) of the tokens of a unit."""
        return [
            (level, place)
            for level, slots in zip(routes.inputs, self.slots)
            for place, slot in enumerate(slots)
            if slot in unit.tokens
        ]


def look_along(q: Question, method: str) -> TokenRoutes:
    """The attention of a question. Raises `TargetError` for a contrast of continuations, `ModelError` for unseen layers."""
    first = only_branch(q, method)
    sites = pattern_sites(q)
    mean = {s: _mean for each in sites for s in each}
    last = Site("final_in", stack=q.model.map.stacks[-1])
    pooled = first.rows[0].position is None
    with still(q.model.module), torch.set_grad_enabled(pooled):
        with trace(q.model, [last] if pooled else [], reduce=mean, keep_graph=pooled) as t:
            values = q.run(q.embeddings()[None])[0]
        reads = _shares(q, values, t[last]) if pooled else None
    found: list[tuple[np.ndarray, ...]] = [tuple(t[s] for s in each) for each in sites]
    own, decoder, across = found
    top = len((decoder or own)[-1])
    if reads is None:
        reads = np.eye(top)[[r.position or 0 for r in first.rows]]
    return TokenRoutes(own, decoder, across, reads, stack_slots(q), len(q.ids))


def only_branch(q: Question, method: str) -> Branch:
    """What is read of a question that is read in one pass; `TargetError` for one that takes two."""
    first, *more = q.branches
    if more:
        raise TargetError(
            f"You asked for the method {method!r} on a contrast between continuations of several tokens.",
            "They are read in two passes, each with its own attention.",
            "Explain one of them, or a contrast of two single tokens.",
        )
    return first


def scored(slots: np.ndarray, units: tuple[Unit, ...], lost: float, note: str) -> Scores:
    """Scores of units from shares of slots [R, slot], with the check that nothing was lost on the way."""
    each = by_unit(slots, units)
    return Scores(each.sum(0), each, signed=False, checks=(kept(lost),), notes=(note, BLIND))


def kept(lost: float) -> Check:
    """The check that shares sum to 1 over all input places."""
    words = "attention carried to all input places, special tokens included, sums to 1; largest difference over outputs"
    return Check.at_most("attention kept", lost, SUMS, words)


def pattern_sites(q: Question) -> list[list[Site]]:
    """Pattern sites of the first stack, of a decoder beside it, and of its cross-attention."""
    bound = q.model.map
    first, *more = bound.stacks
    wanted = [("pattern", first), *[(kind, s) for s in more for kind in ("pattern", "cross_pattern")]]
    found = [list(bound.sites(kind, stack)) for kind, stack in wanted]
    for (_, stack), sites in zip(wanted, found):
        layers = len(bound.tower(stack).layers)
        if len(sites) != layers:
            raise ModelError(
                f"You asked to follow the attention of {q.model.name} through its layers.",
                f"The attention of {layers - len(sites)} of {layers} layers cannot be seen.",
                "Choose a method that needs no attention, such as 'integrated_gradients'.",
            )
    return [*found, [], []][:3]


def _mean(pattern: Tensor) -> np.ndarray:
    """Mean over heads of the only text's pattern [to, from], in float64."""
    return pattern[0].detach().double().mean(0).cpu().numpy()


def _shares(q: Question, values: Tensor, last: Tensor) -> np.ndarray:
    """Share in which each pooled output reads each place [R, place], from the last residual [1, place, d]."""
    rows = []
    for value in values:
        (g,) = torch.autograd.grad(value, [last], retain_graph=True)
        weight = (last * g).sum(-1).abs()[0].detach().double().cpu().numpy()
        rows.append(weight / weight.sum() if weight.sum() > 0 else np.full(len(weight), 1 / len(weight)))
    q.meter.backwards += len(rows)
    return np.stack(rows)


def slots_of(q: Question, site: Site) -> tuple[np.ndarray, np.ndarray]:
    """Slots of the queries and of the keys of an attention; -1 for a place that belongs to none."""
    main, dec = stack_slots(q)
    decoder = site.stack == "dec" and len(q.model.map.stacks) > 1
    return dec if decoder else main, dec if decoder and site.kind == "pattern" else main
