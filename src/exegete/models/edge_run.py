"""Passes at the level of edges: what every part writes, and runs in which chosen edges carry something else.

1. read z of every head and what each feed-forward part adds; head h writes z_h W_O^h, times the block's multiplier, or,
   behind a norm on what attention adds, through that norm with its scale held at this very pass (a share of a sum that is
   exact; its bias is dealt out evenly);
2. in an edge run, every reader r reads  resid + sum over cut writers w of (given_w - written_w),  where `written` is what w
   writes in this run and `given` what it wrote elsewhere; the residual itself is left alone;
3. readers of one layer whose edges are cut alike share one recomputation of the attention's q, k and v: the norm and the
   model's own attention module on the changed input, left as soon as v is seen;
4. feed-forward parts and the logits read the changed residual through their own norm.

Nothing cut gives the model's own pass bit for bit; everything cut gives the pass of `given`.

Shapes: writes [W, batch, tok, d]; cut [batch, R, W] bool. Cost: 1 forward and up to H + 2 KV attention inputs a layer.
Memory: 2 W residuals. Reference: Conmy et al. 2023 (arXiv:2304.14997), sec. 3; Goldowsky-Dill et al. 2023
(arXiv:2304.05969).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.errors import UnsupportedModel
from exegete.core.site import Site
from exegete.models.attention import Tap
from exegete.models.capture import Trace
from exegete.models.edges import EdgeGraph
from exegete.models.lab import Lab
from exegete.models.norms import freeze
from exegete.models.ports import join
from exegete.models.slots import find_input, put_input

_CLOSE = 1e-3


class _Enough(Exception):
    """q, k and v have been seen: the rest of the attention need not run."""


@dataclass
class EdgeRun:
    """One pass that notes what is written, and, with `cut` and `given`, changes what is read."""

    lab: Lab
    graph: EdgeGraph
    cut: Tensor | None = None
    given: Tensor | None = None
    written: list[Tensor] = field(default_factory=list)
    resid: Tensor = field(default_factory=lambda: torch.zeros(0))
    fresh: dict[tuple[int, str], list[tuple[list[int], Tensor]]] = field(default_factory=dict)
    misfit: float = 0.0

    def __call__(self, inputs: Mapping[str, Any], rows: Tensor | None = None) -> Trace:
        """The pass, counted. Raises `UnsupportedModel` where a part does not read what the map says."""
        sites = self._sites()
        if self.cut is None:
            with torch.no_grad():
                found = self.lab.run(inputs, reduce=sites | self._checks(), rows=rows)
            if not self.misfit <= _CLOSE:
                raise UnsupportedModel(
                    f"You asked for the edges of {self.lab.model.name}.",
                    f"What its parts read is not the norm of the residual: they differ by {self.misfit:.1e}.",
                    "Use patching of its heads and layers instead: node_patching.",
                )
            return found
        with torch.no_grad(), self._hooks():
            return self.lab.run(inputs, reduce=sites, edit=self._edits(), rows=rows)

    @property
    def writes(self) -> Tensor:
        """What every writer wrote [W, batch, tok, d]."""
        return torch.stack(self.written)

    # -- what is noted -------------------------------------------------------------------------------------------------

    def _site(self, kind: str, layer: int | None) -> Site:
        return Site(kind, layer=layer, stack=self.graph.stack)

    def _sites(self) -> dict[Site, Any]:
        found: dict[Site, Any] = {}
        for i in range(self.graph.n_layers):
            found[self._site("resid_pre", i)] = partial(self._enter, i)
            found[self._site("z", i)] = partial(self._heads, i)
            found[self._site("attn_add", i)] = self._middle
            found[self._site("mlp_add", i)] = self._mlp
        return found

    def _enter(self, layer: int, x: Tensor) -> None:
        self.resid = x.clone()
        if layer == 0:
            self.written = [self.resid]

    def _heads(self, layer: int, z: Tensor) -> None:
        self.written += list(head_writes(self.lab, self.graph, layer, z))

    def _middle(self, add: Tensor) -> None:
        if not self.graph.parallel:
            self.resid = self.resid + add

    def _mlp(self, add: Tensor) -> None:
        self.written.append(add.clone())

    def _checks(self) -> dict[Site, Any]:
        """Does every part read its norm of the residual?"""
        found: dict[Site, Any] = {}
        for i in range(self.graph.n_layers):
            found[self._site("attn_in", i)] = partial(self._compare, i, "attn")
            found[self._site("mlp_in", i)] = partial(self._compare, i, "mlp")
        return found

    def _compare(self, layer: int, part: str, x: Tensor) -> None:
        gap = (self._normed(layer, part, self.resid) - x).abs().max() / x.abs().max().clamp_min(1.0)
        self.misfit = max(self.misfit, float(gap.nan_to_num(torch.inf)))

    def _normed(self, layer: int, part: str, x: Tensor) -> Tensor:
        """What a part reads of a residual, where the residual lies."""
        return norm_before(self.lab, self.graph, layer, part)(x).to(x.device)

    # -- what is changed -----------------------------------------------------------------------------------------------

    def _edits(self) -> dict[Site, Any]:
        found: dict[Site, Any] = {self._site("final_in", None): self._logits}
        for i in range(self.graph.n_layers):
            found |= {self._site(kind, i): partial(self._swap, i, kind) for kind in "qkv"}
            found[self._site("mlp_in", i)] = partial(self._mlp_in, i)
        return found

    def _swap(self, layer: int, kind: str, x: Tensor) -> Tensor:
        for heads, new in self.fresh.get((layer, kind), ()):
            x = x.clone()
            x[:, heads] = new
        return x

    def _mlp_in(self, layer: int, x: Tensor) -> Tensor:
        delta = self._delta(self._cut(self.graph.mlp_reader(layer)))
        return x if delta is None else self._normed(layer, "mlp", self.resid + delta)

    def _logits(self, x: Tensor) -> Tensor:
        delta = self._delta(self._cut(len(self.graph.readers) - 1))
        return x if delta is None else x + delta

    def _cut(self, reader: int) -> Tensor:
        """Which writers a reader does not hear from this run [batch, writers before it]."""
        cut: Any = self.cut
        return cut[:, reader, : self.graph.upstream(reader)]

    def _delta(self, cut: Tensor) -> Tensor | None:
        """What a reader reads in addition [batch, tok, d]; None for nothing."""
        given: Any = self.given
        some = cut.any(0).nonzero()[:, 0].tolist()
        if not some:
            return None
        weight = cut[:, some].to(self.resid)
        change = torch.stack([given[w] - self.written[w] for w in some])
        return torch.einsum("bw,wbtd->btd", weight.expand(len(self.resid), -1), change)

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        """Before an attention module runs, the q, k and v of the readers whose input is changed are made."""
        bound, handles = self.lab.model.map, []
        tower = bound.tower(self.graph.stack)
        part = tower.table.block.attn
        try:
            for i, layer in enumerate(tower.layers):
                module = bound.at(join(layer.path, part.reads or part.out))
                hook: Any = partial(self._attention, i)
                handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
            yield
        finally:
            for handle in handles:
                handle.remove()
            self.fresh.clear()

    def _attention(self, layer: int, module: nn.Module, args: Any, kwargs: Any) -> None:
        graph = self.graph
        where = graph.layer_readers(layer)
        cut: Any = self.cut[:, where, : graph.upstream(where.start)] if self.cut is not None else None
        kinds, which = torch.unique(cut.transpose(0, 1).flatten(1), dim=0, return_inverse=True)
        slot: Any = find_input(args, kwargs)
        for g, flat in enumerate(kinds):
            delta = self._delta(flat.unflatten(0, (cut.shape[0], -1)))
            if delta is None:
                continue
            normed = self._normed(layer, "attn", self.resid + delta)
            seen = self._seen(module, *put_input(slot, args, kwargs, normed))
            members = (which == g).nonzero()[:, 0].tolist()
            for kind in "qkv":
                heads = [graph.readers[where.start + m].head for m in members if self._kind(where, m) == kind]
                if heads:
                    self.fresh.setdefault((layer, kind), []).append((heads, seen[kind][:, heads]))

    def _kind(self, where: slice, member: int) -> str:
        return self.graph.readers[where.start + member].kind

    def _seen(self, module: nn.Module, args: Any, kwargs: Any) -> dict[str, Tensor]:
        """q, k and v that the module makes of an input. `forward` itself: calling it would run the hooks of the trace."""
        seen: dict[str, Tensor] = {}

        def visit(kind: str, x: Tensor) -> Tensor:
            seen[kind] = x.to(self.resid.device, copy=True)
            if len(seen) == 3:
                raise _Enough
            return x

        try:
            with Tap(visit, frozenset("qkv"), frozenset(), self.graph.n_heads, self.graph.n_kv_heads):
                module.forward(*args, **kwargs)
        except _Enough:
            pass
        return seen


def norm_before(lab: Lab, graph: EdgeGraph, layer: int, part: str) -> nn.Module:
    """The norm in front of a part of a layer; nothing is changed where there is none."""
    path = lab.model.map.part_path(graph.stack, layer, part, "norm")
    return lab.model.map.at(path) if path else nn.Identity()


def head_writes(lab: Lab, graph: EdgeGraph, layer: int, z: Tensor) -> Tensor:
    """What each head of a layer adds to the residual [head, batch, tok, d], from z [batch, head, tok, dh]."""
    bound = lab.model.map
    part = bound.tower(graph.stack).table.block.attn
    weight, bias = bound.linear(bound.part_path(graph.stack, layer, "attn", "proj"))
    found = torch.einsum("bhtd,hdm->hbtm", z, weight.unflatten(0, (graph.n_heads, -1)))
    if part.add and part.add != part.proj:
        # `forward` itself: calling the module would run the hooks of the very trace that asks.
        frozen = freeze(
            bound.at(bound.part_path(graph.stack, layer, "attn", "add")).forward, found.sum(0) + bias
        )
        found = frozen.linear(found + bias / graph.n_heads) + frozen.bias / graph.n_heads
    if part.scale:
        found = found * getattr(bound.block(graph.stack, layer), part.scale)
    return found
