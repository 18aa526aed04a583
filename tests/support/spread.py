"""A tiny model spread over the CPU and a pretended device by accelerate, as a large one is over several GPUs."""

from typing import Any

import accelerate
from torch import nn

from exegete.models.family import bind
from support.pretend_gpu import NAME, Held


def device_map(module: nn.Module, there: str = f"{NAME}:0") -> dict[str, str]:
    """Embeddings and the first half of the layers of every stack here; the other half, last norms and heads there."""
    bound: Any = bind(module)
    second = {
        layer.path
        for tower in bound.towers.values()
        for i, layer in enumerate(tower.layers)
        if 2 * i >= len(tower.layers)
    }
    if any(tower.shared for tower in bound.towers.values()):
        second = set()  # one module for all layers lies on one device
    second |= {tower.norm for tower in bound.towers.values() if tower.norm}
    heads = {n for n, _ in module.named_children() if n not in (module.base_model_prefix, "model")}
    second |= {n for n in heads if not _tied(module, n)}
    found: dict[str, str] = {}

    def place(name: str) -> None:
        at = module.get_submodule(name)
        if name in second:
            found[name] = there
        elif any(s.startswith(f"{name}." if name else "") for s in second):
            own = [n for n, _ in at.named_parameters(recurse=False)] + [
                n for n, _ in at.named_buffers(recurse=False)
            ]
            found.update({f"{name}.{n}".lstrip("."): "cpu" for n in own})
            for child, _ in at.named_children():
                place(f"{name}.{child}".lstrip("."))
        else:
            found[name] = "cpu"

    place("")
    return found


def _tied(module: nn.Module, head: str) -> bool:
    """Whether a head shares a weight with another part: it must lie where that lies."""
    elsewhere = {
        id(p) for n, p in module.named_parameters(remove_duplicate=False) if not n.startswith(f"{head}.")
    }
    return any(id(p) in elsewhere for p in module.get_submodule(head).parameters())


def spread(module: nn.Module) -> nn.Module:
    """The module on two devices; inputs go to the CPU, no gradient of a weight is wanted."""
    given: Any = module
    whole = device_map(given)
    accelerate.dispatch_model(given, whole, main_device="cpu", skip_keys=given._skip_keys_device_placement)
    return given.requires_grad_(False)


def there(module: nn.Module) -> list[str]:
    """Names of weights on the pretended device."""
    return [n for n, p in module.named_parameters() if isinstance(p, Held)]
