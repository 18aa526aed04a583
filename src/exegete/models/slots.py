"""Where the tensor of interest is in a module's call: among its arguments, or in what it returns.

The residual enters a block by keyword in some families and by position in others; modules return a bare tensor, a tuple, a
list or a named output. Each helper finds the tensor, or puts another in its place and keeps everything else as it was.
"""

from typing import Any

from torch import Tensor

Slot = int | str


def is_activation(x: Any) -> bool:
    """Whether a value is a floating-point tensor of rank two or more."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.ndim >= 2


def find_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Slot | None:
    """The slot of the residual among the arguments of a call: `hidden_states`, else the first activation."""
    if is_activation(kwargs.get("hidden_states")):
        return "hidden_states"
    by_place = next((i for i, a in enumerate(args) if is_activation(a)), None)
    return (
        by_place if by_place is not None else next((n for n, a in kwargs.items() if is_activation(a)), None)
    )


def get_input(slot: Slot, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The tensor in a slot."""
    return args[slot] if isinstance(slot, int) else kwargs[slot]


def put_input(
    slot: Slot, args: tuple[Any, ...], kwargs: dict[str, Any], new: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with another tensor in a slot."""
    if isinstance(slot, int):
        return (*args[:slot], new, *args[slot + 1 :]), kwargs
    return args, {**kwargs, slot: new}


def output_slot(out: Any, key: str = "") -> Slot | None:
    """Where the tensor is in a module's return: -1 for the return itself, a name or an index otherwise, None if nowhere."""
    if isinstance(out, Tensor):
        return -1
    if hasattr(out, "to_tuple"):
        return key if key and getattr(out, key, None) is not None else None
    if isinstance(out, tuple | list):
        return next((i for i, x in enumerate(out) if is_activation(x)), None)
    return None


def get_output(out: Any, slot: Slot) -> Tensor:
    """The tensor in a slot of a return."""
    if isinstance(slot, str):
        return getattr(out, slot)
    return out if slot == -1 else out[slot]


def put_output(out: Any, slot: Slot, new: Tensor) -> Any:
    """The return with another tensor in a slot; its type is kept."""
    if slot == -1:
        return new
    if isinstance(slot, str):
        return type(out)(**{**dict(out), slot: new})
    return type(out)((*out[:slot], new, *out[slot + 1 :]))
