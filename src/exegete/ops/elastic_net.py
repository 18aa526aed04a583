"""Softmax regression with an elastic net: mean cross-entropy + l1 |W|_1 + l2 |W|^2, by accelerated proximal steps.

1. the curvature is at most |x|^2 / (2 n) + 2 l2 (the softmax's is at most one half), which gives the step;
2. a gradient step from the extrapolated point, then soft thresholding of the weights (not of the intercepts);
3. extrapolation as FISTA, begun anew where it points uphill; until the weights move less than `tolerance`.

Cost: a step is two products [row, dim] x [dim, class]. Shapes: x [row, dim], y [row] integers from 0, W [dim, class].
Reference: Beck & Teboulle 2009, "A Fast Iterative Shrinkage-Thresholding Algorithm"; O'Donoghue & Candes 2015 (restart).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax


@dataclass(frozen=True)
class ElasticNet:
    """`weight` [dim, class] and `bias` [class]."""

    weight: np.ndarray
    bias: np.ndarray

    def hits(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Which rows are told right [row], 0 or 1."""
        return ((x @ self.weight + self.bias).argmax(1) == y).astype(np.float64)


def elastic_net(
    x: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    l1: float,
    l2: float,
    tolerance: float = 1e-3,
    most_steps: int = 500,
) -> ElasticNet:
    """The fit. Features should be standardised, for the penalties to mean the same for all of them."""
    x = np.concatenate([np.asarray(x, dtype=np.float64), np.ones((len(x), 1))], 1)
    hot = np.eye(n_classes)[y]
    penalised = np.ones((x.shape[1], 1))
    penalised[-1] = 0.0
    step = 1.0 / (0.5 * _largest(x) / len(x) + 2 * l2)
    w = ahead = np.zeros((x.shape[1], n_classes))
    t = 1.0
    for _ in range(most_steps):
        gradient = x.T @ (softmax(x @ ahead, axis=1) - hot) / len(x) + 2 * l2 * penalised * ahead
        moved = ahead - step * gradient
        new = np.sign(moved) * np.maximum(np.abs(moved) - step * l1 * penalised, 0.0)
        if ((ahead - new) * (new - w)).sum() > 0:
            t = 1.0
        later = (1 + np.sqrt(1 + 4 * t * t)) / 2
        change, ahead, w, t = np.abs(new - w).max(), new + (t - 1) / later * (new - w), new, later
        if change < tolerance * max(1e-3, float(np.abs(w).max())):
            break
    return ElasticNet(w[:-1], w[-1])


def _largest(x: np.ndarray, steps: int = 50) -> float:
    """Largest eigenvalue of x^T x, from above: power steps from a fixed start, and a little more."""
    v = np.random.default_rng(0).normal(size=x.shape[1])
    found = 0.0
    for _ in range(steps):
        v = x.T @ (x @ (v / np.linalg.norm(v)))
        found = float(np.linalg.norm(v))
    return 1.02 * found
