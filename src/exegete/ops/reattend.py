"""Other attention in the place of a given one: shuffled, uniform, with keys erased. Rows stay distributions over what a query sees.

    shuffled   the weights of a row change places among the keys it sees
    uniform    every key a query sees gets the same weight
    erased     keys lose their weight and the rest is divided by its sum; a query always keeps itself

Shapes: patterns [..., query, key], `visible` [..., query, key] bool (broadcasts). A query that sees nothing keeps zeros.
References: Jain & Wallace 2019, alg. 1 (shuffled); Serrano & Smith 2019 (arXiv:1906.03731), sec. 3 (erased);
Wiegreffe & Pinter 2019, sec. 3.1 (uniform).
"""

import torch
from torch import Tensor


def shuffled(pattern: Tensor, visible: Tensor, noise: Tensor) -> Tensor:
    """Rows of `pattern` with their visible weights in the order of `noise` [..., query, key], uniform draws in [0, 1)."""
    shape = torch.broadcast_shapes(pattern.shape, noise.shape)
    hidden = (~visible).to(noise.dtype).expand(shape)
    mixed = (noise + 2 * hidden).argsort(-1)  # the visible keys in a random order, then the hidden ones
    plain = hidden.argsort(dim=-1, stable=True)
    taken = pattern.expand(shape).gather(-1, mixed)
    return torch.zeros(shape, dtype=pattern.dtype, device=pattern.device).scatter(-1, plain, taken)


def uniform(visible: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Equal weights over the keys that each query sees."""
    seen = visible.to(dtype)
    return seen / seen.sum(-1, keepdim=True).clamp_min(1.0)


def erased(pattern: Tensor, visible: Tensor, gone: Tensor) -> Tensor:
    """`pattern` without the keys `gone` [..., key] bool, renormalised; a query keeps itself though it be among them.

    A query whose weights all go attends to itself where it can, else evenly to what it still sees.
    """
    eye = torch.eye(pattern.shape[-2], pattern.shape[-1], dtype=torch.bool, device=pattern.device)
    kept = visible & (~gone[..., None, :] | eye)
    rest = torch.where(kept, pattern, torch.zeros_like(pattern))
    total = rest.sum(-1, keepdim=True)
    alone = torch.where(
        (kept & eye).any(-1, keepdim=True), (kept & eye).to(pattern.dtype), uniform(kept, pattern.dtype)
    )
    return torch.where(total > 0, rest / total.clamp_min(torch.finfo(pattern.dtype).tiny), alone)
