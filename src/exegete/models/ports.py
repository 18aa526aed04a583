"""From the name of a site to where it is on a live model: `Port`, and the stacks and layers it is found in.

Everything here is paths and sizes; no module is touched and nothing is run.
"""

from dataclasses import dataclass, replace
from typing import Literal

from exegete.core.site import Site
from exegete.core.site import Stack as StackName
from exegete.models.table import Block, Part, Stack

TAP_KINDS = ("q", "k", "v", "scores", "pattern")
How = Literal["in", "out", "heads_in", "heads_out", "proj", "tap", "mid", "logits"]


@dataclass(frozen=True)
class Layer:
    """One layer of a stack: the path of its block, and which call of that module it is (0 unless layers share modules)."""

    path: str
    call: int


@dataclass(frozen=True)
class Tower:
    """A stack bound to a model. Sizes: `n_heads` query heads, `n_kv_heads` key-value heads, `d_head` width of a head in z."""

    table: Stack
    root: str
    layers: tuple[Layer, ...]
    embed: str
    norm: str
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int

    @property
    def shared(self) -> bool:
        """Whether layers share modules."""
        return any(layer.call for layer in self.layers)


@dataclass(frozen=True)
class Port:
    """How one site is reached on the live model.

    how      "in" / "out" (tensor entering / leaving `path`), "heads_in" (the same, split into heads), "heads_out" (projection
             output split into heads), "proj" (a projection's return split into heads), "tap" (inside the attention at `path`),
             "mid" (computed in the block between modules: read at `path`, written through `via`), "logits"
    layer    the layer the path belongs to; None for model-level places
    scale    attribute of the block that multiplies the tensor on its way to the residual
    """

    site: Site
    how: How
    path: str
    stack: StackName = ""
    layer: Layer | None = None
    scale: str = ""
    via: str = ""
    flat: bool = False


def model_port(site: Site, tower: Tower) -> Port:
    """How a site without a layer is reached: embed, final_in, final_norm."""
    last = tower.layers[-1]
    if site.kind == "embed":
        return Port(site, "out", tower.embed, site.stack)
    if site.kind == "final_norm":
        return Port(site, "out", tower.norm, site.stack)
    if tower.norm:
        return Port(site, "in", tower.norm, site.stack)
    return Port(site, "out", last.path, site.stack, last)


def block_port(site: Site, tower: Tower, layer: Layer) -> Port:
    """How a site of a layer is reached."""
    kind, block = site.kind, tower.table.block
    here = Port(site, "out", layer.path, site.stack, layer)
    if kind in ("resid_pre", "resid_post"):
        return replace(here, how="in" if kind == "resid_pre" else "out")
    part, plain = _part_of(kind, block)
    flat = block.flat and part is block.mlp
    if plain in ("resid_mid", "cross_resid"):
        return _mid_port(site, tower, layer, part)
    if plain in TAP_KINDS:
        core = part.reads or part.out
        if part.qkv and plain in "qkv":
            return replace(here, how="proj", path=join(layer.path, core, part.qkv["qkv".index(plain)]))
        return replace(here, how="tap", path=join(layer.path, core))
    if plain in _AT_PROJ:
        return replace(here, how=_AT_PROJ[plain], path=join(layer.path, part.proj), flat=flat)
    if plain.endswith("_in"):
        return replace(here, how="in", path=join(layer.path, part.reads or part.out), flat=flat)
    if plain.endswith("_add"):
        return replace(here, path=join(layer.path, part.add or part.out), scale=part.scale, flat=flat)
    return replace(here, path=join(layer.path, part.out), flat=flat)


_AT_PROJ: dict[str, How] = {"z": "heads_in", "mlp_act": "in", "head_out": "heads_out"}


def _mid_port(site: Site, tower: Tower, layer: Layer, part: Part) -> Port:
    """The residual after a part: returned by a module where there is one, else read where the next part takes it."""
    whole = part.after or part.sum
    if whole:
        return Port(site, "out", join(layer.path, whole), site.stack, layer)
    block = tower.table.block
    following = block.cross if block.cross is not None and part is block.attn else block.mlp
    reader = following.norm or following.reads or following.out
    via = join(layer.path, part.add or part.out)
    flat = block.flat and following is block.mlp
    return Port(
        site, "mid", join(layer.path, reader), site.stack, layer, scale=part.scale, via=via, flat=flat
    )


def _part_of(kind: str, block: Block) -> tuple[Part, str]:
    """The part a kind belongs to, and the kind without its cross prefix."""
    if kind.startswith("cross_"):
        part = block.cross or block.attn
        return part, kind if kind == "cross_resid" else kind.removeprefix("cross_")
    return (block.mlp if kind.startswith("mlp_") else block.attn), kind


def missing(kind: str, tower: Tower) -> str | None:
    """Why a kind of site does not exist in a stack; None when it does."""
    block = tower.table.block
    if kind.startswith("cross_") and block.cross is None:
        return "This stack has no cross-attention."
    if kind == "final_norm" and not tower.norm:
        return "This architecture has no final norm; final_in is the last residual."
    if kind == "resid_mid" and block.parallel:
        return "Attention and feed-forward run in parallel here: there is no residual between them."
    if kind == "mlp_act" and not block.mlp.proj:
        return "The hidden units of this feed-forward part are not visible between modules (routed, fused experts)."
    return None


def join(*parts: str) -> str:
    """A dotted path from its non-empty parts."""
    return ".".join(p for p in parts if p)
