"""Hard-Concrete gates: random numbers in [0, 1] that are exactly 0 or 1 with some probability, and have a gradient.

    s = sigmoid((log u - log(1 - u) + a) / b),   g = min(1, max(0, s (r - l) + l)),   u uniform, b = 1/3, l = -0.1, r = 1.1
    P(g > 0) = sigmoid(a - b log(-l / r))                       the expected L0 penalty of a gate
    settled gate: min(1, max(0, sigmoid(a) (r - l) + l))        without noise

Shapes: any, elementwise. Cost: linear. Reference: Louizos, Welling & Kingma 2018, "Learning Sparse Neural Networks through L0
Regularization", eq. 10-13; with these constants in Voita et al. 2019, sec. 6.1.
"""

import math

import torch
from torch import Tensor

HEAT, LEFT, RIGHT = 1 / 3, -0.1, 1.1


def sampled(a: Tensor, u: Tensor) -> Tensor:
    """A gate for each log-location `a`, from uniform draws `u` in (0, 1); differentiable in `a`."""
    s = torch.sigmoid((u.log() - (1 - u).log() + a) / HEAT)
    return (s * (RIGHT - LEFT) + LEFT).clamp(0, 1)


def open_probability(a: Tensor) -> Tensor:
    """P(g > 0)."""
    return torch.sigmoid(a - HEAT * math.log(-LEFT / RIGHT))


def settled(a: Tensor) -> Tensor:
    """The gate without noise."""
    return (torch.sigmoid(a) * (RIGHT - LEFT) + LEFT).clamp(0, 1)
