"""Concept vectors: normals that separate examples of a concept from other examples, many small fits at once.

1. centre the rows of each fit; 2. find the normal w:
    difference  mean of the concept's rows minus mean of the others
    ridge       min |X w - y|^2 + strength * s |w|^2, s the mean squared length of a row, solved in its dual (rows, not width)
    logistic    the same penalty under the logistic loss, by Newton's steps in the dual
3. length one; the threshold stands half way between the two projected means.

Cost: a fit of n rows of width d is O(n^2 d + n^3), all fits in one batch. Shapes: rows [fit, n, d], labels [n] of +-1 (the same
in every fit), normals [fit, d]. Reference: Kim et al. 2018, "Interpretability Beyond Feature Attribution" (TCAV), sec. 3.2.
"""

from typing import Literal

import numpy as np
from scipy.special import expit

Fit = Literal["difference", "ridge", "logistic"]
_STEPS = 12  # Newton's steps; the penalised loss is smooth and small fits converge in fewer


def concept_vectors(
    rows: np.ndarray, labels: np.ndarray, fit: Fit = "ridge", strength: float = 1.0
) -> np.ndarray:
    """Unit normals [fit, d] that point to the rows labelled +1. A fit whose rows are all alike gets zeros."""
    x = np.asarray(rows, dtype=np.float64)
    y = np.asarray(labels, dtype=np.float64)
    x = x - x.mean(1, keepdims=True)
    if fit == "difference":
        return _unit(x[:, y > 0].mean(1) - x[:, y < 0].mean(1))
    kernel = x @ x.transpose(0, 2, 1)
    scale = np.trace(kernel, axis1=1, axis2=2) / kernel.shape[1]
    penalty = strength * np.where(scale > 0, scale, 1.0)
    dual = _ridge(kernel, y, penalty) if fit == "ridge" else _logistic(kernel, y, penalty)
    return _unit(np.einsum("fn,fnd->fd", dual, x))


def held_out_accuracy(normals: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Balanced accuracy [fit] of each normal on the rows of all other fits; its threshold is from its own rows."""
    x, n = np.asarray(rows, dtype=np.float64), len(normals)
    cut = thresholds(normals, x, labels)
    right = np.zeros(n)
    for side, sign in ((labels > 0, 1.0), (labels < 0, -1.0)):
        along = sign * (np.einsum("ond,fd->fon", x[:, side], normals) - cut[:, None, None])
        won = ((along > 0) + 0.5 * (along == 0)).mean(2)
        right += (won.sum(1) - np.diag(won)) / (2 * max(n - 1, 1))
    return right if n > 1 else np.full(n, np.nan)


def thresholds(normals: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Half way between the projected means of both sides [fit]."""
    along = np.einsum("fnd,fd->fn", np.asarray(rows, dtype=np.float64), normals)
    return (along[:, labels > 0].mean(1) + along[:, labels < 0].mean(1)) / 2


def gaps(normals: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far apart the projected means of both sides are [fit]."""
    along = np.einsum("fnd,fd->fn", np.asarray(rows, dtype=np.float64), normals)
    return along[:, labels > 0].mean(1) - along[:, labels < 0].mean(1)


def mean_cosine(normals: np.ndarray) -> float:
    """Mean cosine between all pairs of unit vectors [fit, d]; NaN for fewer than two."""
    n = len(normals)
    if n < 2:
        return float("nan")
    return float(((normals.sum(0) ** 2).sum() - (normals**2).sum()) / (n * (n - 1)))


def shares(slopes: np.ndarray) -> np.ndarray:
    """Share of texts [fit] whose slope [text, fit] is positive; a slope of zero counts one half."""
    return _wins(slopes)


def _wins(x: np.ndarray) -> np.ndarray:
    return ((x > 0) + 0.5 * (x == 0)).mean(0)


def _ridge(kernel: np.ndarray, y: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    eye = np.eye(kernel.shape[1])
    right = np.broadcast_to(y - y.mean(), kernel.shape[:2])[..., None]
    return np.linalg.solve(kernel + penalty[:, None, None] * eye, right)[..., 0]


def _logistic(kernel: np.ndarray, y: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Dual weights a [fit, n] of w = X^T a: the penalised loss is convex, each step solves (K D + pI) a = K D z."""
    n = kernel.shape[1]
    a, bias, eye = np.zeros(kernel.shape[:2]), np.zeros(len(kernel)), np.eye(n)
    for _ in range(_STEPS):
        margin = np.einsum("fnm,fm->fn", kernel, a) + bias[:, None]
        p = expit(margin)
        d = np.maximum(p * (1 - p), 1e-6)
        z = margin + ((y > 0) - p) / d  # the working response
        inverse = np.linalg.inv(kernel + penalty[:, None, None] * eye / d[:, None, :])
        one = inverse.sum(2)
        told = np.einsum("fnm,fm->fn", inverse, z)
        bias = told.sum(1) / one.sum(1)
        a = told - bias[:, None] * one
    return a


def _unit(w: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(w, axis=-1, keepdims=True)
    return np.divide(w, length, out=np.zeros_like(w), where=length > 0)
