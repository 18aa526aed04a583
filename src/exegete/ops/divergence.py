"""How far apart are distributions: total variation and Jensen-Shannon divergence.

    tvd(p, q) = 1/2 sum |p - q|                                   in [0, 1]
    jsd(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2, in nats       in [0, ln 2]

Shapes: the last axis holds the distribution; both are differentiable (an entry of exactly 0 adds 0 to a value and passes a
finite gradient). Cost: linear. References: Lin 1991, eq. 4.1; Jain & Wallace 2019 (arXiv:1902.10186), sec. 3.
"""

import torch
from torch import Tensor

_LEAST = 1e-30  # below it p log p is 0 in any precision used here


def tvd(p: Tensor, q: Tensor) -> Tensor:
    """Total variation distance of distributions over the last axis [..., k] -> [...]."""
    return 0.5 * (p - q).abs().sum(-1)


def jsd(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats of distributions over the last axis [..., k] -> [...]; 0 is the least returned."""
    middle = (p + q) / 2
    return (_entropy(middle) - (_entropy(p) + _entropy(q)) / 2).clamp_min(0.0)


def _entropy(p: Tensor) -> Tensor:
    return -(p * torch.log(p.clamp_min(_LEAST))).sum(-1)
