"""Matrix modules whatever their class: sizes and effective weights of `nn.Linear`, GPT-2's `Conv1D`, adapters, quantised ones."""

from typing import Any

import torch
from torch import Tensor, nn

from exegete.models.placement import computes_on, weight_of


def matrix_shape(module: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a matrix module: `nn.Linear` and its kin, GPT-2's `Conv1D`, or an adapter around one."""
    inner: Any = getattr(module, "base_layer", module)
    if hasattr(inner, "in_features"):
        return int(inner.in_features), int(inner.out_features)
    rows, columns = inner.weight.shape
    return (rows, columns) if type(inner).__name__ == "Conv1D" else (columns, rows)


def linear_map(module: nn.Module, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """(weight [inputs, outputs], bias [outputs]) of a module that is linear plus a constant, whatever its class.

    Plain matrices are read, from where they lie when they were laid off; any other class (adapter, quantised) is probed with the
    identity: one call on [inputs, inputs]. Both come on `device`, or else where the module computes.
    """
    weight, bias = _map(module)
    return (weight, bias) if device is None else (weight.to(device), bias.to(device))


def _map(module: nn.Module) -> tuple[Tensor, Tensor]:
    bias = _numbers(module, "bias")
    weight = _numbers(module, "weight")
    plain = isinstance(weight, Tensor) and weight.is_floating_point() and weight.device.type != "meta"
    if plain and isinstance(module, nn.Linear) and type(module.weight) is nn.Parameter:
        return weight.T, bias if bias is not None else weight.new_zeros(weight.shape[0])
    if plain and type(module).__name__ == "Conv1D":
        return weight, bias if bias is not None else weight.new_zeros(weight.shape[1])
    probe = next(p for p in module.parameters() if p.is_floating_point())
    eye = torch.eye(matrix_shape(module)[0], dtype=probe.dtype, device=computes_on(module, probe))
    # `forward` itself: calling the module would run the hooks of the very trace that asks.
    constant = module.forward(torch.zeros_like(eye[:1]))[0]
    return module.forward(eye) - constant, constant


def _numbers(module: nn.Module, name: str) -> Any:
    """A parameter of this module, from where it lies when it was laid off."""
    found = getattr(module, name, None)
    if (
        not isinstance(found, Tensor)
        or found.device.type != "meta"
        or name not in dict(module.named_parameters(recurse=False))
    ):
        return found
    return weight_of(module, name).to(computes_on(module, found), found.dtype)
