"""Matrix modules whatever their class: sizes and effective weights of `nn.Linear`, GPT-2's `Conv1D`, adapters, quantised ones."""

from typing import Any

import torch
from torch import Tensor, nn


def matrix_shape(module: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a matrix module: `nn.Linear` and its kin, GPT-2's `Conv1D`, or an adapter around one."""
    inner: Any = getattr(module, "base_layer", module)
    if hasattr(inner, "in_features"):
        return int(inner.in_features), int(inner.out_features)
    rows, columns = inner.weight.shape
    return (rows, columns) if type(inner).__name__ == "Conv1D" else (columns, rows)


def linear_map(module: nn.Module) -> tuple[Tensor, Tensor]:
    """(weight [inputs, outputs], bias [outputs]) of a module that is linear plus a constant, whatever its class.

    Plain matrices are read; any other class (adapter, quantised) is probed with the identity: one call on [inputs, inputs].
    """
    bias = getattr(module, "bias", None)
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Linear) and type(weight) is nn.Parameter and weight.is_floating_point():
        return weight.T, bias if bias is not None else weight.new_zeros(weight.shape[0])
    if type(module).__name__ == "Conv1D" and weight is not None:
        return weight, bias if bias is not None else weight.new_zeros(weight.shape[1])
    probe = next(p for p in module.parameters() if p.is_floating_point())
    eye = torch.eye(matrix_shape(module)[0], dtype=probe.dtype, device=probe.device)
    # `forward` itself: calling the module would run the hooks of the very trace that asks.
    constant = module.forward(torch.zeros_like(eye[:1]))[0]
    return module.forward(eye) - constant, constant
