"""Gradients of all outputs of a question at some points, as one stack: every output's, and the total's last.

Cost: one forward a point, and one backward; with `each` one backward a point and output.
Shapes: P points, S slots, R outputs, d embedding width.
"""

import numpy as np
import torch
from torch import Tensor

from exegete.models.question import Question


def gradients(q: Question, points: Tensor, each: bool) -> Tensor:
    """Gradients [P, 1, S, d] of the total, or with `each` [P, R + 1, S, d] of every output and, last, of the total."""
    values, grads = q.gradients(points, each)
    if not each:
        return grads[:, None]
    weights = torch.as_tensor(total_weights(q, values), dtype=grads.dtype, device=grads.device)
    return torch.cat([grads, torch.einsum("pr,prsd->psd", weights, grads)[:, None]], 1)


def total_weights(q: Question, values: np.ndarray) -> np.ndarray:
    """How fast the total changes with each output [P, R]: 1 for a sum, for a product the product of the others."""
    weights = np.ones_like(values)
    if q.scale == "prob" and values.shape[1] > 1:
        for r in range(values.shape[1]):
            weights[:, r] = np.delete(values, r, axis=1).prod(1)
    return weights
