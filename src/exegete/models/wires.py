"""The hooks of a trace: how the ports of sites become hooks on live modules, and nothing again.

Rules, each learned from a family that breaks the simpler one:
- edits go first (`prepend`) and reads last, so that a read sees what flows on;
- what is captured is a copy, for some blocks add in place; with its graph the model goes on from a copy of the copy;
- shared modules (ALBERT) are told apart by the number of the call, counted from the start of their stack;
- flattened tokens (OPT) are folded back to [batch, tok];
- places that no module returns (the residual between two parts, a scaled addend, the output of one head) are written
  through what *is* returned: the change of the place is added to it, so an edit that changes nothing changes no bit.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.site import Site
from exegete.core.site import Stack as StackName
from exegete.models.attention import Tap, refuse_unseen
from exegete.models.edit import EditLike, Moment, apply_edit, slice_site
from exegete.models.family import ModelMap
from exegete.models.matrix import linear_map
from exegete.models.ports import Port
from exegete.models.slots import find_input, get_input, get_output, output_slot, put_input, put_output

_EXACT = ("in", "out", "heads_in", "proj", "logits")


@dataclass(frozen=True)
class Station:
    """One whole site in a trace: where it is, what changes it, and which (parts of) it are read."""

    port: Port
    edits: tuple[tuple[Site, EditLike], ...]
    reads: tuple[Site, ...]

    @property
    def kind(self) -> str:
        """The site's kind without its cross prefix."""
        return self.port.site.kind.removeprefix("cross_")


@dataclass(frozen=True)
class _Seen:
    """A tensor at a port; `entered` is what entered the module that returned it."""

    raw: Tensor
    entered: Tensor | None = None


_Act = Callable[[_Seen], Tensor | None]


@dataclass
class Wires:
    """The hooks of one trace, and what they note while the model runs. `record(site, tensor)` receives what is read."""

    map: ModelMap
    record: Callable[[Site, Tensor], None]
    keep_graph: bool = False
    handles: list[Any] = field(default_factory=list)
    taps: list[Tap] = field(default_factory=list)
    moments: dict[str, Moment] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    applied: set[tuple[Site, int]] = field(default_factory=set)  # edits that found their place
    blocks: dict[str, Tensor] = field(default_factory=dict)  # the residual that entered a block
    home: torch.device | None = (
        None  # where what is read and edited is brought, in a model on several devices
    )

    def place(self, stations: Sequence[Station]) -> None:
        """Put the hooks of these stations, given in order of computation, on the model; on failure none stays."""
        try:
            for station in reversed(stations):  # the last hook put first runs first
                self._place_edits(station)
            for station in stations:
                self._place_reads(station)
            self._place_taps(stations)
            self._place_notes(stations)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Take every hook off, and leave any attention tap that an interruption left open."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        while self.taps:
            self.taps.pop().__exit__(None, None, None)
        self.blocks.clear()

    # -- placing -----------------------------------------------------------------------------------------------------

    def _place_edits(self, s: Station) -> None:
        if s.port.how == "tap" or not s.edits:
            return
        if _exact(s.port):
            self._hook(s.port, lambda seen: self._edit(s, seen), first=True)
        else:
            self._hook(_written(s.port), lambda seen: self._through(s, seen), first=True)

    def _place_reads(self, s: Station) -> None:
        if s.port.how == "tap" or not s.reads:
            return
        if _exact(s.port):
            self._hook(s.port, lambda seen: self._read(s, s.port, seen), first=False)
        elif s.port.how == "mid" and not self.keep_graph:
            port = replace(s.port, how="in", scale="")
            self._hook(port, lambda seen: self._read(s, port, seen), first=False)
        elif not s.edits:
            self._hook(_written(s.port), lambda seen: self._through(s, seen), first=False)

    def _place_taps(self, stations: Iterable[Station]) -> None:
        cores: dict[str, list[Station]] = {}
        for s in stations:
            if s.port.how == "tap":
                cores.setdefault(s.port.path, []).append(s)
        for path, members in cores.items():
            self._before(path, lambda *_, m=members: self._enter(m))
            leave = lambda _m, _a, out, p=path: self._leave(p, out)  # noqa: E731
            self.handles.append(self.map.at(path).register_forward_hook(leave, always_call=True))

    def _place_notes(self, stations: Sequence[Station]) -> None:
        """Hooks that only note things: masks and cache lengths, numbers of calls, residuals that enter blocks."""
        for path in {s.port.layer.path for s in stations if s.port.layer and _needs_block(s.port)}:
            self._before(path, lambda _m, args, kwargs, p=path: self._grab(p, args, kwargs))
        for path in {s.port.path for s in stations if s.port.how == "proj"}:
            self._before(path, lambda *_, p=path: self._count(p), prepend=True)
            core = path.rpartition(".")[0]
            self._before(core, lambda *_, p=path: self._recount(p), prepend=True)
        for name, tower in self.map.towers.items():
            for path in {layer.path for layer in tower.layers} if tower.shared else ():
                self._before(path, lambda *_, p=path: self._count(p), prepend=True)
            self._before(tower.root, partial(self._begin, name), prepend=True)

    def _before(self, path: str, act: Callable[..., None], prepend: bool = False) -> None:
        module = self.map.at(path)
        self.handles.append(module.register_forward_pre_hook(act, with_kwargs=True, prepend=prepend))

    def _hook(self, port: Port, act: _Act, first: bool) -> None:
        """Run `act` on the tensor at a port; what it returns replaces the tensor."""
        module = self.map.at(port.path)
        if port.how in ("in", "heads_in"):
            hook: Any = partial(self._entering, port, act)
            self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True, prepend=first))
        else:
            hook = partial(self._leaving, port, act)
            self.handles.append(module.register_forward_hook(hook, with_kwargs=True, prepend=first))
        if port.site.kind == "embed":
            root = self.map.at(self.map.tower(port.stack).root)
            given: Any = partial(self._given, act)
            self.handles.append(root.register_forward_pre_hook(given, with_kwargs=True, prepend=first))

    def _entering(self, port: Port, act: _Act, _m: nn.Module, args: Any, kwargs: Any) -> Any:
        slot = find_input(args, kwargs) if self._on(port) else None
        new = act(_Seen(get_input(slot, args, kwargs))) if slot is not None else None
        return None if new is None or slot is None else put_input(slot, args, kwargs, new)

    def _leaving(self, port: Port, act: _Act, _m: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
        slot = output_slot(out, "logits") if self._on(port) else None
        if slot is None:
            return None
        new = act(_Seen(get_output(out, slot), args[0] if args else None))
        return None if new is None else put_output(out, slot, new)

    def _given(self, act: _Act, _m: nn.Module, args: Any, kwargs: Any) -> Any:
        """Embeddings handed in as `inputs_embeds` bypass the table: they are the same site."""
        x = kwargs.get("inputs_embeds")
        new = act(_Seen(x)) if isinstance(x, Tensor) else None
        return None if new is None else (args, {**kwargs, "inputs_embeds": new})

    # -- acting ------------------------------------------------------------------------------------------------------

    def _edit(self, s: Station, seen: _Seen) -> Tensor:
        """Edit a tensor that can be replaced as it is."""
        return self._restore(s.port, self._edited(s, self._show(s.port, seen)), seen.raw)

    def _read(self, s: Station, port: Port, seen: _Seen) -> Tensor | None:
        """Record a tensor; with its graph, hand the model a copy of what is recorded."""
        shown = self._show(port, seen)
        if not self.keep_graph:
            return self._note(s, shown)
        kept = with_graph(self._brought(shown))
        self._note(s, kept)
        return self._restore(port, kept, seen.raw).clone()

    def _through(self, s: Station, seen: _Seen) -> Tensor | None:
        """Edit and record a place that no module returns, through the tensor that is returned."""
        old = self._show(s.port, seen)
        new = self._edited(s, old)
        raw = seen.raw if new is old else seen.raw + self._fold(s.port, new - old)
        graph = self.keep_graph and s.reads
        if not graph and (
            s.port.how != "mid"
        ):  # a residual in the middle is read where the next part takes it
            self._note(s, new)
        if not graph:
            return None if raw is seen.raw else raw
        kept = with_graph(self._brought(new))
        self._note(s, kept)
        # Same value, and a gradient that flows through what was recorded and through nothing else.
        back = kept.to(new.device)
        flow = self._fold(s.port, back - self._apart(s.port, back))
        return raw.detach() + (flow - flow.detach())

    def _edited(self, s: Station, x: Tensor) -> Tensor:
        own = now = self._brought(x)
        for site, edit in s.edits:
            new = apply_edit(now, site, edit, self.moment(s.port))
            if new is not now:
                self.applied.add((site, id(edit)))
            now = new
        return x if now is own else now.to(x.device)

    def _brought(self, x: Tensor) -> Tensor:
        """A tensor where everything read is brought: itself, but for layers on another device than the embedding."""
        return x if self.home is None else x.to(self.home)

    def _note(self, s: Station, x: Tensor) -> None:
        x = self._brought(x)
        for site in s.reads:
            piece = slice_site(x, site, self.moment(s.port))
            if piece is not None:
                self.record(site, piece if self.keep_graph else piece.detach().clone())

    def moment(self, port: Port) -> Moment:
        """Mask and cache length of the stack a port belongs to."""
        return self.moments.get(port.stack, Moment())

    # -- from the tensor at a port to the site's tensor, and back ------------------------------------------------------

    def _show(self, port: Port, seen: _Seen) -> Tensor:
        x = seen.raw
        if port.how == "heads_out":
            return self._head_out(port, seen)
        if port.flat and x.ndim == 2 and port.layer is not None:
            x = x.unflatten(0, self.blocks[port.layer.path].shape[:-1])
        if port.how in ("heads_in", "proj"):
            return x.unflatten(-1, (self._heads(port), -1)).transpose(1, 2)
        x = x * self._scale(port) if port.scale else x
        return x + self._apart(port, x) if port.how == "mid" else x

    def _restore(self, port: Port, shown: Tensor, raw: Tensor) -> Tensor:
        shown = shown.transpose(1, 2) if port.how in ("heads_in", "proj") else shown
        return shown.reshape(raw.shape).to(raw.device)

    def _fold(self, port: Port, change: Tensor) -> Tensor:
        """A change of the site, as a change of the tensor it is written through."""
        if port.how == "heads_out":
            return change.sum(1)
        return change / self._scale(port) if port.scale else change

    def _apart(self, port: Port, like: Tensor) -> Tensor:
        """What the site holds besides the tensor it is written through."""
        if port.how == "mid" and port.layer is not None:
            return self.blocks[port.layer.path].to(like.device)
        return torch.zeros_like(like)

    def _head_out(self, port: Port, seen: _Seen) -> Tensor:
        """[batch, head, tok, d]: what each head adds to the output projection, without the bias."""
        heads = self.map.tower(port.stack).n_heads
        z = seen.entered if seen.entered is not None else seen.raw
        weight, _ = linear_map(self.map.at(port.path), z.device)
        return torch.einsum("bthd,hdm->bhtm", z.unflatten(-1, (heads, -1)), weight.unflatten(0, (heads, -1)))

    def _heads(self, port: Port) -> int:
        tower = self.map.tower(port.stack)
        return tower.n_kv_heads if port.site.kind.removeprefix("cross_") in ("k", "v") else tower.n_heads

    def _scale(self, port: Port) -> Any:
        return getattr(self.map.at(port.layer.path), port.scale) if port.layer else 1.0

    # -- noting what the model does ------------------------------------------------------------------------------------

    def _begin(self, stack: StackName, _m: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        """A stack starts: forget call numbers, note the mask of real tokens and the tokens already cached."""
        for layer in self.map.tower(stack).layers:
            self.calls.pop(layer.path, None)
        mask: Any = kwargs.get("attention_mask")
        past: Any = kwargs.get("past_key_values")
        length = past.get_seq_length() if hasattr(past, "get_seq_length") else 0
        plain = isinstance(mask, Tensor) and mask.ndim == 2
        self.moments[stack] = Moment(mask.bool() if plain else None, int(length))

    def _count(self, path: str) -> None:
        self.calls[path] = self.calls.get(path, 0) + 1

    def _recount(self, path: str) -> None:
        self.calls.pop(path, None)

    def _grab(self, path: str, args: Any, kwargs: Any) -> None:
        slot = find_input(args, kwargs)
        if slot is not None:
            self.blocks[path] = get_input(slot, args, kwargs)

    def _on(self, port: Port) -> bool:
        """Whether this call of a module is the one the port means."""
        if port.how == "proj" and self.calls.get(port.path) != 1:
            return False  # position terms may call a projection again (shared keys of DeBERTa)
        if port.layer is None or not self.map.tower(port.stack).shared:
            return True
        return self.calls.get(port.layer.path) == port.layer.call + 1

    # -- inside attention ----------------------------------------------------------------------------------------------

    def _enter(self, members: list[Station]) -> None:
        members = [s for s in members if self._on(s.port)]
        if not members:
            return
        by_kind = {s.kind: s for s in members}
        inside = {s.kind for s in members if s.edits or (self.keep_graph and s.reads)}
        tower = self.map.tower(members[0].port.stack)
        visit = partial(self._visit, by_kind)
        tap = Tap(visit, frozenset(by_kind), frozenset(inside), tower.n_heads, tower.n_kv_heads)
        tap.__enter__()
        self.taps.append(tap)

    def _visit(self, by_kind: dict[str, Station], kind: str, x: Tensor) -> Tensor:
        s = by_kind[kind]
        new = self._edited(s, x)
        kept = with_graph(self._brought(new)) if self.keep_graph and s.reads else new
        self._note(s, kept)
        return kept.to(x.device)

    def _leave(self, path: str, out: Any) -> None:
        if not self.taps:
            return
        tap = self.taps.pop()
        tap.__exit__(None, None, None)
        if out is not None and not tap.seen:  # the module did not fail, and yet showed nothing
            raise refuse_unseen(path)


def with_graph(x: Tensor) -> Tensor:
    """A node of its own on the graph: the place alone, not whatever else the same tensor is used for; a leaf without graph."""
    return x.clone() if x.requires_grad else x.detach().clone().requires_grad_(True)


def _exact(port: Port) -> bool:
    """Whether the site's tensor is, up to its shape, what passes the port."""
    return port.how in _EXACT and not port.scale


def _written(port: Port) -> Port:
    return replace(port, path=port.via) if port.how == "mid" else port


def _needs_block(port: Port) -> bool:
    return port.flat or port.how == "mid"
