"""Probes of one class against all others from k dimensions: three ways to choose them, F1, and its interval.

logistic     weights of the two sides balanced, ridge penalty, by Newton steps (k is small)
adaptive     fit on more dimensions than wanted, keep those with the largest |weight|, fit again, down to one
f1           2 tp / (2 tp + fp + fn); a guess that reads nothing does best by saying yes always: 2 p / (1 + p)

Cost: a Newton step is O(row k^2). Shapes: x [row, dim], own [row] bool.
Reference: Gurnee et al. 2023, "Finding Neurons in a Haystack: Case Studies with Sparse Probing", sections 3 and A.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

RIDGE = 1e-2
STEPS = 15


@dataclass(frozen=True)
class Side:
    """A balanced logistic probe of the dimensions `dims` [k]: `weight` [k], `bias`."""

    dims: np.ndarray
    weight: np.ndarray
    bias: float

    def says(self, x: np.ndarray) -> np.ndarray:
        """Which rows [row] it takes for the class."""
        return x[:, self.dims] @ self.weight + self.bias > 0


def logistic(x: np.ndarray, own: np.ndarray, dims: np.ndarray) -> Side:
    """The probe fitted on these dimensions (standardised: the penalty is the same for all)."""
    z = np.concatenate([x[:, dims], np.ones((len(x), 1))], 1)
    positive = own.astype(np.float64)
    share = max(positive.mean(), 1e-12), max(1 - positive.mean(), 1e-12)
    balance = np.where(own, 0.5 / share[0], 0.5 / share[1]) / len(x)
    penalty = np.full(z.shape[1], RIDGE)
    penalty[-1] = 1e-6
    w = np.zeros(z.shape[1])
    for _ in range(STEPS):
        p = expit(z @ w)
        gradient = z.T @ (balance * (p - positive)) + penalty * w
        curve = np.maximum(balance * p * (1 - p), 1e-9 / len(x))
        step = np.linalg.solve((z.T * curve) @ z + np.diag(penalty), gradient)
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))  # separable rows: not too far at once
        w -= step
        if np.abs(step).max() < 1e-6:
            break
    return Side(np.asarray(dims), w[:-1], float(w[-1]))


def adaptive(x: np.ndarray, own: np.ndarray, start: np.ndarray, sizes: tuple[int, ...]) -> dict[int, Side]:
    """Probes of every size in `sizes`, each from the dimensions of the largest |weight| of the one before."""
    found: dict[int, Side] = {}
    side = logistic(x, own, start)
    for k in sorted(sizes, reverse=True):
        if k < len(side.dims):
            side = logistic(x, own, side.dims[np.argsort(-np.abs(side.weight), kind="stable")[:k]])
        found[k] = side
    return found


def f1(says: np.ndarray, own: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """F1 of yes and no [row, ...] against the truth of equal shape -> [...]; `rows` [draw, row] counts -> [draw, ...]."""
    both, either = (says & own).astype(np.float64), says.astype(np.float64) + own
    if rows is None:
        both, either = both.sum(0), either.sum(0)
    else:
        both, either = np.tensordot(rows, both, 1), np.tensordot(rows, either, 1)
    return np.asarray(2 * both / np.maximum(either, 1e-12))


def always_yes(own: np.ndarray) -> np.ndarray:
    """F1 of saying yes always [...], from the truth [row, ...]."""
    p = np.asarray(own.mean(0))
    return np.asarray(2 * p / (1 + p))
