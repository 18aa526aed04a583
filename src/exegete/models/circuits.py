"""The matrices of every head in one shape for any family: W_Q, W_K, W_V [head, d, dh] and W_O [head, dh, d].

1. one pass over d + 1 texts of one token, in which what every attention reads is replaced: by each unit vector, and by
   zero. A rotation turns nothing at position 0, so q, k and v are W x + b there, whatever module made them: fused,
   interleaved, transposed (`Conv1D`), adapted or quantised. b is the answer to zero, the rows of W the rest;
2. norms on q and k inside the attention are held at scale 1 meanwhile (gain and centring kept), which leaves a linear map:
   exact up to one positive factor a token;
3. W_O is read from the output projection, through the norm or factor that stands on what is added (at scale 1);
4. `read` folds the norm in front of the attention into W (gain and centring; the scale, one positive factor a token, is left
   out), so that it reads the residual. `carried` does the same for norms on the sum between two layers (post-norm).

Key-value heads stay as they are, `kv_of(head)` names the one a query head reads. Bias of q, k, v: [head, dh].
Cost: d + 1 tokens in one forward each. Memory: the attention weights once more. Reference: Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits" (OV and QK circuits).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.site import Site, Stack
from exegete.models.edit import Set
from exegete.models.family import ModelMap
from exegete.models.lab import Lab
from exegete.models.norms import FrozenNorm, freeze
from exegete.models.prove import probe_inputs

KINDS = ("q", "k", "v")
_WRITES = 0.02  # of the largest W_V W_O: a head that writes less is as good as absent


@dataclass(frozen=True, eq=False)
class LayerCircuits:
    """Heads of one layer. q [head, d, dh], k and v [kvhead, d, dh], o [head, dh, d]; `bias` of q, k, v [head, dh].

    `norm` is what stands in front of the attention (None: it reads the residual as it is), `front` the same, live.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    bias: dict[str, Tensor]
    norm: FrozenNorm | None
    front: Callable[[Tensor], Tensor] | None = None

    @property
    def n_heads(self) -> int:
        """Query heads."""
        return len(self.q)

    def kv_of(self, head: int) -> int:
        """The key-value head that a query head reads."""
        return head // (len(self.q) // len(self.k))

    def each(self, kind: str) -> Tensor:
        """q, k or v for every query head [head, d, dh], as the attention reads its own input; shared ones repeated."""
        w: Tensor = getattr(self, kind)
        return w.repeat_interleave(len(self.q) // len(w), 0)

    def read(self, kind: str) -> Tensor:
        """The same, reading the residual in front of the norm, at scale 1."""
        w = self.each(kind)
        if self.norm is None:
            return w
        w = w * self.norm.gain[:, None]
        return w - w.mean(1, keepdim=True) if self.norm.centred else w


def circuits(lab: Lab) -> tuple[LayerCircuits, ...]:
    """The heads of every layer of the main stack (self-attention). Raises `SiteError` where q, k or v cannot be seen."""
    bound = lab.model.map
    stack = bound.stacks[-1]
    seen = _probed(lab, stack)
    return tuple(_layer(bound, stack, i, {k: seen[k][i] for k in KINDS}) for i in range(bound.n_layers))


def writing(layers: tuple[LayerCircuits, ...]) -> Tensor:
    """Which heads write at all [layer, head] bool: ||W_V W_O|| is at least 2 % of the largest."""
    size = torch.stack([(w.each("v") @ w.o).norm(dim=(1, 2)).cpu() for w in layers])
    return size >= _WRITES * size.max()


def turns(bound: ModelMap) -> bool:
    """Whether the model turns q and k by position: then their matrices are those of distance 0."""
    named = any("rotary" in type(m).__name__.lower() for m in bound.module.modules())
    return named or bool(getattr(bound.module.config, "rotary_dim", 0))


def carried(bound: ModelMap, writes: Tensor, start: int, stop: int) -> Tensor:
    """What attention of layer `start` adds, writes [..., d], as attention of layer `stop` finds it in the residual: through
    every norm on the sum in between, at scale 1. Unchanged in pre-norm families.
    """
    stack = bound.stacks[-1]
    for layer in range(start, stop):
        for part in ("attn", "cross", "mlp"):
            norm = _norm(bound, stack, layer, part, "after") if _has(bound, stack, part) else None
            writes = writes if norm is None else _through(norm, writes)
    return writes


def _probed(lab: Lab, stack: Stack) -> dict[str, list[Tensor]]:
    """q, k and v [head, d + 1, dh] of every layer: for each unit vector, then for zero."""
    bound, d = lab.model.map, lab.model.map.d_model
    layers = range(bound.n_layers)
    inputs = {k: v[:1, -1:] for k, v in probe_inputs(bound, 0).items()}
    rows = torch.cat([torch.eye(d), torch.zeros(1, d)])[:, None].to(lab.model.device, lab.model.dtype)
    at = {k: [Site(k, layer=i, stack=stack) for i in layers] for k in (*KINDS, "attn_in")}
    parts: dict[str, list[list[Tensor]]] = {k: [[] for _ in layers] for k in KINDS}
    with _plain_norms(bound, stack):
        for cut in lab.chunks(d + 1, 1):
            some = rows[cut]
            given = {k: v.expand(len(some), -1) for k, v in inputs.items()}
            edit = dict.fromkeys(at["attn_in"], Set(some))
            seen = lab.run(given, read=[s for k in KINDS for s in at[k]], edit=edit)
            for k in KINDS:
                for i in layers:
                    parts[k][i].append(seen[at[k][i]][:, :, 0])
    return {k: [torch.cat(p).movedim(0, 1) for p in parts[k]] for k in KINDS}


def _layer(bound: ModelMap, stack: Stack, i: int, seen: dict[str, Tensor]) -> LayerCircuits:
    bias = {k: x[:, -1] for k, x in seen.items()}
    w = {k: x[:, :-1] - x[:, -1:] for k, x in seen.items()}
    norm = _norm(bound, stack, i, "attn", "norm")
    front = None if norm is None else bound.at(bound.part_path(stack, i, "attn", "norm")).forward
    return LayerCircuits(w["q"], w["k"], w["v"], _out(bound, stack, i), bias, norm, front)


def _out(bound: ModelMap, stack: Stack, i: int) -> Tensor:
    """W_O [head, dh, d] as it reaches the residual: through a norm or factor on what is added, at scale 1."""
    tower = bound.tower(stack)
    part = tower.table.block.attn
    weight, _ = bound.linear(bound.part_path(stack, i, "attn", "proj"))
    found = weight.detach().unflatten(0, (tower.n_heads, -1))
    if part.add and part.add not in (part.proj, part.out):
        norm = _norm(bound, stack, i, "attn", "add")
        found = found if norm is None else _through(norm, found)
    return found * float(getattr(bound.block(stack, i), part.scale)) if part.scale else found


def _has(bound: ModelMap, stack: Stack, part: str) -> bool:
    return getattr(bound.tower(stack).table.block, part) is not None


def _norm(bound: ModelMap, stack: Stack, layer: int, part: str, role: str) -> FrozenNorm | None:
    """The norm in a role of a part, by its gain, bias and centring; None where there is none."""
    path = bound.part_path(stack, layer, part, role)
    module = bound.at(path) if path else None
    if module is None or isinstance(module, nn.Identity):
        return None
    return freeze(module.forward, _some(bound))


def _some(bound: ModelMap) -> Tensor:
    """An activation to freeze norms at, where only gain, bias and centring are wanted."""
    like = next(p for p in bound.module.parameters() if p.is_floating_point())
    x = torch.randn(1, bound.d_model, generator=torch.Generator().manual_seed(0))
    return x.to(bound.home or like.device, like.dtype if like.dtype.is_floating_point else torch.float32)


def _through(norm: FrozenNorm, x: Tensor) -> Tensor:
    """A term of the residual behind a norm, at scale 1."""
    x = x - x.mean(-1, keepdim=True) if norm.centred else x
    return x * norm.gain


@contextmanager
def _plain_norms(bound: ModelMap, stack: Stack) -> Iterator[None]:
    """Norms on q and k inside the attention keep their gain and centring, and have scale 1, for a while."""
    with ExitStack() as undo:
        for i in range(bound.n_layers):
            path = bound.part_path(stack, i, "attn", "reads") or bound.part_path(stack, i, "attn", "out")
            for module in _inner_norms(bound.at(path)):
                handle = module.register_forward_hook(partial(_at_scale_one, forward=module.forward))
                undo.callback(handle.remove)
        yield


def _inner_norms(attention: nn.Module) -> list[nn.Module]:
    """Norms inside an attention module: leaves (or lists of per-head norms' leaves) that say so by their class."""
    found = [m for m in attention.modules() if m is not attention and not list(m.children())]
    return [m for m in found if "norm" in type(m).__name__.lower()]


def _at_scale_one(_: nn.Module, args: tuple[Any, ...], out: Tensor, *, forward: Any) -> Tensor:
    x = args[0]
    some = torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(0)).to(x)
    norm = freeze(forward, some[None])
    return _through(norm, x) + norm.bias
