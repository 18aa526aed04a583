"""MLP probe: one hidden layer of rectified units on frozen vectors, stopped early on held-out development rows.

1. weights are drawn from a seed (He), biases start at zero;
2. Adam on cross-entropy over shuffled batches; after every epoch the development rows are told;
3. the weights of the best epoch are kept; training stops after `patience` epochs without a better one.

Cost: an epoch is three products [row, axis] x [axis, hidden]. Shapes as in `ops.probe`.
Reference: Hewitt & Liang 2019 (MLP-1 probes and their control); Kingma & Ba 2015 (Adam).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

_BATCH, _RATE = 128, 2e-3


@dataclass(frozen=True)
class Mlp:
    """A fitted probe: `w1` [axis, hidden], `b1`, `w2` [hidden, class], `b2`; the development loss (nats) and the epochs it took."""

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    loss: float
    n_epochs: int

    def logits(self, z: np.ndarray) -> np.ndarray:
        """Scores [row, class] of rows on the axes [row, axis]."""
        return np.maximum(z @ self.w1 + self.b1, 0) @ self.w2 + self.b2

    def predict(self, z: np.ndarray) -> np.ndarray:
        """The class of every row [row]."""
        return self.logits(z).argmax(1)


def fit_mlp(
    z: np.ndarray,
    y: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    n_classes: int,
    seed: int = 0,
    hidden: int = 64,
    epochs: int = 60,
    patience: int = 5,
) -> Mlp:
    """The probe of rows `z` [row, axis] with classes `y`, stopped early on `held` (z, y)."""
    draw = torch.Generator().manual_seed(seed % 2**63)
    x, t = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)), torch.from_numpy(y.astype(np.int64))
    x_held, t_held = torch.from_numpy(np.asarray(held[0], dtype=np.float32)), torch.from_numpy(held[1].astype(np.int64))  # fmt: skip
    sizes = ((x.shape[1], hidden), (hidden,), (hidden, n_classes), (n_classes,))
    w = [torch.randn(s, generator=draw) * (2 / s[0]) ** 0.5 if len(s) == 2 else torch.zeros(s) for s in sizes]
    w = [p.requires_grad_() for p in w]
    optimiser = torch.optim.Adam(w, lr=_RATE)
    best, kept, waited, epoch = float("inf"), [p.detach().clone() for p in w], 0, 0
    while epoch < epochs and waited < patience:
        epoch += 1
        for rows in torch.randperm(len(x), generator=draw).split(_BATCH):
            with torch.enable_grad():
                loss = cross_entropy(_logits(w, x[rows]), t[rows])
            optimiser.zero_grad()
            for p, g in zip(w, torch.autograd.grad(loss, w)):
                p.grad = g
            optimiser.step()
        with torch.no_grad():
            now = float(cross_entropy(_logits(w, x_held), t_held)) if len(t_held) else -epoch
        better = now < best
        waited = 0 if better else waited + 1
        if better:
            best, kept = now, [p.detach().clone() for p in w]
    w1, b1, w2, b2 = (p.numpy() for p in kept)
    return Mlp(w1, b1, w2, b2, best, epoch)


def _logits(w: list[Tensor], x: Tensor) -> Tensor:
    return (x @ w[0] + w[1]).relu() @ w[2] + w[3]
