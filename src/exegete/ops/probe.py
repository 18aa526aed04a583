"""Linear probe: multinomial logistic regression on frozen vectors, the penalty chosen on held-out development rows.

1. `axes`: features are standardised and turned to their principal axes, once for any number of probes on the same vectors
   (an L2 penalty does not see the turn; axes that no training row uses are left out, so that fewer rows than features cost less);
2. minimise mean cross-entropy + penalty / 2 |w|^2 by L-BFGS, in coordinates stretched so that every weight is about equally
   curved where the search starts (the Hessian's diagonal, mean p (1 - p) z^2 + penalty), which takes a quarter of the steps;
3. walk down the penalties, each fit started from the last one; stop once the development rows are told worse, keep the best.

Numbers are float32, as the activations are. Cost: a step is two products [row, axis] x [axis, class]; the axes one product
[feature, row] x [row, feature] and its eigenvectors. Shapes: x [row, feature], z [row, axis], y [row] integers under C.
Reference: Belinkov 2022, "Probing Classifiers: Promises, Shortcomings, and Advances"; Liu & Nocedal 1989 (L-BFGS).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize

from exegete.core.errors import InputError

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_FLAT = 1e-6  # axes with less than this share of the largest variance hold rounding errors


@dataclass(frozen=True)
class Axes:
    """How features become principal axes: z = (x - mean) / scale @ turn. `spread` [axis] is the variance of each axis."""

    mean: np.ndarray
    scale: np.ndarray
    turn: np.ndarray
    spread: np.ndarray

    def of(self, x: np.ndarray) -> np.ndarray:
        """Rows [row, feature] on the axes, float32 [row, axis]."""
        z = (np.asarray(x, dtype=np.float32) - self.mean) / self.scale
        return np.ascontiguousarray(z @ self.turn)


def axes(x: np.ndarray) -> Axes:
    """The axes of training rows `x` [row, feature]. Raises `InputError` for rows that are not finite."""
    x = np.asarray(x, dtype=np.float32)
    if not np.isfinite(x).all():
        raise InputError(
            f"You asked to probe {len(x)} vectors.",
            "Some of them hold NaN or infinity.",
            "Look at the model: it computes something that is no number there.",
        )
    mean, scale = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    scale[scale < 1e-8 * max(1.0, float(np.abs(x).max(initial=0)))] = 1.0  # a feature that never moves
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    z = (x - mean) / scale
    small = len(z) < z.shape[1]
    spread, vectors = eigh((z @ z.T if small else z.T @ z).astype(np.float64) / len(z))
    kept = spread > _FLAT * max(float(spread.max(initial=0)), 1e-12)
    spread, vectors = spread[kept][::-1], vectors[:, kept][:, ::-1]
    if small:
        vectors = z.T @ (vectors / np.sqrt(spread * len(z)))
    return Axes(mean, scale, vectors.astype(np.float32), spread.astype(np.float32))


@dataclass(frozen=True)
class Linear:
    """A fitted probe on axes: `weight` [class, axis], `bias` [class], the penalty chosen and its development loss (nats)."""

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    loss: float
    n_steps: int

    def logits(self, z: np.ndarray) -> np.ndarray:
        """Scores [row, class] of rows on the axes [row, axis]."""
        return z @ self.weight.T + self.bias

    def predict(self, z: np.ndarray) -> np.ndarray:
        """The class of every row [row]."""
        return self.logits(z).argmax(1)


def fit_linear(
    z: np.ndarray,
    y: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    n_classes: int,
    penalties: Sequence[float] = PENALTIES,
    most_steps: int = 200,
) -> Linear:
    """The probe of rows `z` [row, axis] with classes `y`, its penalty chosen on `held` (z, y). Penalties go down.

    A class that no training row has is never predicted.
    """
    seen = np.unique(y)
    where = np.searchsorted(seen, y)
    prior = np.log(np.bincount(where, minlength=len(seen)) / len(y))
    start = np.concatenate([np.zeros((len(seen), z.shape[1])), prior[:, None]], axis=1)
    best, steps = None, 0
    for penalty in penalties:
        start, n = _fit(z, where, start, penalty, most_steps)
        steps += n
        fit = _whole(start, seen, n_classes, penalty, steps)
        loss = cross_entropy(fit.logits(held[0]), held[1]) if len(held[1]) else np.inf
        if best is None or loss < best.loss:
            best = Linear(fit.weight, fit.bias, penalty, loss, steps)
        else:
            break
    return best or _whole(start, seen, n_classes, float("nan"), steps)


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean -log p of the true class, in nats; a class that cannot be said counts as one in a million."""
    x = logits.astype(np.float64)
    x = x - x.max(1, keepdims=True)
    logs = x[np.arange(len(y)), y] - np.log(np.exp(x).sum(1))
    return float(-np.maximum(logs, np.log(1e-6)).mean())


def _fit(
    z: np.ndarray, y: np.ndarray, start: np.ndarray, penalty: float, most: int
) -> tuple[np.ndarray, int]:
    """Weights and bias [class, axis + 1] at one penalty, and the steps it took."""
    n, k = len(z), len(start)
    rows, turned = np.arange(n), z.T
    stretch = 1 / np.sqrt(_curvature(z, start, penalty))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(k, -1) * stretch
        v = w[:, :-1]
        logits = v.astype(np.float32) @ turned + w[:, -1:].astype(np.float32)
        logits -= logits.max(0)
        true = logits[y, rows].sum(dtype=np.float64)
        np.exp(logits, out=logits)
        total = logits.sum(0)
        value = (np.log(total).sum(dtype=np.float64) - true) / n + 0.5 * penalty * (v * v).sum()
        logits /= total
        logits[y, rows] -= 1
        grad = np.empty_like(w)
        grad[:, :-1] = logits @ z / n + penalty * v
        grad[:, -1] = logits.sum(1, dtype=np.float64) / n
        return float(value), (grad * stretch).ravel()

    options = {"maxiter": most, "gtol": 1e-4, "ftol": 1e-6, "maxcor": 10}
    found = minimize(loss, (start / stretch).ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(k, -1) * stretch, int(found.nit)


def _curvature(z: np.ndarray, start: np.ndarray, penalty: float) -> np.ndarray:
    """The diagonal of the Hessian at `start` [class, axis + 1]."""
    logits = start[:, :-1].astype(np.float32) @ z.T + start[:, -1:].astype(np.float32)
    p = np.exp(logits - logits.max(0))
    p /= p.sum(0)
    p *= 1 - p
    found = np.concatenate([p @ (z * z), p.sum(1, keepdims=True)], axis=1).astype(np.float64) / len(z)
    found[:, :-1] += penalty
    return np.maximum(found, 1e-8)


def _whole(w: np.ndarray, seen: np.ndarray, n_classes: int, penalty: float, steps: int) -> Linear:
    """The fit with a row for every class; unseen ones are never said."""
    weight = np.zeros((n_classes, w.shape[1] - 1), dtype=np.float32)
    bias = np.full(n_classes, -1e9, dtype=np.float32)
    weight[seen], bias[seen] = w[:, :-1], w[:, -1]
    return Linear(weight, bias, penalty, np.inf, steps)
