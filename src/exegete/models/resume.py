"""Resume a pass from a layer: a change at layer l needs only the layers from l on.

1. The blocks before l are told, for the while, to hand on what they are given (the tuple they would return is kept, so that
   the loop around them does not notice). Layers are not sliced away: masks and rotary bases chosen per layer stay right.
2. The residual given for layer l is set at its entrance.
3. Everything after runs as ever, and can be read and edited as in any trace.

Where the first block makes something that later ones need (T5's position biases), it runs too. Shared modules (ALBERT) are
told apart by the number of the call. Cost: (layers - l) / layers of a pass.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.errors import UsageError
from exegete.core.site import Site, Stack
from exegete.models.capture import EditMap, Reducers, SiteLike, Trace, evaluating
from exegete.models.edit import Set
from exegete.models.family import ModelLike, bind
from exegete.models.ports import Tower
from exegete.models.slots import find_input, get_input

_MISSING = object()


def resume(
    model: ModelLike,
    inputs: Mapping[str, Any],
    layer: int,
    resid: Tensor,
    *,
    stack: Stack | None = None,
    read: Iterable[SiteLike] = (),
    edit: EditMap | None = None,
    reduce: Reducers | None = None,
    keep_graph: bool = False,
) -> Trace:
    """The pass of `inputs` from `layer` on, with `resid` [batch, tok, d] as the residual that enters that layer.

    `inputs` are those of a full pass (masks and positions come from them); one text may be given for many residuals.
    `stack` is the main one (the decoder) when None. For the encoder of an encoder-decoder the decoder runs whole.
    Returns a trace as `run` does. Raises `SiteError` for sites or layers that are not there, `UsageError` when the sizes
    of `inputs` and `resid` do not fit.
    """
    bound = bind(model)
    name: Any = bound.stacks[-1] if stack is None else stack
    tower = bound.tower(name)
    entrance = Site("resid_pre", layer=layer, stack=name)
    bound.port(entrance)
    edits: dict[SiteLike, Any] = {
        entrance: [Set(resid)]
    }  # first, so that other edits of the entrance follow it
    for site, given in (edit or {}).items():
        several = list(given) if isinstance(given, list | tuple) else [given]
        edits[Site.parse(site)] = [*edits.get(Site.parse(site), ()), *several]
    fitted = _fit(bound.module, inputs, resid, name)
    t = Trace(bound, read, edits, reduce or {}, keep_graph)
    with (
        evaluating(bound.module),
        torch.set_grad_enabled(keep_graph),
        skipping(bound.module, tower, layer),
        t,
    ):
        t.output = bound.module(**fitted)
    return t


@contextmanager
def skipping(module: nn.Module, tower: Tower, layer: int) -> Iterator[None]:
    """Blocks before `layer` hand on what they are given, for a while; afterwards every block is as it was."""
    before: dict[nn.Module, Any] = {}
    try:
        for block, forward in _replacements(module, tower, layer):
            before[block] = block.__dict__.get("forward", _MISSING)
            block.forward = forward
        yield
    finally:
        for block, old in before.items():
            if old is _MISSING:
                del block.__dict__["forward"]
            else:
                block.forward = old


def _replacements(
    module: nn.Module, tower: Tower, layer: int
) -> Iterator[tuple[nn.Module, Callable[..., Any]]]:
    table = tower.table.block
    hand_on = _hand_on(table.tail, table.carry)
    if tower.shared:
        count = iter(range(len(tower.layers)))
        for path in dict.fromkeys(known.path for known in tower.layers):
            block = module.get_submodule(path)
            yield block, _counted(block.forward, hand_on, count, layer)
        return
    first = 1 if table.carry else 0
    for known in tower.layers[first:layer]:
        yield module.get_submodule(known.path), hand_on


def _hand_on(tail: int, carry: tuple[int, ...]) -> Callable[..., Any]:
    """A forward that returns the residual it is given, in the form the block would return it."""

    def _forward(*args: Any, **kwargs: Any) -> Any:
        slot = find_input(args, kwargs)
        x = get_input(slot, args, kwargs) if slot is not None else None
        if tail < 0:
            return x
        carried = [args[i] if i < len(args) else None for i in carry]
        return (x, *carried, *[None] * (tail - len(carried)))

    return _forward


def _counted(
    original: Callable[..., Any], hand_on: Callable[..., Any], count: Iterator[int], layer: int
) -> Callable[..., Any]:
    def _forward(*args: Any, **kwargs: Any) -> Any:
        return (hand_on if next(count) < layer else original)(*args, **kwargs)

    return _forward


def _fit(module: nn.Module, inputs: Mapping[str, Any], resid: Tensor, stack: str) -> dict[str, Any]:
    """Inputs for as many rows as there are residuals, without a cache (skipped blocks would not fill it)."""
    rows = len(resid)
    fitted = dict(inputs)
    for name, value in inputs.items():
        if isinstance(value, Tensor) and value.ndim >= 1 and len(value) != rows:
            if len(value) != 1:
                raise UsageError(
                    f"You asked to resume {rows} residuals on inputs of {len(value)} texts.",
                    "Every residual needs its text.",
                    "Give one text for all residuals, or one each.",
                )
            fitted[name] = value.expand(rows, *value.shape[1:])
    ids = inputs.get("decoder_input_ids" if stack == "dec" else "input_ids")
    if isinstance(ids, Tensor) and ids.shape[-1] != resid.shape[-2]:
        raise UsageError(
            f"You asked to resume with residuals of {resid.shape[-2]} tokens.",
            f"The inputs have {ids.shape[-1]}.",
            "Give the residual of the same text, special tokens and padding included.",
        )
    if "use_cache" in inspect.signature(module.forward).parameters:
        fitted.setdefault("use_cache", False)
    return fitted
