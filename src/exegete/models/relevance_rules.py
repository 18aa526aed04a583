"""The rules by which relevance crosses one operation, written as differentiable stand-ins for it.

Relevance of a tensor x is x · g, where g is a modified gradient. Every rule replaces an operation y = f(x) by one with
the same value and another derivative, so that x · g_x = y · g_y up to what constants take ("absorbed"):

    identity     y = x · [y / x]                      activations, soft caps
    half         each factor of a product takes 1/2   gates, q·k, pattern·value
    norm         the normaliser is a constant         layer norm, RMS norm
    softmax      first Taylor term; the rest, E[g] - Cov(x, g) under the softmax, is absorbed
    weighted     contributions to y weighted by their sign, then y shared in proportion: gamma rule, z+ rule
The first four are those of Achtibat et al. 2024 (section 3.3), the last of Montavon et al. 2019 (section 10.2).
[·] is held constant. A `Ledger` counts what each kind of constant absorbs during the backward pass, so that
relevance of inputs + absorbed = output is checked, operation by operation, on whatever model it is.

Cost: the gamma and z+ rules take four products for one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

LinearRule = Literal["epsilon", "gamma", "z_plus"]
AttentionRule = Literal["attnlrp", "cp"]


@dataclass(frozen=True)
class Rules:
    """Which rule each kind of operation follows.

    linear     "epsilon": in proportion to the signed contributions, damped by `epsilon`; "gamma": contributions of the
               sign of the output count 1 + `gamma` times; "z_plus": only they count, in every sum of the model, so that
               all relevance has one sign
    attention  "attnlrp": relevance flows through patterns into queries and keys; "cp": patterns are constants
    """

    linear: LinearRule = "epsilon"
    attention: AttentionRule = "attnlrp"
    epsilon: float = 0.0
    gamma: float = 0.25

    @property
    def one_sign(self) -> bool:
        """Whether every sum shares relevance among contributions of one sign only."""
        return self.linear == "z_plus"

    @property
    def weights(self) -> tuple[float, float]:
        """Weight of a contribution that has, and that has not, the sign of the sum it enters."""
        return {"epsilon": (1.0, 1.0), "gamma": (1.0 + self.gamma, 1.0), "z_plus": (1.0, 0.0)}[self.linear]


@dataclass
class Ledger:
    """What constants absorbed in the backward passes since `clear`, by kind, and the weight matrices that were met."""

    absorbed: dict[str, float] = field(default_factory=dict)
    matrices: set[int] = field(default_factory=set)

    def clear(self) -> None:
        """Start counting anew: before each backward pass."""
        self.absorbed.clear()

    def met(self, weight: Tensor) -> None:
        """Note that a product with this matrix was seen."""
        self.matrices.add(weight.untyped_storage().data_ptr())

    def absorb(self, kind: str, y: Tensor, constant: Any) -> None:
        """Count constant · gradient of `y` when the backward pass comes by; `constant` broadcasts to y."""
        if y.requires_grad:
            c = torch.as_tensor(constant, dtype=y.dtype, device=y.device).detach()
            y.register_hook(lambda g: self.add(kind, c * g, g))

    def add(self, kind: str, amount: Tensor, g: Tensor) -> None:
        """Add up an amount, leaving out places that no gradient reaches (masks hold infinities there)."""
        got = float(amount.detach().masked_fill(g == 0, 0).sum(dtype=torch.float64))
        self.absorbed[kind] = self.absorbed.get(kind, 0.0) + got


class _Swap(torch.autograd.Function):
    """Value of one tensor, derivative of another."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, exact: list[Tensor]) -> Tensor:  # a list: kept out of the graph
        return exact[0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return g, None


class _Share(torch.autograd.Function):
    """The same tensor, passing on only a share of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float) -> Tensor:
        ctx.share = share
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return g * ctx.share, None


def swap(stand_in: Tensor, exact: Tensor) -> Tensor:
    """`exact`, bit for bit, with the derivative of `stand_in`; both of one shape."""
    return _Swap.apply(stand_in.to(exact.dtype), [exact.detach()])  # type: ignore[no-any-return]


def share(x: Tensor, part: float) -> Tensor:
    """`x`, whose gradient counts `part` times."""
    return _Share.apply(x, part)  # type: ignore[no-any-return]


def carries(x: Any) -> bool:
    """Whether `x` is a tensor on which relevance may flow."""
    return isinstance(x, Tensor) and x.requires_grad


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b without gradient, 0 where b is 0."""
    a, b = a.detach(), b.detach()
    return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))


def identity(x: Tensor, y: Tensor) -> Tensor:
    """y = f(x), elementwise, with the relevance of y passed on to x unchanged."""
    return swap(x * ratio(y, x), y)


def damped(y: Tensor, epsilon: float, ledger: Ledger) -> Tensor:
    """`y`, whose gradient is scaled by y / (y + epsilon · sign y)."""
    if epsilon and y.requires_grad:
        factor = (y.abs() / (y.abs() + epsilon)).detach()
        value = y.detach()

        def damp(g: Tensor) -> Tensor:
            ledger.add("epsilon", value * g * (1 - factor), g)
            return g * factor

        y.register_hook(damp)
    return y


def weighted(
    f: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    w: Tensor,
    y: Tensor,
    bias: Any,
    rules: Rules,
    ledger: Ledger,
) -> Tensor:
    """y = f(x, w) + bias for a bilinear f and a constant w: shared by the signs of the contributions x_i w_ij."""
    w = w.detach()
    up = f(x.clamp(min=0), w.clamp(min=0)) + f(x.clamp(max=0), w.clamp(max=0))
    down = f(x.clamp(min=0), w.clamp(max=0)) + f(x.clamp(max=0), w.clamp(min=0))
    b = torch.zeros((), dtype=y.dtype, device=y.device) if bias is None else bias.detach()
    same, other = rules.weights
    a, c = _weights(y, same, other), _weights(-y, same, other)
    whole = ratio(y, a * (up + b.clamp(min=0)) + c * (down + b.clamp(max=0)))
    out = swap(whole * (a * up + c * down), y)
    if bias is not None:
        ledger.absorb("bias", out, whole * (a * b.clamp(min=0) + c * b.clamp(max=0)))
    return out


def one_signed(parts: list[Any], y: Tensor, ledger: Ledger) -> Tensor:
    """y = sum of `parts` (tensors or numbers), shared among those of the sign of y; constants absorb their part."""
    s = y.detach().sign()
    held = [p.detach() if isinstance(p, Tensor) else torch.full_like(y, float(p)) for p in parts]
    size = ratio(y.abs(), sum(((h * s).clamp(min=0) for h in held), torch.zeros_like(y)))
    counts = [((h * s) > 0) * size for h in held]
    flows = [p * m for p, m in zip(parts, counts) if carries(p)]
    out = swap(torch.stack(flows).sum(0) if len(flows) > 1 else flows[0], y)
    for p, h, m in zip(parts, held, counts):
        if not carries(p):
            ledger.absorb("constant", out, h * m)
    return out


def one_signed_sum(f: Callable[[Tensor, bool], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """y = f(x, keepdim), a sum or mean over axes, shared among the terms that have its sign."""
    kept = f(x.detach(), True)
    agree = ((x.detach() * kept.sign()) > 0).to(x.dtype)
    size = ratio(kept.abs(), f((x.detach() * kept.sign()).clamp(min=0), True))
    return swap(f(x * agree * size, False), y)


def softmax_taylor(x: Tensor, y: Tensor, dim: int, ledger: Ledger) -> Tensor:
    """y = softmax(x) with its own gradient; what the first Taylor term leaves is absorbed."""
    held, s = x.detach(), y.detach()

    def rest(g: Tensor) -> None:
        gx = s * (g - (s * g).sum(dim, keepdim=True))
        ledger.add("softmax", s * g, g)
        ledger.add("softmax", -held * gx, gx)

    if y.requires_grad:
        y.register_hook(rest)
    return y


def normed(
    x: Tensor, dims: tuple[int, ...], w: Tensor | None, eps: float, centred: bool, exact: bool
) -> Tensor:
    """Layer norm (or RMS norm) before its bias, with the normaliser held; `exact` keeps each feature's own relevance."""
    middle = x.mean(dims, keepdim=True) if centred else torch.zeros((), dtype=x.dtype, device=x.device)
    rate = ((x - middle).detach().pow(2).mean(dims, keepdim=True) + eps).rsqrt()
    y = (x - middle) * rate if w is None else (x - middle) * rate * w.detach()
    return identity(x, y.detach()) if exact else y


def _weights(y: Tensor, same: float, other: float) -> Tensor:
    return torch.where(y.detach() > 0, same, other).to(y.dtype)
