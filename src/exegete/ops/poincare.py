"""The Poincare ball of curvature -c: the open ball of radius 1 / sqrt(c), in which distances grow without bound at the rim.

    expmap0(v)           = tanh(sqrt(c) |v|) v / (sqrt(c) |v|)             from the flat space at the middle into the ball
    logmap0              its inverse
    mobius_add(x, y)     = ((1 + 2c<x,y> + c|y|^2) x + (1 - c|x|^2) y) / (1 + 2c<x,y> + c^2 |x|^2 |y|^2)
    mobius_matvec(M, x)  = exp_0(M log_0(x))
    distance(x, y)       = 2 / sqrt(c) artanh(sqrt(c) |-x + y|)            with the sum of above
    ball_distances       all distances of points at once; sinh^2(sqrt(c) d / 2) = c |x - y|^2 / ((1 - c|x|^2)(1 - c|y|^2))

Two identities that tests hold: M (x) exp_0(v) = exp_0(M v), so that a hyperbolic probe is a linear map and one exp_0; and the
distance of exp_0(v) from the middle is 2 |v|, so that a hyperbolic *depth* probe is the Euclidean one (a factor in B).

Shapes: vectors [..., width]. Reference: Ganea et al. 2018, "Hyperbolic Neural Networks", sec. 2; Chen et al. 2021, sec. 3.
"""

import torch
from torch import Tensor

TINY = 1e-15
RIM = 1e-7  # points are kept that far inside, as shares of the radius


def expmap0(v: Tensor, c: float = 1.0) -> Tensor:
    """Points of the ball [..., width]."""
    size = (v.square().sum(-1, keepdim=True) + TINY).sqrt() * c**0.5
    return v * (size.tanh().clamp(max=1 - RIM) / size)


def logmap0(x: Tensor, c: float = 1.0) -> Tensor:
    """What `expmap0` made x of."""
    size = (x.square().sum(-1, keepdim=True) + TINY).sqrt() * c**0.5
    return x * (size.clamp(max=1 - RIM).atanh() / size)


def mobius_add(x: Tensor, y: Tensor, c: float = 1.0) -> Tensor:
    """The sum of two points: not commutative, and a point and its negative make the middle."""
    xy, xx, yy = ((a * b).sum(-1, keepdim=True) for a, b in ((x, y), (x, x), (y, y)))
    above = (1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y
    return above / (1 + 2 * c * xy + c**2 * xx * yy)


def mobius_matvec(m: Tensor, x: Tensor, c: float = 1.0) -> Tensor:
    """The matrix m [out, width] applied to points [..., width]."""
    return expmap0(logmap0(x, c) @ m.T, c)


def distance(x: Tensor, y: Tensor, c: float = 1.0) -> Tensor:
    """Distance [...] of two points, by the sum."""
    gap = mobius_add(-x, y, c).norm(dim=-1) * c**0.5
    return 2 / c**0.5 * gap.clamp(max=1 - TINY).atanh()


def ball_distances(x: Tensor, c: float = 1.0) -> Tensor:
    """Distances [..., point, point] between points [..., point, width]."""
    size = x.square().sum(-1)
    gap = (size[..., :, None] + size[..., None, :] - 2 * x @ x.transpose(-1, -2)).clamp(min=0.0)
    rim = 1 - c * size
    near = c * gap / (rim[..., :, None] * rim[..., None, :])
    return 2 / c**0.5 * torch.asinh((near + TINY).sqrt())
