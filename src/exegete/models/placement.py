"""Where the weights of a model lie: on one device, on several, or off them (in main memory or on disk).

A model that is larger than a device is spread by Hugging Face's accelerate: it puts a hook around the `forward` of every module,
which takes what the module is given to the device of its weights, and fetches weights that were laid off (in main memory beside a
GPU, or on disk) for the time of the call. Between calls such a weight is a shape without numbers (device "meta").

1. `home` is the one device where inputs go, and to which everything read from a spread model is brought (`models.wires`), so that
   layers of several devices can be stacked, compared and edited with one tensor;
2. `weight_of` reads a weight that was laid off from where it lies, without a pass;
3. `need_here` refuses, by letter, what must write to a weight that was laid off, or differentiate with respect to it: the hook
   fetches the old numbers again at the next call, and the change would be lost in silence.

Cost: none for a model on one device; a copy of what is read or edited for layers elsewhere. Reference: accelerate's guide to big
model inference (`dispatch_model`, `AlignDevicesHook`).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.errors import ModelError


def is_spread(module: nn.Module) -> bool:
    """Whether accelerate has spread this module over several devices, or laid some of its weights off."""
    return hasattr(module, "_hf_hook")


def computes_on(module: nn.Module, like: Tensor) -> torch.device:
    """The device on which a module computes; `like` is one of its weights, whose device it is unless it was laid off."""
    if like.device.type != "meta":
        return like.device
    found = [d for h in _hooks(module) if (d := getattr(h, "execution_device", None)) is not None]
    return torch.device(found[-1]) if found else like.device


def laid_off(module: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that lie on no device between two calls."""
    return tuple(n for n, p in module.named_parameters() if p.device.type == "meta")


def weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every entry of the module's state, by name; one that was laid off is read when its turn comes."""
    for name, t in module.state_dict().items():
        yield name, weight_of(module, name) if t.device.type == "meta" else t


def weight_of(module: nn.Module, name: str) -> Tensor:
    """The numbers of a weight that was laid off, by its name in `module`. Raises `ModelError` when nothing holds them."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, -1, -1):
        owner, inner = module.get_submodule(".".join(parts[:cut])), ".".join(parts[cut:])
        for hook in _hooks(owner):
            held = getattr(hook, "weights_map", None)
            if held is not None and inner in held:
                return held[inner]
    raise ModelError(
        f"You asked for the weight {name!r}.",
        "It has a shape and no numbers: it lies on no device, and nothing says where it was laid off.",
        "Load the model again, with device_map='auto' or on one device.",
    )


def need_here(module: nn.Module, asked: str) -> None:
    """Raises `ModelError` when some weights were laid off, for what must write to weights or differentiate by them."""
    missing = laid_off(module)
    if missing:
        raise ModelError(
            asked,
            f"{len(missing)} of its weights ({', '.join(missing[:2])}, ...) lie in main memory or on disk, and are fetched anew at "
            "every call: what is written to them would be lost.",
            "Load the model so that all of it lies on devices: more of them, a smaller dtype, or a device_map without cpu and disk.",
        )


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    """The accelerate hooks of one module, outermost first."""
    hook = getattr(module, "_hf_hook", None)
    return () if hook is None else tuple(getattr(hook, "hooks", (hook,)))
