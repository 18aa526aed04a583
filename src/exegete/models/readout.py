"""The way from the last residual to chosen logits, frozen at one activation into an exact affine map.

1. run the model's own final norm and head on the residuals x, and note what enters and leaves every matrix and every norm
   of it, in order;
2. freeze each step there: a matrix is linear; a norm is linear once its scale is held (`models.norms`); what lies between
   two steps (an activation function) becomes the factor by which it changed each coordinate;
3. walk back from the rows of the last matrix that belong to the ids asked for.

Then logit = <x, direction> + constant before a soft cap, exactly, with factors on residual and logits (T5, Cohere, Granite)
and a buffer added to the logits (BART) included. A soft cap (Gemma 2) comes after the sum; `capped` applies it.

Shapes: x [batch, d]; ids [id, batch]; direction [id, batch, d]; constant [id, batch]. Cost: the head on x, and no pass.
Reference: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (frozen norms).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exegete.core.errors import ModelError
from exegete.models.family import ModelMap
from exegete.models.matrix import linear_map
from exegete.models.norms import freeze

_TINY = 1e-20


@dataclass(frozen=True, eq=False)
class Readout:
    """Logits of chosen ids before the soft cap, as an affine map of the last residual: `direction` and `constant`."""

    direction: Tensor
    constant: Tensor
    cap: float | None

    def capped(self, logits: Tensor) -> Tensor:
        """Logits as the model gives them, from those before the cap."""
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


@dataclass(frozen=True, eq=False)
class _Step:
    """A matrix or a norm of the head, and what entered and left it."""

    module: nn.Module
    entered: Tensor
    left: Tensor


def readout(bound: ModelMap, x: Tensor, ids: Tensor) -> Readout:
    """The frozen way from last residuals x [batch, d] to logits of `ids` [id, batch]. Raises `ModelError`, `SiteError`."""
    with torch.no_grad():
        seen = _seen(bound, x)
        config: Any = bound.module.config
        head = bound.head
        times = float(getattr(config, head.times)) if head and head.times else 1.0
        times /= float(getattr(config, head.over)) if head and head.over else 1.0
        u, constant = _rows(seen[-1], ids)
        for i in range(len(seen) - 2, -1, -1):
            u = u * _factor(seen[i].left, seen[i + 1].entered)
            u, added = _back(seen[i], u)
            constant = constant + added
        u = u * _factor(x, seen[0].entered)
        if head and head.shift:
            constant = constant + getattr(bound.module, head.shift).flatten().to(ids.device)[ids]
        cap = getattr(config, head.softcap, None) if head and head.softcap else None
        return Readout(u * times, constant * times, cap)


def _seen(bound: ModelMap, x: Tensor) -> list[_Step]:
    """The steps of final norm and head, in the order in which they ran on x."""
    steps: list[_Step] = []
    hooks = [m.register_forward_hook(_noting(steps, x.device)) for m in _leaves(bound)]
    try:
        bound.unembed(x)
    finally:
        for h in hooks:
            h.remove()
    return steps


def _leaves(bound: ModelMap) -> list[nn.Module]:
    """Matrices and norms of the head: modules with parameters of their own, and a final norm even without any."""
    roots = [bound.tower().norm] if bound.tower().norm else []
    found = [bound.at(p) for p in roots]
    for step in bound.head.steps if bound.head else ():
        try:
            module = bound.at(step.removesuffix("?"))
        except AttributeError:
            continue
        inner = [m for m in module.modules() if not list(m.children()) and list(m.parameters(recurse=False))]
        found += [m for m in inner if all(m is not f for f in found)]
    return found


def _noting(steps: list[_Step], device: torch.device) -> Callable[[nn.Module, Any, Any], None]:
    def note(module: nn.Module, args: Any, out: Any) -> None:
        steps.append(_Step(module, *(x.detach().to(device, copy=True) for x in (args[0], out))))

    return note


def _rows(step: _Step, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Direction [id, batch, d] and constant [id, batch] of the last matrix."""
    whole, bias = linear_map(step.module)
    at = ids.to(whole.device)  # a few rows travel, not the matrix
    return whole.T.detach()[at].to(ids.device), bias.detach()[at].to(ids.device)


def _back(step: _Step, u: Tensor) -> tuple[Tensor, Tensor]:
    """The direction before a step that is u after it, and the constant that the step adds to <., u>."""
    if step.entered.shape[-1] != step.left.shape[-1] or isinstance(step.module, nn.Linear):
        weight, bias = linear_map(step.module, u.device)
        return u @ weight.detach().T, (u * bias.detach()).sum(-1)
    norm = freeze(step.module, step.entered)
    return norm.transpose(u), (u * norm.bias).sum(-1)


def _factor(left: Tensor, entered: Tensor) -> Tensor:
    """What happened to each coordinate between two steps: 1 where nothing did."""
    if torch.equal(left, entered):
        return torch.ones_like(left)
    factor = torch.where(left.abs() > _TINY, entered / left, torch.zeros_like(left))
    if not bool(((factor * left - entered).abs() <= 1e-4 * entered.abs().clamp_min(1.0)).all()):
        raise ModelError(
            "You asked for direct attribution through the head of a model.",
            "Between two of its matrices something happens that no factor a coordinate describes.",
            "Use activation patching instead.",
        )
    return factor
