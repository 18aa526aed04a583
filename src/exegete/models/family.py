"""Family tables bound to a live model: `bind(module) -> ModelMap`.

1. Unwrap adapters (PEFT) down to the Hugging Face module.
2. Find the table by `config.model_type`; let it adapt itself to the config. Without a table, try `discover`.
3. Resolve the layers of each stack and read sizes from config and weights.
4. The result names every place (`Port`) by module path; nothing is run, and nothing is proved yet (see `prove`).

A map is cheap (paths only) and is kept per module for as long as the module lives, together with the refusals of its proof.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from exegete.core.errors import ModelError, SiteError, UnsupportedModel, near
from exegete.core.site import BLOCK_KINDS, CROSS_KINDS, Site
from exegete.core.site import Stack as StackName
from exegete.models import families as _tables
from exegete.models.matrix import linear_map, matrix_shape
from exegete.models.placement import computes_on, is_spread
from exegete.models.ports import Layer, Port, Tower, block_port, join, missing, model_port
from exegete.models.table import Family, Head, Part, Stack

_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = ("num_key_value_heads", "n_head_kv", "num_kv_heads")


@runtime_checkable
class HasModule(Protocol):
    """Anything that carries the Hugging Face module, such as `models.model.Model`."""

    @property
    def module(self) -> nn.Module:
        """The Hugging Face module."""
        ...


ModelLike = HasModule | nn.Module


@dataclass(frozen=True)
class ModelMap:
    """Where everything is in one model. `established` is "table" or "discovered"; `refused` maps a site to the reason."""

    module: nn.Module
    family: str
    established: str
    towers: Mapping[StackName, Tower]
    head: Head | None
    refused: dict[Site, str] = field(default_factory=dict)

    @property
    def stacks(self) -> tuple[StackName, ...]:
        """Names of the stacks: ("",), or "enc" and/or "dec"."""
        return tuple(self.towers)

    def tower(self, stack: StackName | None = None) -> Tower:
        """A stack by name; the only or the last one (the decoder) when None. Raises `SiteError`."""
        name = list(self.towers)[-1] if stack is None else stack
        if name not in self.towers:
            raise SiteError(
                f"You asked for the stack {name!r} of {self.family}.",
                f"This model has {', '.join(repr(s) for s in self.towers)}.",
                "Write sites as enc.0.resid_pre or dec.0.resid_pre for encoder-decoders, as 0.resid_pre otherwise.",
            )
        return self.towers[name]

    @property
    def n_layers(self) -> int:
        """Layers of the main stack."""
        return len(self.tower().layers)

    @property
    def n_heads(self) -> int:
        """Query heads of the main stack."""
        return self.tower().n_heads

    @property
    def n_kv_heads(self) -> int:
        """Key-value heads of the main stack."""
        return self.tower().n_kv_heads

    @property
    def d_model(self) -> int:
        """Width of the residual of the main stack."""
        return self.tower().d_model

    @property
    def d_head(self) -> int:
        """Width of one head in z, in the main stack."""
        return self.tower().d_head

    @property
    def home(self) -> torch.device | None:
        """Where everything read of a model on several devices is brought: where its inputs go. None for a model on one device."""
        if not is_spread(self.module):
            return None
        table: Any = self.at(self.tower(self.stacks[0]).embed)
        return computes_on(table, table.weight)

    def linear(self, path: str) -> tuple[Tensor, Tensor]:
        """`models.matrix.linear_map` of the module at a path, where everything read is brought."""
        return linear_map(self.at(path), self.home)

    def at(self, path: str) -> nn.Module:
        """The live module at a path of this map."""
        return self.module.get_submodule(path)

    def sites(self, kind: str | None = None, stack: StackName | None = None) -> tuple[Site, ...]:
        """Every site that exists here and was not refused, in order of computation within a stack; filtered when asked."""
        named = [s for n in self.towers if stack in (None, n) for s in self._of(n)]
        if self.has_logits:
            named.append(Site("logits"))
        return tuple(s for s in named if kind in (None, s.kind) and s not in self.refused)

    def has(self, site: Site | str) -> bool:
        """Whether a site exists here and was not refused."""
        whole = Site.parse(site).whole
        return self._absent(whole) is None and whole not in self.refused

    @property
    def has_logits(self) -> bool:
        """Whether the module carries a head (a bare base model has none)."""
        table = getattr(self.module, "get_output_embeddings", lambda: None)()
        return self.head is not None or table is not None or bool(_base_prefix(self.module))

    def port(self, site: Site | str) -> Port:
        """How a site is reached. Raises `SiteError` when it does not exist here or was refused by the proof."""
        whole = Site.parse(site).whole
        reason = self._absent(whole) or self.refused.get(whole)
        if reason is not None:
            raise SiteError(f"You asked for the site {site} of {self.family}.", reason, self._hint(whole))
        if whole.kind == "logits":
            return Port(whole, "logits", "")
        tower = self.tower(whole.stack)
        if whole.layer is None:
            return model_port(whole, tower)
        return block_port(whole, tower, tower.layers[whole.layer])

    def block(self, stack: StackName, layer: int) -> nn.Module:
        """The live block of a layer."""
        return self.at(self.tower(stack).layers[layer].path)

    def part_path(self, stack: StackName, layer: int, part: str, role: str) -> str:
        """Path of a role ("out", "add", "reads", "proj", "norm", "after", "sum") of a part ("attn", "mlp", "cross"); "" if none."""
        tower = self.tower(stack)
        found: Part | None = getattr(tower.table.block, part)
        inner = getattr(found, role) if found is not None else ""
        return join(tower.layers[layer].path, inner) if inner else ""

    def unembed(self, hidden: Tensor, norm: bool = True) -> Tensor:
        """Logits [..., vocab] of residuals [..., d] of the main stack, as the model's own head makes them.

        `norm` applies the final norm first (give False for what already passed it). Raises `SiteError` for models
        without a language-model head.
        """
        if self.head is None:
            raise SiteError(
                f"You asked to unembed residuals of {type(self.module).__name__}.",
                "It has no head that turns each residual into logits over the vocabulary.",
                "Use a causal, masked or sequence-to-sequence language model.",
            )
        tower, config = self.tower(), self.module.config
        x = self.at(tower.norm)(hidden) if norm and tower.norm else hidden
        x = x * self.head.before(config) if self.head.before else x
        for step in self.head.steps:
            module = _optional(self.module, step.removesuffix("?"))
            x = module(x) if module is not None else x
        return _finish(x.to(hidden.device), self.head, self.module)

    def _of(self, name: StackName) -> list[Site]:
        kinds = [*BLOCK_KINDS, *CROSS_KINDS]
        tower = self.towers[name]
        block = [Site(k, layer=i, stack=name) for i in range(len(tower.layers)) for k in kinds]
        ends = [Site(k, stack=name) for k in ("final_in", "final_norm")]
        return [s for s in (Site("embed", stack=name), *block, *ends) if self._absent(s) is None]

    def _absent(self, site: Site) -> str | None:
        """Why a site does not exist in this architecture; None when it does."""
        if site.kind == "logits":
            return None if self.has_logits else "This module has no head, so it makes no logits."
        if site.stack not in self.towers:
            return f"This model has the stacks {', '.join(repr(s) for s in self.towers)}."
        tower = self.towers[site.stack]
        if site.layer is not None and not 0 <= site.layer < len(tower.layers):
            return f"This stack has the layers 0 to {len(tower.layers) - 1}."
        return missing(site.kind, tower)

    def _hint(self, site: Site) -> str:
        if self._absent(site) is None:
            return "Other sites stay available; the proof table says more."
        known = [str(s) for s in self.sites()]
        close = near(str(site), known)
        return f"Near: {', '.join(close)}." if close else f"For example: {', '.join(known[:6])}."


_MAPS: "WeakKeyDictionary[nn.Module, ModelMap]" = WeakKeyDictionary()


def bind(model: ModelLike) -> ModelMap:
    """The map of a model, by its family's table or else by discovery. Runs the model only in discovery.

    Raises `UnsupportedModel` for an architecture that can neither be looked up nor discovered.
    """
    module = unwrap(model)
    known = _MAPS.get(module)
    if known is not None:
        return replace(known, module=module)
    family = table_for(module)
    if family is None:
        from exegete.models.discover import discover
        from exegete.models.prove import prove

        bound = remember(module, discover(module), "discovered")
        prove(module)  # what nobody wrote down is only believed as far as it is proved
        return bound
    return remember(module, family, "table")


def remember(module: nn.Module, family: Family, established: str) -> ModelMap:
    """Bind a table to a module and keep the map for the life of the module."""
    bound = bind_table(module, family, established)
    # The kept copy must not hold its own key alive: it carries a placeholder instead of the module.
    _MAPS[module] = replace(bound, module=_NOTHING)
    return bound


def forget(model: ModelLike) -> None:
    """Drop what is remembered about a model (its map and the refusals of its proof)."""
    _MAPS.pop(unwrap(model), None)


_NOTHING = nn.Identity()


def unwrap(model: ModelLike) -> nn.Module:
    """The Hugging Face module inside a `Model` or an adapter wrapper."""
    module: Any = model if isinstance(model, nn.Module) else model.module
    inner: Any = getattr(module, "get_base_model", None)  # adapter wrappers (PEFT) hold the module they wrap
    wrapped = callable(inner) and type(module).__name__.startswith("Peft")
    found: Any = inner() if wrapped else module
    return found


@cache
def family_tables() -> dict[str, Family]:
    """`config.model_type` -> family, from every file of `models/families/`."""
    found: dict[str, Family] = {}
    for info in pkgutil.iter_modules(_tables.__path__):
        family: Family = importlib.import_module(f"{_tables.__name__}.{info.name}").FAMILY
        for model_type in family.model_types:
            if model_type in found:
                raise ModelError(
                    f"Two family tables claim the model type {model_type!r}.",
                    f"They are {found[model_type].name} and {family.name}.",
                    "Remove one.",
                )
            found[model_type] = family
    return found


def table_for(module: nn.Module) -> Family | None:
    """The family of a module by its config, adapted to it; None when no table claims it."""
    config = getattr(module, "config", None)
    family = family_tables().get(getattr(config, "model_type", ""))
    return family.vary(config) if family is not None and family.vary is not None else family


def bind_table(module: nn.Module, family: Family, established: str) -> ModelMap:
    """Resolve a table on a module. Raises `UnsupportedModel` naming the first path that is not there."""
    prefix = _base_prefix(module)
    towers: dict[StackName, Tower] = {}
    for stack in family.stacks:
        present = _optional(module, join(prefix, stack.root)) if stack.root else module
        if present is not None:
            towers[stack.name] = _tower(module, prefix, stack, family)
    if not towers:
        raise _no_path(family, family.stacks[0].root)
    head = next((h for h in family.heads if _all_there(module, h)), None)
    return ModelMap(module, family.name, established, towers, head)


def _tower(module: nn.Module, prefix: str, stack: Stack, family: Family) -> Tower:
    config = module.config
    layers = _layers(module, prefix, stack, family)
    proj = _need(module, join(layers[0].path, stack.block.attn.proj), family)
    width_in, width_out = matrix_shape(proj)
    heads = _query_heads(config, stack, family)
    kv = family.kv_heads(config) if family.kv_heads else _first(config, _KV_HEADS, family, heads)
    embed = join(prefix, stack.embed) if stack.embed else _embedding_path(module, prefix)
    norm = join(prefix, stack.norm) if stack.norm else ""
    if norm:
        _need(module, norm, family)
    root = join(prefix, stack.root)
    return Tower(stack, root, layers, embed, norm, width_out, heads, kv, width_in // heads)


def _query_heads(config: Any, stack: Stack, family: Family) -> int:
    if family.q_heads is not None:
        return family.q_heads(config)
    return int(getattr(config, stack.heads)) if stack.heads else _first(config, _HEADS, family)


def _layers(module: nn.Module, prefix: str, stack: Stack, family: Family) -> tuple[Layer, ...]:
    if stack.paths is not None:
        paths = [join(prefix, p) for p in stack.paths(module.config)]
    else:
        blocks = _need(module, join(prefix, stack.blocks), family)
        paths = [join(prefix, f"{stack.blocks}.{i}") for i in range(len(blocks))]  # type: ignore[arg-type]
    for path in paths:
        _need(module, path, family)
    return tuple(Layer(p, paths[:i].count(p)) for i, p in enumerate(paths))


def _finish(logits: Tensor, head: Head, module: nn.Module) -> Tensor:
    config: Any = module.config
    if head.shift:
        logits = logits + getattr(module, head.shift).to(logits.device)
    if head.times:
        logits = logits * getattr(config, head.times)
    if head.over:
        logits = logits / getattr(config, head.over)
    cap = getattr(config, head.softcap, None) if head.softcap else None
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _base_prefix(module: nn.Module) -> str:
    name = getattr(module, "base_model_prefix", "")
    return name if name and isinstance(getattr(module, name, None), nn.Module) else ""


def _embedding_path(module: nn.Module, prefix: str) -> str:
    base = _optional(module, prefix)
    table = base.get_input_embeddings()  # type: ignore[union-attr, operator]
    return next(name for name, m in module.named_modules() if m is table)


def _all_there(module: nn.Module, head: Head) -> bool:
    return all(s.endswith("?") or _optional(module, s) is not None for s in head.steps)


def _optional(module: nn.Module, path: str) -> nn.Module | None:
    for name in path.split(".") if path else ():
        found = getattr(module, name, None) if not isinstance(module, nn.ModuleList) else module[int(name)]
        if not isinstance(found, nn.Module):
            return None
        module = found
    return module


def _need(module: nn.Module, path: str, family: Family) -> nn.Module:
    found = _optional(module, path)
    if found is None:
        raise _no_path(family, path)
    return found


def _no_path(family: Family, path: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"You asked to map a model of the family {family.name}.",
        f"Its table names the module {path!r}, which this model does not have.",
        "The installed transformers may be too old or too new, or the model is not what its config says.",
    )


def _first(config: Any, names: tuple[str, ...], family: Family, otherwise: int | None = None) -> int:
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    if otherwise is None:
        raise UnsupportedModel(
            f"You asked to map a model of the family {family.name}.",
            f"Its config names no number of heads (looked for {', '.join(names)}).",
            "Set one of these entries in the config.",
        )
    return otherwise
