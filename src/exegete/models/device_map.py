"""`device_map`: which part of a model goes to which device, checked before anything is loaded.

"auto" fills the devices that are there, then main memory, then disk ("balanced", "balanced_low_0" and "sequential" are other orders of
accelerate's); a dict says it by hand, module by module ({"model.embed_tokens": 0, "model.layers.0": 0, ..., "lm_head": 1}). Weights
that go to disk and cannot be read from the checkpoint as they are are written to a temporary folder, which lives as long as the model.

No pass. Reference: Hugging Face's guide to big models; `accelerate.infer_auto_device_map`.
"""

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from exegete.core.errors import ModelError, UnknownName, UsageError

DeviceMap = str | dict[str, Any]
AUTOMATIC = ("auto", "balanced", "balanced_low_0", "sequential")
ASIDE = ("cpu", "disk")


def check_map(device_map: DeviceMap | None, device: Any, source: Any) -> None:
    """Raises `UsageError`, `UnknownName` or `ModelError` for a map that cannot be followed."""
    if device_map is None:
        return
    if device is not None:
        raise UsageError(
            f"You asked for the device {str(device)!r} and for a device map.",
            "One puts the whole model on one device, the other spreads it over several.",
            "Give one of them.",
        )
    if not isinstance(source, str) and not hasattr(source, "__fspath__"):
        raise UsageError(
            "You asked to spread a model that is in memory already.",
            "A device map says where weights go while they are loaded.",
            "Give a name or a folder; or spread it by accelerate.dispatch_model first, and load the pair without device_map.",
        )
    if isinstance(device_map, str) and device_map not in AUTOMATIC:
        raise UnknownName("device map", device_map, AUTOMATIC)
    if not isinstance(device_map, str) and not (isinstance(device_map, dict) and device_map):
        raise UsageError(
            f"You gave a {type(device_map).__name__} as device map.",
            f"It is one of {', '.join(AUTOMATIC)}, or a dict from names of modules to devices.",
            "Write device_map='auto'.",
        )
    for place in device_map.values() if isinstance(device_map, dict) else ():
        if place != "disk":
            check_device(place)
    if find_spec("accelerate") is None:
        raise ModelError(
            "You asked to spread a model over several devices.",
            "That is done by the package accelerate, which is not installed.",
            "Install it: pip install 'exegete[gpu]'.",
        )


def check_device(device: Any) -> None:
    """Raises `UsageError` for what names no device that computes."""
    try:
        known = device is None or torch.device(device)
    except (RuntimeError, TypeError):
        known = False
    if known is False or (device is not None and torch.device(device).type == "meta"):
        raise UsageError(
            f"You asked for the device {str(device)!r}.",
            "There is no device of that name that computes.",
            "Write cpu, cuda, cuda:1 or mps.",
        )


def beyond_cpu(device_map: DeviceMap | None) -> bool:
    """Whether some part goes to a device other than the CPU."""
    if isinstance(device_map, dict):
        return any(p not in ASIDE and torch.device(p).type != "cpu" for p in device_map.values())
    return device_map is not None and torch.accelerator.is_available()


@dataclass
class _Aside:
    """A temporary folder for weights on disk, and the loader's options."""

    options: dict[str, Any]
    folder: "tempfile.TemporaryDirectory[str] | None" = None
    kept: bool = False

    def keep_for(self, module: nn.Module) -> None:
        """Let the folder live as long as the module."""
        if self.folder is not None:
            weakref.finalize(module, self.folder.cleanup)
            self.kept = True


@contextmanager
def room_aside(device_map: DeviceMap | None) -> Iterator[_Aside]:
    """Options for Hugging Face's loader, with a folder for what may go to disk; removed when loading fails."""
    if device_map is None:
        yield _Aside({})
        return
    disk = isinstance(device_map, str) or "disk" in device_map.values()
    folder = tempfile.TemporaryDirectory(prefix="exegete-") if disk else None
    options: dict[str, Any] = {"device_map": device_map}
    aside = _Aside(options | ({} if folder is None else {"offload_folder": folder.name}), folder)
    try:
        yield aside
    finally:
        if folder is not None and not aside.kept:
            folder.cleanup()
