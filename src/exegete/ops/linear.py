"""Weighted linear fits, with standard errors.

ridge      argmin_{a,b} sum_k w_k (y_k - a - x_k b)^2 + alpha |b|^2, intercept not penalised, in closed form
lasso      argmin_{a,b} 1/(2 sum w) sum_k w_k (y_k - a - x_k b)^2 + alpha |b|_1, by coordinate descent

Standard errors. Of ridge: the sandwich in its jackknife form (HC3; MacKinnon & White 1985): observation k moves the fit by
psi_k = A^-1 x_k w_k r_k / (1 - h_k), and the variance is sum_k psi_k^2; no assumption of equal or normal noise. Of any
other fit: the bootstrap over observations.
Cost: O(k p^2 + p^3), the lasso O(p^2) a sweep. Shapes: X [k, p], y [k, C] (C outputs at once), w [k].
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST_SWEEPS = 5000  # of the coordinate descent; ordinary designs of kept units take tens
LEVERAGE_LIMIT = 1e-6  # an observation with 1 - h below this is fitted exactly: it says nothing about errors


@dataclass(frozen=True)
class Linear:
    """A fit: `coef` [p, C], `intercept` [C], and `stderr` [p, C] of the coefficients (NaN where there are too few data)."""

    coef: np.ndarray
    intercept: np.ndarray
    stderr: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predictions [k, C]."""
        return x @ self.coef + self.intercept


def ridge(x: np.ndarray, y: np.ndarray, w: np.ndarray, alpha: float = 0.0) -> Linear:
    """Weighted ridge regression with sandwich standard errors; alpha = 0 is weighted least squares (smallest norm if singular)."""
    x = np.asarray(x, dtype=np.float64)
    share = w / w.sum()
    mean_x, mean_y = share @ x, share @ y
    xc, yc = x - mean_x, y - mean_y
    inverse = np.linalg.pinv(xc.T @ (w[:, None] * xc) + alpha * np.eye(x.shape[1]), hermitian=True)
    coef = inverse @ (xc.T @ (w[:, None] * yc))
    h = w * np.einsum("kp,pq,kq->k", xc, inverse, xc) + share
    psi = influence(xc @ inverse, yc - xc @ coef, w, h)
    return Linear(coef, mean_y - mean_x @ coef, stderr(psi, len(x) - int(np.linalg.matrix_rank(xc)) - 1))


def influence(rows: np.ndarray, residual: np.ndarray, w: np.ndarray, h: np.ndarray) -> np.ndarray:
    """How far each observation moves the fit when left out: psi [k, p, C] from A^-1 x [k, p] and residuals [k, C]."""
    left = np.where(1 - h > LEVERAGE_LIMIT, 1 - h, np.inf)
    return rows[:, :, None] * (w / left)[:, None, None] * residual[:, None, :]


def stderr(psi: np.ndarray, spare: int) -> np.ndarray:
    """Standard errors [p, C] from influences; NaN when no degrees of freedom are to spare."""
    return np.sqrt((psi**2).sum(0)) if spare > 0 else np.full(psi.shape[1:], np.nan)


def lasso(x: np.ndarray, y: np.ndarray, w: np.ndarray, alpha: float, tolerance: float = 1e-7) -> Linear:
    """Weighted lasso of all outputs at once; standard errors are NaN (see `bootstrap`).

    Stops when a sweep moves no coefficient by more than `tolerance` of the spread of y.
    """
    x, share = np.asarray(x, dtype=np.float64), w / w.sum()
    mean_x, mean_y = share @ x, share @ y
    xc, yc = x - mean_x, y - mean_y
    gram, pull = xc.T @ (share[:, None] * xc), xc.T @ (share[:, None] * yc)
    coef, free = np.zeros_like(pull), np.diag(gram) > 1e-12
    small = tolerance * max(float(np.sqrt((share @ yc**2).max(initial=0.0))), 1e-300)
    for _ in range(MOST_SWEEPS):
        before = coef.copy()
        for j in np.flatnonzero(free):
            rest = pull[j] - gram[j] @ coef + gram[j, j] * coef[j]
            coef[j] = np.sign(rest) * np.maximum(np.abs(rest) - alpha, 0.0) / gram[j, j]
        if float(np.abs(coef - before).max(initial=0.0)) <= small:
            break
    return Linear(coef, mean_y - mean_x @ coef, np.full(coef.shape, np.nan))


def bootstrap(
    fit: Callable[[np.ndarray], np.ndarray], k: int, rng: np.random.Generator, draws: int = 100
) -> np.ndarray:
    """Standard error of `fit(rows)`, an array, over resamples of k observations (rows are indices [k])."""
    return np.std([fit(rng.integers(0, k, size=k)) for _ in range(draws)], axis=0, ddof=1)


def r_squared(y: np.ndarray, predicted: np.ndarray, w: np.ndarray | None = None) -> float:
    """1 - residual / total (weighted) sum of squares of y [k]; for a constant y 1 when it is met exactly, else 0."""
    w = np.ones(len(y)) if w is None else w
    mean, size = np.average(y, weights=w), max(1.0, float((y**2).max(initial=0.0))) * float(w.sum())
    rest, whole = float(w @ (y - predicted) ** 2), float(w @ (y - mean) ** 2)
    if whole <= 1e-14 * size:
        return 1.0 if rest <= 1e-12 * size else 0.0
    return 1 - rest / whole
