"""A logit as the exact sum of what every part of the model wrote, at one position, on raw weights.

1. one pass reads, at the measured position alone, what each part adds, what its heads carry (z), its hidden units, and the
   residuals that norms stand on;
2. the direction of the logit at the last residual comes from `models.readout`;
3. walk back through the layers: a part's share is <what it adds, direction>. Where a norm stands on the sum (post-norm) the
   direction passes back through that norm, frozen at its activation; where a norm or a factor stands on what a part adds
   (sandwich norm, scaled residual), heads and units see the direction through it;
4. a head's share is <z_h, W_O^h direction>, a unit's is its activation times <its row of W_down, direction>; constants
   (biases of output projections, of norms, of the head) are kept apart.

Every share but the constants is linear in what was written, and all of them sum to the logit before a soft cap. Shapes: z
[batch, head, dh]; direction [id, batch, d]; shares [id, batch, ...]. Heads are query heads; with grouped queries the heads of
a group share keys and values but have shares of their own.

Cost: the one pass, and O(id * layers * (d^2 + d * neurons)) numbers. References: Elhage et al. 2021; nostalgebraist 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from exegete.core.site import Site, Stack
from exegete.models.family import ModelMap
from exegete.models.lab import Aim, Lab
from exegete.models.norms import freeze
from exegete.models.readout import Readout, readout

PARTS = (("attn", ""), ("cross", "cross_"), ("mlp", ""))


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares [id, batch, ...] of the logits before the cap.

    embedding [id, batch]; attention, cross and feed_forward [id, batch, layer] are what whole parts add; heads and cross_heads
    [id, batch, layer, head]; projection [id, batch] the biases of attention's output projections (inside attention and
    cross); norms [id, batch] the biases of norms on sums; head [id, batch] the constant of the way from last residual to
    logit. Of the first ids, where asked for: units, layer -> [few, batch, unit], for feed-forward parts whose hidden units can
    be seen; sources [few, batch, layer, head, tok], which split heads by the token they read. `said` [id, batch] are the
    model's own logits.
    """

    embedding: Tensor
    attention: Tensor
    feed_forward: Tensor
    heads: Tensor
    projection: Tensor
    norms: Tensor
    head: Tensor
    readout: Readout
    said: Tensor
    cross: Tensor | None = None
    cross_heads: Tensor | None = None
    units: dict[int, Tensor] = field(default_factory=dict)
    sources: Tensor | None = None
    gap: float = 0.0  # how far heads, units and biases are from what their parts add, at most

    @property
    def total(self) -> Tensor:
        """The sum [id, batch] of all shares: the logit before the cap."""
        cross = 0.0 if self.cross is None else self.cross.sum(-1)
        whole = self.attention.sum(-1) + self.feed_forward.sum(-1) + cross
        return self.embedding + whole + self.norms + self.head


@dataclass
class _Walk:
    """The state of a walk back: the direction u [id, batch, d], what was read, the constants so far, and for how many of the
    ids units and sources are wanted.
    """

    bound: ModelMap
    stack: Stack
    at: dict[Site, Tensor]
    u: Tensor
    norms: Tensor
    projection: Tensor
    gap: Tensor
    units: int = 0
    sources: int = 0

    def site(self, kind: str, layer: int) -> Site:
        """A site of a layer of this stack."""
        return Site(kind, layer=layer, stack=self.stack)

    def module(self, layer: int, part: str, role: str) -> Any:
        """The live module in a role of a part; None where there is none."""
        path = self.bound.part_path(self.stack, layer, part, role)
        return self.bound.at(path) if path else None


def decompose(lab: Lab, aim: Aim, ids: Tensor, *, units: int = 0, sources: int = 0) -> Shares:
    """Shares of the logits of `ids` [id, batch] at the first row of every text of an aim, with one pass. `units` and
    `sources` say of how many of the ids these are wanted. Raises `ModelError`.
    """
    bound = lab.model.map
    stack = bound.stacks[-1]
    seen = lab.run(aim.inputs, reduce=_reducers(lab, aim, units, sources), rows=aim.positions)
    at = {s: seen[s] for s in seen.sites}
    out = readout(bound, at[Site("final_in", stack=stack)], ids.to(lab.model.device))
    zero = torch.zeros_like(out.constant)
    walk = _Walk(bound, stack, at, out.direction, zero, zero, zero.max(), units, sources)
    layers = [_layer(walk, i) for i in reversed(range(bound.n_layers))][::-1]
    embedding = (at[walk.site("resid_pre", 0)] * walk.u).sum(-1)
    at_row = torch.arange(len(aim), device=ids.device)
    said = aim.at_rows(seen.logits)[:, 0][at_row, ids]
    return _shares(walk, layers, embedding, out, said)


def _shares(
    walk: _Walk, layers: list[dict[str, Any]], embedding: Tensor, out: Readout, said: Tensor
) -> Shares:
    def stacked(name: str) -> Any:
        return torch.stack([x[name] for x in layers], 2) if name in layers[0] else None

    return Shares(
        embedding=embedding,
        attention=stacked("attn"),
        feed_forward=stacked("mlp"),
        heads=stacked("attn_heads"),
        projection=walk.projection,
        norms=walk.norms,
        head=out.constant,
        readout=out,
        said=said,
        cross=stacked("cross"),
        cross_heads=stacked("cross_heads"),
        units={i: x["units"] for i, x in enumerate(layers) if "units" in x},
        sources=stacked("sources"),
        gap=float(walk.gap),
    )


def _layer(walk: _Walk, i: int) -> dict[str, Any]:
    """Shares of the parts of one layer, last part first; the walk's direction moves to before the layer."""
    block = walk.bound.tower(walk.stack).table.block
    found: dict[str, Any] = {}
    for part, prefix in reversed(PARTS):
        if part == "cross" and block.cross is None:
            continue
        add = walk.at[walk.site(f"{prefix}{'mlp' if part == 'mlp' else 'attn'}_add", i)]
        after = walk.module(i, part, "after")
        if after is not None:
            norm = freeze(after, _before(walk, i, part) + add)
            walk.norms = walk.norms + (walk.u * norm.bias).sum(-1)
            walk.u = norm.transpose(walk.u)
        found[part] = (add * walk.u).sum(-1)
        found.update(_inside(walk, i, part, prefix, found[part]))
    return found


def _inside(walk: _Walk, i: int, part: str, prefix: str, whole: Tensor) -> dict[str, Tensor]:
    """Shares of the heads or units of a part, whose whole is known; notes what is missing."""
    kind = walk.site("mlp_act" if part == "mlp" else f"{prefix}z", i)
    few = len(walk.u) if part != "mlp" else walk.units
    if not few or kind not in walk.at:
        return {}
    carried = walk.at[kind]
    flat = carried.flatten(1)
    weight, bias = walk.bound.linear(walk.bound.part_path(walk.stack, i, part, "proj"))
    u, constant = _inner(walk, i, part, flat @ weight + bias)
    u, constant = u[:few], (u * bias).sum(-1)[:few] + constant[:few]
    seen = u @ weight.T
    shares = flat * seen
    walk.gap = torch.maximum(walk.gap, (shares.sum(-1) + constant - whole[:few]).abs().max())
    if part == "mlp":
        return {"units": shares}
    walk.projection = walk.projection + constant
    found = {f"{part}_heads": shares.unflatten(-1, carried.shape[1:]).sum(-1)}
    if walk.sources and part == "attn":
        found["sources"] = _sources(walk, i, seen[: walk.sources].unflatten(-1, carried.shape[1:]))
    return found


def _sources(walk: _Walk, i: int, seen: Tensor) -> Tensor:
    """Shares [few, batch, head, tok]: what a head carries from each token, by how z is seen [few, batch, head, dh]."""
    pattern, v = walk.at[walk.site("pattern", i)], walk.at[walk.site("v", i)]
    spread = v.repeat_interleave(pattern.shape[1] // v.shape[1], 1)
    return torch.einsum("bht,bhte,kbhe->kbht", pattern.to(v.dtype), spread, seen)


def _before(walk: _Walk, i: int, part: str) -> Tensor:
    """The residual that a part's addend is added to."""
    block = walk.bound.tower(walk.stack).table.block
    kinds = {"attn": "resid_pre", "cross": "resid_mid", "mlp": "cross_resid" if block.cross else "resid_mid"}
    return walk.at[walk.site("resid_pre" if block.parallel else kinds[part], i)]


def _inner(walk: _Walk, i: int, part: str, raw: Tensor) -> tuple[Tensor, Tensor]:
    """The direction at the return of a part's last matrix, and the constant of a norm between it and the residual."""
    table = getattr(walk.bound.tower(walk.stack).table.block, part)
    block = walk.bound.block(walk.stack, i)
    u = walk.u * (getattr(block, table.scale) if table.scale else 1.0)
    if table.add and table.add != table.proj and table.add != table.out:
        norm = freeze(walk.module(i, part, "add"), raw)
        return norm.transpose(u), (u * norm.bias).sum(-1)
    return u, torch.zeros_like(walk.norms)


def _reducers(lab: Lab, aim: Aim, units: int, sources: int) -> dict[Site, Callable[[Tensor], Tensor]]:
    """What is kept of each site: the measured position of every text, nothing else."""
    bound = lab.model.map
    stack = bound.stacks[-1]
    block = bound.tower(stack).table.block
    kinds = ["resid_pre", "attn_add", "z", "mlp_add"]
    kinds += ["mlp_act"] if units and bound.has(Site("mlp_act", layer=0, stack=stack)) else []
    kinds += ["cross_attn_add", "cross_z", "cross_resid"] if block.cross is not None else []
    kinds += ["pattern"] if sources else []
    kinds += [] if block.parallel else ["resid_mid"]
    at = aim.positions
    first = torch.zeros(len(aim), dtype=torch.long) if at is None else at[:, 0].cpu()
    sites = [Site(k, layer=i, stack=stack) for i in range(bound.n_layers) for k in kinds]
    found: dict[Site, Callable[[Tensor], Tensor]] = {
        s: _at(first, s.axes.split().index("tok")) for s in [*sites, Site("final_in", stack=stack)]
    }
    if sources:
        found.update({Site("v", layer=i, stack=stack): _whole for i in range(bound.n_layers)})
    return found


def _at(first: Tensor, axis: int) -> Callable[[Tensor], Tensor]:
    """The rows [batch, ...] of a tensor at a position a text, along the token axis."""

    def pick(x: Tensor) -> Tensor:
        rows = torch.arange(len(x), device=x.device)
        return x.movedim(axis, 1)[rows, first.to(x.device)].detach().clone()

    return pick


def _whole(x: Tensor) -> Tensor:
    return x.detach().clone()
