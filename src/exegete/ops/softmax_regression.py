"""Softmax regression: argmin_w sum_i -log p(y_i | x_i) + strength / 2 |w|^2, all classes at once, by L-BFGS.

1. every class has its column, also one that no row has (it is made improbable, never impossible); the intercept is penalised
   a hundred times less;
2. the problem is strictly convex, so that the answer does not depend on where the search starts; a start near it saves steps.

Cost: a step is two products [n, d] x [d, C]. Shapes: x [n, d], y [n] integers under C, weights [d + 1, C], the last row the
intercept.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

_INTERCEPT = 0.01  # of the strength


def fit_softmax(
    x: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    strength: float = 1.0,
    start: np.ndarray | None = None,
    most_steps: int = 300,
) -> np.ndarray:
    """Weights [d + 1, C] of the penalised fit to rows `x` [n, d] with classes `y` [n]."""
    x = np.asarray(x, dtype=np.float64)
    hot = np.zeros((len(x), n_classes))
    hot[np.arange(len(x)), y] = 1.0
    penalty = np.full((x.shape[1] + 1, 1), float(strength))
    penalty[-1] *= _INTERCEPT

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, n_classes)
        logs = log_softmax(x @ w[:-1] + w[-1], axis=1)
        gap = np.exp(logs) - hot
        grad = np.concatenate([x.T @ gap, gap.sum(0, keepdims=True)]) + penalty * w
        value = -(logs * hot).sum() + 0.5 * (penalty * w**2).sum()
        return value / len(x), grad.ravel() / len(x)

    first = np.zeros((x.shape[1] + 1, n_classes)) if start is None else start
    options = {"maxiter": most_steps, "gtol": 1e-5, "ftol": 1e-8, "maxcor": 20}
    return minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(first.shape)


def log_probabilities(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """log P(class) [n, C], nats, of rows `x` [n, d] under weights [d + 1, C]."""
    return log_softmax(np.asarray(x, dtype=np.float64) @ weights[:-1] + weights[-1], axis=1)
