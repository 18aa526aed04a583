"""Reading and editing a model while it runs.

    with trace(model, read=["0.pattern", "final_in"], edit={"1.z[h2]": Scale(0.0)}) as t:
        out = module(**inputs)          # or module.generate(...)
    t["0.pattern"]                      # [batch, head, tok, key]

1. Every site asked for is looked up on the model's map (a site that is not there, or was not proved, is refused by letter).
2. Hooks go on the live modules, an attention tap around the attention modules concerned, and nothing else is touched.
3. Leaving the context takes everything off again, also after an exception.

Without edits the logits are bitwise those of the bare model. Cost: no pass of its own. Memory: a copy of what is read, or,
with `reduce`, only what the reducers return.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.errors import SiteError, UsageError
from exegete.core.site import BLOCK_KINDS, CROSS_KINDS, Site
from exegete.models.edit import EditLike
from exegete.models.family import ModelLike, ModelMap, bind
from exegete.models.wires import Station, Wires

SiteLike = Site | str
_Edits = EditLike | Sequence[EditLike]
_Reducer = Callable[[Tensor], Any]
EditMap = Mapping[SiteLike, _Edits] | Mapping[Site, _Edits] | Mapping[str, _Edits]
Reducers = Mapping[SiteLike, _Reducer] | Mapping[Site, _Reducer] | Mapping[str, _Reducer]


class Trace:
    """What was read in one trace, by site. A context manager; made by `trace` or `run`.

    `t[site]` is the tensor (or the reducer's value) of the last call, `t.calls(site)` those of every call: one a forward
    pass, one a step while generating. Axes are those of `site.axes`, less those the site gives as one number. In a model on
    several devices all of them, and what edits and reducers are given, lie where the inputs go (`model.device`).
    """

    def __init__(
        self,
        map_: ModelMap,
        read: Iterable[SiteLike],
        edit: EditMap,
        reduce: Reducers,
        keep_graph: bool,
    ) -> None:
        self._reduce = {Site.parse(s): fn for s, fn in reduce.items()}
        self._reads = tuple(dict.fromkeys([*(Site.parse(s) for s in read), *self._reduce]))
        self._stations = _stations(map_, self._reads, edit)
        self._map, self._keep = map_, keep_graph
        self._found: dict[Site, list[Any]] = {}
        self._wires: Wires | None = None
        self.output: Any = None
        if keep_graph:
            _check_graph(self._reads)
        if any(s.port.how == "tap" for s in self._stations):
            _check_kernel(map_)

    def __enter__(self) -> "Trace":
        self._found = {s: [] for s in self._reads}
        self._wires = Wires(self._map, self._record, self._keep, home=self._map.home)
        self._wires.place(self._stations)
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        wires, self._wires = self._wires, None
        if wires is None:
            return
        wires.remove()
        wanted = [(site, id(edit)) for s in self._stations for site, edit in s.edits]
        missed = [str(site) for site, edit in wanted if (site, edit) not in wires.applied]
        if missed and failure is None:
            raise UsageError(
                f"You asked to edit {', '.join(missed)}.",
                "The model never came past this place, or has no such position in this text.",
                "Run the module inside the `with` block, and count positions from 0.",
            )

    def __getitem__(self, site: SiteLike) -> Any:
        return self.calls(site)[-1]

    def __contains__(self, site: SiteLike) -> bool:
        return bool(self._found.get(Site.parse(site)))

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites asked for, in the order they were asked for."""
        return self._reads

    @property
    def logits(self) -> Tensor:
        """Logits of the pass that `run` made. Raises `UsageError` when there are none."""
        found = getattr(self.output, "logits", None)
        if found is None:
            raise UsageError(
                "You asked a trace for logits.",
                "It ran no pass of its own, or the module has no head.",
                "Use `run`, or keep what the module returned.",
            )
        return found

    def calls(self, site: SiteLike) -> tuple[Any, ...]:
        """Everything read at a site, a value a call. Raises `SiteError` when it was not asked for or not reached."""
        wanted = Site.parse(site)
        if wanted not in self._found:
            raise SiteError(
                f"You asked a trace for {wanted}.",
                "It was not among the sites to read.",
                f"It read: {', '.join(map(str, self._reads)) or 'nothing'}.",
            )
        if not self._found[wanted]:
            raise SiteError(
                f"You asked a trace for {wanted}.",
                "The model did not come past this place.",
                "Run the module inside the `with` block, on inputs that reach the site.",
            )
        return tuple(self._found[wanted])

    def _record(self, site: Site, value: Tensor) -> None:
        reducer = self._reduce.get(site)
        self._found[site].append(value if reducer is None else reducer(value))


def trace(
    model: ModelLike,
    read: Iterable[SiteLike] = (),
    edit: EditMap | None = None,
    *,
    reduce: Reducers | None = None,
    keep_graph: bool = False,
) -> Trace:
    """A context in which the model's passes are read and edited.

    read        sites to capture: copies, detached
    edit        site -> edit, or several edits in order; a callable takes and returns the tensor of the place
    reduce      site -> function of the captured tensor; its value is kept instead of the tensor
    keep_graph  captured tensors stay in the graph, so that `torch.autograd.grad(value, t[site])` works. What does not
                require a gradient becomes a leaf. Scores and patterns are then computed by plain matrix products, which may
                round differently from a fused kernel (about 1e-7)

    A site that is both edited and read shows the edited value. Raises `SiteError` for places that are not there or were
    not proved, `UsageError` for an edit that does not fit, or, on leaving, that never found its place.
    """
    return Trace(bind(model), read, edit or {}, reduce or {}, keep_graph)


def run(
    model: ModelLike,
    inputs: Mapping[str, Any],
    read: Iterable[SiteLike] = (),
    edit: EditMap | None = None,
    *,
    reduce: Reducers | None = None,
    keep_graph: bool = False,
) -> Trace:
    """One forward pass in evaluation mode, read and edited: `.output`, `.logits` and `[site]`. Arguments as in `trace`."""
    bound = bind(model)
    t = Trace(bound, read, edit or {}, reduce or {}, keep_graph)
    with evaluating(bound.module), torch.set_grad_enabled(keep_graph), t:
        t.output = bound.module(**inputs)
    return t


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every submodule's mode is put back."""
    training = [m for m in module.modules() if m.training]
    for m in training:
        m.training = False
    try:
        yield
    finally:
        for m in training:
            m.training = True


_KINDS = ("embed", *BLOCK_KINDS, *CROSS_KINDS, "final_in", "final_norm", "logits")


def _rank(site: Site) -> tuple[bool, int, int]:
    """Position of a site in the order of computation within its stack."""
    return site.layer is None and site.kind != "embed", site.layer or 0, _KINDS.index(site.kind)


def _stations(map_: ModelMap, reads: Sequence[Site], edit: EditMap) -> list[Station]:
    edits: dict[Site, list[tuple[Site, EditLike]]] = {}
    for name, given in edit.items():
        site = Site.parse(name)
        several: Any = given if isinstance(given, list | tuple) else [given]
        edits.setdefault(site.whole, []).extend((site, e) for e in several)
    wholes = dict.fromkeys([*(s.whole for s in reads), *edits])
    ports = {w: map_.port(w) for w in wholes}
    parts: dict[Site, list[Site]] = {}
    for site in reads:
        parts.setdefault(site.whole, []).append(site)
    stations = [Station(ports[w], tuple(edits.get(w, ())), tuple(parts.get(w, ()))) for w in wholes]
    return sorted(stations, key=lambda s: _rank(s.port.site))


def _check_graph(reads: Iterable[Site]) -> None:
    parts = [str(s) for s in reads if s != s.whole]
    if parts:
        raise UsageError(
            f"You asked to keep the graph of {', '.join(parts)}.",
            "A part of a tensor is not on the path to the output; only the whole is.",
            "Read the whole site and take the part of its gradient.",
        )


def _check_kernel(map_: ModelMap) -> None:
    kernel = str(getattr(map_.module.config, "_attn_implementation", "") or "")
    if kernel not in ("", "eager", "sdpa"):
        raise SiteError(
            f"You asked to look inside the attention of {map_.family}.",
            f"The model runs the attention kernel {kernel!r}, which shows neither scores nor pattern.",
            "Load it with attn_implementation='sdpa' or 'eager'.",
        )
