"""Greedy Gaussian probe: the few dimensions that tell the most about a label, found one after another.

The rows of class v are taken as N(mu_v, Sigma_v), fitted (MAP) with a normal-inverse-Wishart prior whose mode is a diagonal
covariance, the variances within classes, and which counts as much as `weight` rows:

    mu_v = mean of the class,   Sigma_v = (weight * diag(variance within classes) + scatter of the class) / (weight + N_v)

A probe of a subset of dimensions C is the block of these on C, which is the fit made on C alone.

1. `fit`: mu_v and Sigma_v over all dimensions, once;
2. each step adds the dimension whose probe has the largest mean log p(label | row) (equal to the largest information about
   the label, whose entropy is fixed);
3. nothing is fitted again: with the chosen dimensions conditioned on, every other one has a conditional variance (the Schur
   complement of Sigma_v) and a residual; choosing one more is an update of rank one of both, and exact.

Cost: k steps of O(class * row * (dim * k)) numbers; a refit would be O(class * row * dim * k^2) a step, and a factorisation a
candidate. Memory: bounded by `AT_ONCE` numbers, dimensions go in chunks.
Shapes: x [row, dim], y [row] integers from 0.
Reference: Torroba Hennigen et al. 2020, "Intrinsic Probing through Dimension Selection", sections 3-4.
"""

from dataclasses import dataclass

import numpy as np

from exegete.core.errors import InputError

AT_ONCE = 1 << 23  # numbers of one temporary


@dataclass(frozen=True)
class Gaussians:
    """Classes as Gaussians over all dimensions: `mean` [class, dim], `covariance` [class, dim, dim], `log_prior` [class]."""

    mean: np.ndarray
    covariance: np.ndarray
    log_prior: np.ndarray

    def log_posterior(self, x: np.ndarray, dims: np.ndarray | tuple[int, ...]) -> np.ndarray:
        """Log p(class | row, the dimensions `dims`) [row, class]."""
        at = np.asarray(dims, dtype=np.int64)
        joint = np.empty((len(x), len(self.mean)))
        for v, covariance in enumerate(self.covariance):
            factor = np.linalg.cholesky(covariance[np.ix_(at, at)])
            white = np.linalg.solve(factor, (x[:, at] - self.mean[v, at]).T)
            joint[:, v] = self.log_prior[v] - 0.5 * (white**2).sum(0) - np.log(np.diag(factor)).sum()
        return joint - _log_sum(joint, 1)[:, None]


@dataclass(frozen=True)
class Chosen:
    """`order` [k] the dimensions as they were added; `told` [k + 1] mean log p(label | row) in nats, from none added on.

    `rest` are the other dimensions, by what they would have told in the place of the last one.
    """

    order: np.ndarray
    told: np.ndarray
    rest: np.ndarray


def fit(x: np.ndarray, y: np.ndarray, n_classes: int, weight: float = 10.0) -> Gaussians:
    """The Gaussians of the classes. Raises `InputError` for a class without rows."""
    count = np.bincount(y, minlength=n_classes).astype(np.float64)
    if (count < 1).any():
        raise InputError(
            "You asked for a Gaussian for each class.",
            f"Class {int(count.argmin())} has no rows.",
            "Give rows of every class.",
        )
    x = np.asarray(x, dtype=np.float64)
    mean = (np.eye(n_classes)[y].T @ x) / count[:, None]
    rest = x - mean[y]
    within = np.maximum(
        (rest**2).mean(0), 1e-9 * np.maximum(x.var(0), 1e-3)
    )  # one that never moves in a class
    covariance = np.empty((n_classes, x.shape[1], x.shape[1]))
    for v in range(n_classes):
        rows = rest[y == v]
        covariance[v] = rows.T @ rows
        covariance[v][np.diag_indices(len(within))] += weight * within
        covariance[v] /= weight + count[v]
    return Gaussians(mean, covariance, np.log(count / count.sum()))


def greedy(model: Gaussians, x: np.ndarray, y: np.ndarray, k: int) -> Chosen:
    """The `k` dimensions that, added one after another, raise the mean log p(label | row) on these rows the most."""
    x = np.asarray(x, dtype=np.float64)
    n_class, dim = model.mean.shape
    k = min(k, dim)
    state = _State(model, x, y, k)
    order, told = np.empty(k, dtype=np.int64), np.empty(k + 1)
    told[0] = model.log_prior[y].mean()
    found = np.zeros(dim)
    step = max(1, AT_ONCE // (len(x) * n_class))
    for t in range(k):
        parts = (slice(i, min(i + step, dim)) for i in range(0, dim, step))
        found = np.concatenate([state.told(t, part).mean(0) for part in parts])
        found[order[:t]] = -np.inf
        order[t] = int(found.argmax())
        told[t + 1] = found[order[t]]
        state.add(t, int(order[t]))
    rest = np.argsort(-found, kind="stable")
    return Chosen(order, told, rest[~np.isin(rest, order)])


def along(model: Gaussians, x: np.ndarray, y: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Log p(label | row, the first t dimensions of `order`) of every row [t from 0 to k, row]."""
    x = np.asarray(x, dtype=np.float64)
    state = _State(model, x, y, len(order))
    found = np.empty((len(order) + 1, len(x)))
    found[0] = model.log_prior[y]
    for t, j in enumerate(order.tolist()):
        found[t + 1] = state.told(t, slice(j, j + 1))[:, 0]
        state.add(t, j)
    return found


class _State:
    """What is known once t dimensions are chosen.

    schur [class, dim, dim]   what is left of the covariance; gains [class, k, dim] how a chosen residual enters every dimension
    resid [class, row, k]     residuals of the chosen; square [class, row] their squared length; logdet [class]
    """

    def __init__(self, model: Gaussians, x: np.ndarray, y: np.ndarray, k: int) -> None:
        n_class, dim = model.mean.shape
        self.model, self.x, self.y = model, x, y
        self.schur = model.covariance.copy()
        self.gains, self.resid = np.zeros((n_class, k, dim)), np.zeros((n_class, len(x), k))
        self.square, self.logdet = np.zeros((n_class, len(x))), np.zeros(n_class)

    def residual(self, v: int, t: int, dims: slice) -> np.ndarray:
        """Rows less what their class and the chosen dimensions foretell [row, dim of `dims`]."""
        return self.x[:, dims] - self.model.mean[v, dims] - self.resid[v, :, :t] @ self.gains[v, :t, dims]

    def told(self, t: int, dims: slice) -> np.ndarray:
        """Log p(label | chosen and one of `dims`) [row, dim of `dims`]."""
        stacked = np.empty((len(self.logdet), *self.x[:, dims].shape))  # [class, row, dim]
        for v in range(len(stacked)):
            square: np.ndarray = stacked[v]
            left = np.diagonal(self.schur[v])[dims]
            np.square(self.residual(v, t, dims), out=square)
            square *= -0.5 / left
            square += self.model.log_prior[v] - 0.5 * (self.logdet[v] + np.log(left))
            square -= 0.5 * self.square[v][:, None]
        own = np.take_along_axis(stacked, self.y[None, :, None], 0)[0]
        return own - _log_sum(stacked, 0)

    def add(self, t: int, j: int) -> None:
        """Condition on dimension j."""
        for v in range(len(self.logdet)):
            error, left = self.residual(v, t, slice(j, j + 1))[:, 0], self.schur[v, j, j]
            gain = self.schur[v, j] / left
            self.resid[v, :, t], self.gains[v, t] = error, gain
            self.square[v] += error**2 / left
            self.logdet[v] += np.log(left)
            self.schur[v] -= np.outer(gain, self.schur[v, j])
            # a copy of a chosen dimension has nothing left but rounding, which must not go below zero
            floor = 1e-10 * np.diagonal(self.model.covariance[v])
            where = np.diag_indices(len(floor))
            self.schur[v][where] = np.maximum(self.schur[v][where], floor)


def _log_sum(a: np.ndarray, axis: int) -> np.ndarray:
    """Log of the sum of exponentials along an axis."""
    top = a.max(axis, keepdims=True)
    rest = a - top
    return np.squeeze(top, axis) + np.log(np.exp(rest, out=rest).sum(axis))
