"""Norms as black boxes, frozen at an activation: the linear map a norm is once its scale is held fixed.

1. bias b = norm(0).
2. centred: norm(constant) = b exactly when the mean is subtracted.
3. gain g from a probe of +-100, whose normed value is known.
4. scale s(x), one number a token, by least squares of norm(x) - b on g * (x - c mean x) at the activation itself.

Then norm(x) = g * (x - c mean x) * s + b, and the part before b is linear in x for fixed s, so that the contributions of
the terms of a residual are an exact sum. No class is named: LayerNorm, RMSNorm, gains counted from one (Gemma), norms
without parameters (OLMo) and `Identity` are all found by probing. What does not fit is refused.

Cost: four calls of the norm. Reference: Elhage et al. 2021, "A mathematical framework for transformer circuits" (the norm
as a linear map once its scale is fixed).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from exegete.core.errors import ModelError

_PROBE = 100.0
TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """A norm at one activation: `gain` [d], `bias` [d], `centred`, `scale` [..., 1] and the largest misfit `error`."""

    gain: Tensor
    bias: Tensor
    centred: bool
    scale: Tensor
    error: float

    def linear(self, x: Tensor) -> Tensor:
        """The share of the norm's output that comes from a term x [..., d] of the residual; sums over terms exactly."""
        return self.gain * _centre(x, self.centred) * self.scale

    def __call__(self, x: Tensor) -> Tensor:
        """`linear(x)` plus the bias: the norm itself where x is the activation it was frozen at."""
        return self.linear(x) + self.bias

    def transpose(self, direction: Tensor) -> Tensor:
        """The direction [..., d] read before the norm that is `direction` after it: <linear(x), u> = <x, transpose(u)>."""
        return _centre(self.gain * direction, self.centred) * self.scale


def freeze(module: Callable[[Tensor], Tensor], x: Tensor) -> FrozenNorm:
    """Freeze a norm at the activation x [..., d]. Raises `ModelError` when it is not a norm of this kind."""

    def norm(v: Tensor) -> Tensor:
        return module(v).to(v.device)  # a norm on another device answers there

    with torch.no_grad():
        x = x.detach()
        zero = torch.zeros_like(x.reshape(-1, x.shape[-1])[:1])
        bias = norm(zero)[0]
        centred = bool(torch.allclose(norm(zero + 3.0)[0], bias, atol=1e-3))
        gain = _gain(norm, zero, bias, centred)
        actual = norm(x)
        shape = gain * _centre(x, centred)
        scale = ((actual - bias) * shape).sum(-1, keepdim=True) / shape.square().sum(
            -1, keepdim=True
        ).clamp_min(1e-30)
        misfit = float((shape * scale + bias - actual).abs().max()) / max(1.0, float(actual.abs().max()))
    loose = TOLERANCE if x.dtype in (torch.float32, torch.float64) else 2e-2
    if not misfit <= loose:
        raise ModelError(
            f"You asked to freeze the norm {type(module).__name__}.",
            f"It is not gain * (x - mean) * scale + bias: the best fit misses by {misfit:.1e}.",
            "Direct attribution through this norm is not exact; use an intervention instead.",
        )
    return FrozenNorm(gain, bias, centred, scale, misfit)


def _gain(norm: Callable[[Tensor], Tensor], zero: Tensor, bias: Tensor, centred: bool) -> Tensor:
    signs = torch.ones_like(zero)
    signs[..., ::2] = -1.0
    probe = _centre(signs * _PROBE, centred)
    unit = probe / probe.square().mean(-1, keepdim=True).sqrt()
    return ((norm(signs * _PROBE) - bias) / unit)[0]


def _centre(x: Tensor, centred: bool) -> Tensor:
    return x - x.mean(-1, keepdim=True) if centred else x
