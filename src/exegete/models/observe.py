"""One pass of an unknown model, written down: which module ran when, on what, and where attention took place.

Used by discovery only. Plain hooks on every module and a function mode around the pass; the model is left as found.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from exegete.core.errors import UnsupportedModel
from exegete.models.slots import find_input, get_input, get_output, output_slot

_CLOSE = 2e-5
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


@dataclass
class Call:
    """One call of one module: `start` and `end` order all events; tensors are copies, None where there is no activation."""

    path: str
    start: int
    entered: Tensor | None = None
    returned: Tensor | None = None
    end: int = -1
    tail: int = -1  # entries after the tensor in a returned tuple, -1 for a bare tensor


@dataclass(frozen=True)
class Attention:
    """One attention: the innermost module it happened in, when, and the numbers of query and key-value heads."""

    path: str
    when: int
    heads: int
    kv_heads: int


@dataclass
class Observation:
    """Everything one pass showed, in order."""

    calls: list[Call] = field(default_factory=list)
    attentions: list[Attention] = field(default_factory=list)
    output: Any = None

    def of(self, path: str) -> Call | None:
        """The first call of a module."""
        return next((c for c in self.calls if c.path == path), None)

    def inside(self, path: str) -> list[Call]:
        """Calls of the modules strictly inside another, in the order in which they started."""
        return [c for c in self.calls if c.path.startswith(f"{path}.")]


class _Watch(TorchFunctionMode):
    """Notes where scaled dot products and softmaxes over keys happen."""

    def __init__(self, notes: "_Notes") -> None:
        super().__init__()
        self.notes = notes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note attention, and run the call as it is."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and len(args) >= 2:
            self.notes.attend(args[0].shape[1], distinct_heads(args[1]))
        elif func in _SOFTMAX:
            x = args[0] if args else kwargs["input"]
            if x.ndim == 4:
                self.notes.attend(x.shape[1], 0)
        return func(*args, **kwargs)


class _Notes:
    def __init__(self) -> None:
        self.seen = Observation()
        self.open: list[Call] = []
        self.clock = 0

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    def enter(self, path: str, _m: nn.Module, args: Any, kwargs: Any) -> None:
        slot = find_input(args, kwargs)
        entered = get_input(slot, args, kwargs).detach().clone() if slot is not None else None
        call = Call(path, self.tick(), entered)
        self.open.append(call)
        self.seen.calls.append(call)

    def leave(self, _m: nn.Module, _args: Any, out: Any) -> None:
        call = self.open.pop()
        call.end = self.tick()
        slot = output_slot(out, "logits")
        if slot is not None:
            call.returned = get_output(out, slot).detach().clone()
            call.tail = len(out) - 1 if isinstance(out, tuple | list) else -1

    def attend(self, heads: int, kv_heads: int) -> None:
        self.seen.attentions.append(Attention(self.open[-1].path, self.tick(), heads, kv_heads))


def observe(module: nn.Module, inputs: Mapping[str, Tensor]) -> Observation:
    """Run the module once and write down every call."""
    notes = _Notes()
    handles: list[Any] = []
    try:
        for path, part in module.named_modules():
            enter: Any = partial(notes.enter, path)
            handles.append(part.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(part.register_forward_hook(notes.leave))
        with torch.no_grad(), _Watch(notes):
            notes.seen.output = module(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return notes.seen


def distinct_heads(keys: Tensor) -> int:
    """Key-value heads behind [batch, head, key, dh]: the fewest whose repetition gives all."""
    heads = keys.shape[1]
    for times in (t for t in range(heads, 1, -1) if heads % t == 0):
        if torch.equal(keys, keys[:, ::times].repeat_interleave(times, 1)):
            return heads // times
    return heads


def fits(x: Tensor | None, other: Tensor) -> bool:
    """Whether a tensor is another in size and width, whatever its leading axes."""
    return x is not None and x.numel() == other.numel() and x.shape[-1] == other.shape[-1]


def like(x: Tensor | None, other: Tensor) -> Tensor:
    """A tensor in the shape of another."""
    return sure(x).reshape(other.shape)


def same(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two tensors hold the same numbers, bit by bit."""
    return a is not None and b is not None and a.numel() == b.numel() and torch.equal(a.reshape(b.shape), b)


def near(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors agree up to rounding."""
    return float((a - b).abs().max()) <= _CLOSE * max(1.0, float(b.abs().max()))


def within(path: str, parent: str) -> bool:
    """Whether a path is another or lies inside it."""
    return not parent or path == parent or path.startswith(f"{parent}.")


def sure(x: Any) -> Any:
    """What an earlier step has made sure of; None here is a defect of discovery, told as any other failure of it."""
    if x is None:
        raise UnsupportedModel(
            "You asked to map a model of unknown architecture.",
            "A part of it was not run.",
            "Write a family table for it (models/families).",
        )
    return x
