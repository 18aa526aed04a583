"""The toy model of superposition: more features than dimensions, trained for many settings at once.

    x     n features, each 0 with probability S (the sparsity), else uniform on [0, 1]
    x_hat = ReLU(W^T W x + b),   W [m, n] with m < n              (linear: without ReLU and b)
    loss  = mean over x of sum_i importance_i (x_i - x_hat_i)^2

1. every setting (sparsity, importance, seed) is one slice of a batch of models [setting, m, n]; the gradient is written out;
2. Adam with a rate that falls to zero.

What is read off a trained W:
    stored              |W_i|^2, about 1 for a feature that is kept, 0 for one that is not
    dimensionality      D_i = |W_i|^2 / sum_j (What_i . W_j)^2: 1 has a dimension to itself, 1/2 shares it with one other
The D_i of a matrix add up to m at most: with A = W W^T, D_i = (W_i . W_i)^2 / (W_i . A W_i) <= W_i . A^+ W_i (Cauchy-Schwarz),
and these leverages add up to the rank of W.

Cost: n_steps * batch * settings * 4 m n operations. Shapes: weight [setting, m, n], bias [setting, n].
Reference: Elhage et al. 2022, "Toy Models of Superposition".
"""

from dataclasses import dataclass

import torch
from torch import Tensor

KEPT, ALONE = (
    0.25,
    0.9,
)  # |W_i|^2 from which a feature counts as kept, D_i from which it has a dimension to itself


@dataclass(frozen=True, eq=False)
class Toy:
    """Trained models: `weight` [setting, m, n], `bias` [setting, n], and the `loss` [setting] on fresh data."""

    weight: Tensor
    bias: Tensor
    loss: Tensor

    def stored(self) -> Tensor:
        """|W_i|^2 of every feature [setting, n]."""
        return self.weight.square().sum(1)

    def dimensionality(self) -> Tensor:
        """D_i of every feature [setting, n]; 0 for one that is not kept at all."""
        square = self.stored()
        overlap = (self.weight.transpose(1, 2) @ self.weight).square().sum(2)  # sum_j (W_i . W_j)^2
        return square.square() / overlap.clamp_min(1e-12) * (square > 1e-6)


def told_apart(toy: Toy, feature: int) -> Tensor:
    """What becomes of one feature in each setting [setting]: 0 not kept, 1 a dimension to itself, 2 in superposition."""
    kept = toy.stored()[:, feature] > KEPT
    shared = toy.dimensionality()[:, feature] < ALONE
    return kept.long() * (1 + shared.long())


def sample(density: Tensor, rows: int, n: int, draw: torch.Generator) -> Tensor:
    """Features [setting, row, n]; `density` [setting] is the share that is not zero."""
    shape = (len(density), rows, n)
    on = torch.rand(shape, generator=draw) < density[:, None, None]
    return torch.rand(shape, generator=draw) * on


def train(
    density: Tensor,
    importance: Tensor,
    m: int,
    *,
    n_steps: int,
    batch: int,
    rate: float,
    seed: int,
    linear: bool = False,
) -> Toy:
    """Models of m dimensions for settings of `density` [setting] and `importance` [setting, n]. Raises no errors."""
    draw = torch.Generator().manual_seed(seed % (1 << 63))
    settings, n = importance.shape
    weight = torch.randn(settings, m, n, generator=draw) * (2.0 / (m + n)) ** 0.5
    bias = torch.zeros(settings, n)
    adam = torch.optim.Adam([weight, bias], lr=rate, fused=True)
    for step in range(n_steps):
        x = sample(density, batch, n, draw)
        weight.grad, bias.grad = gradients(weight, bias, x, importance, density, linear)
        adam.param_groups[0]["lr"] = rate * min(1.0, 2 * (1 - step / n_steps))
        adam.step()
    x = sample(density, 4096, n, draw)
    error = (_forward(weight, bias, x, linear)[1] - x).square()
    return Toy(weight, bias, (error * importance[:, None]).sum(2).mean(1))


def gradients(
    weight: Tensor, bias: Tensor, x: Tensor, importance: Tensor, density: Tensor, linear: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of the mean loss [setting], each divided by its density, so that sparse settings learn as fast as dense ones."""
    hidden, out = _forward(weight, bias, x, linear)
    scale = 2 / (x.shape[1] * density)
    g = (out - x) * importance[:, None] * scale[:, None, None]
    if not linear:
        g = g * (out > 0)
    back = g @ weight.transpose(1, 2)  # [setting, row, m]
    moved = hidden.transpose(1, 2) @ g + back.transpose(1, 2) @ x
    return moved, torch.zeros_like(bias) if linear else g.sum(1)


def _forward(weight: Tensor, bias: Tensor, x: Tensor, linear: bool) -> tuple[Tensor, Tensor]:
    hidden = x @ weight.transpose(1, 2)
    out = hidden @ weight
    return hidden, out if linear else (out + bias[:, None]).relu()
