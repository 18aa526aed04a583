"""Greedy Gaussian probe: the few dimensions that tell the most about a label, found one after another.

The rows of class v are taken as N(mu_v, Sigma_v) with a normal-inverse-Wishart prior, fitted (MAP) on the dimensions C alone:

    mu_v = mean of the class,   Sigma_v = Psi_v / c_v,   Psi_v = diag(variance of the class) + scatter of the class,
    c_v = N_v + 2 |C| + 4       (nu_0 = |C| + 2; the mode has nu_0 + N_v + |C| + 2 in the denominator)

1. `fit`: Psi_v and mu_v over all dimensions, once;
2. each step adds the dimension whose probe has the largest mean log p(label | row) (equal to the largest information about
   the label, whose entropy is fixed);
3. nothing is fitted again: with the chosen dimensions conditioned on, every other one has a conditional variance (the Schur
   complement of Psi_v) and a residual; choosing one more is an update of rank one of both, exact for every |C|.

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
    """Classes as Gaussians over all dimensions: `mean` [class, dim], `psi` [class, dim, dim], `count` [class]."""

    mean: np.ndarray
    psi: np.ndarray
    count: np.ndarray

    @property
    def log_prior(self) -> np.ndarray:
        """Log shares of the classes [class]."""
        return np.log(self.count / self.count.sum())

    def denominator(self, size: int) -> np.ndarray:
        """What Psi is divided by where `size` dimensions are looked at [class]."""
        return self.count + 2.0 * size + 4.0

    def log_posterior(self, x: np.ndarray, dims: np.ndarray | tuple[int, ...]) -> np.ndarray:
        """Log p(class | row, the dimensions `dims`) [row, class]."""
        at = np.asarray(dims, dtype=np.int64)
        joint = np.empty((len(x), len(self.count)))
        for v, c in enumerate(self.denominator(len(at))):
            factor = np.linalg.cholesky(self.psi[v][np.ix_(at, at)] / c)
            white = np.linalg.solve(factor, (x[:, at] - self.mean[v, at]).T)
            joint[:, v] = self.log_prior[v] - 0.5 * (white**2).sum(0) - np.log(np.diag(factor)).sum()
        return joint - _log_sum(joint, 1)[:, None]


@dataclass(frozen=True)
class Chosen:
    """`order` [k] the dimensions as they were added; `told` [k + 1] mean log p(label | row) in nats, from none added on."""

    order: np.ndarray
    told: np.ndarray


def fit(x: np.ndarray, y: np.ndarray, n_classes: int) -> Gaussians:
    """The Gaussians of the classes. Raises `InputError` for a class of fewer than two rows."""
    count = np.bincount(y, minlength=n_classes).astype(np.float64)
    if (count < 2).any():
        raise InputError(
            "You asked for a Gaussian for each class.",
            f"A class has {int(count.min())} rows.",
            "Give at least two rows of every class.",
        )
    x = np.asarray(x, dtype=np.float64)
    spread = np.maximum(x.var(0), 1e-12)  # a dimension that is constant in a class still needs a variance
    mean, psi = np.empty((n_classes, x.shape[1])), np.empty((n_classes, x.shape[1], x.shape[1]))
    for v in range(n_classes):
        rows = x[y == v]
        mean[v] = rows.mean(0)
        rows = rows - mean[v]
        psi[v] = rows.T @ rows
        psi[v][np.diag_indices(len(spread))] += np.maximum(rows.var(0), 1e-3 * spread)
    return Gaussians(mean, psi, count)


def greedy(model: Gaussians, x: np.ndarray, y: np.ndarray, k: int) -> Chosen:
    """The `k` dimensions that, added one after another, raise the mean log p(label | row) on these rows the most."""
    x = np.asarray(x, dtype=np.float64)
    n_class, dim = model.mean.shape
    k = min(k, dim)
    state = _State(model, x, y, k)
    order, told = np.empty(k, dtype=np.int64), np.empty(k + 1)
    told[0] = model.log_prior[y].mean()
    step = max(1, AT_ONCE // (len(x) * n_class))
    for t in range(k):
        found = np.concatenate([state.worth(t, slice(i, min(i + step, dim))) for i in range(0, dim, step)])
        found[order[:t]] = -np.inf
        order[t] = int(found.argmax())
        told[t + 1] = found[order[t]]
        state.add(t, int(order[t]))
    return Chosen(order, told)


class _State:
    """What is known once t dimensions are chosen.

    schur [class, dim, dim]   what is left of Psi; gains [class, k, dim] how a chosen residual enters every dimension
    resid [class, row, k]     residuals of the chosen; square [class, row] their length under Psi; logdet [class]
    """

    def __init__(self, model: Gaussians, x: np.ndarray, y: np.ndarray, k: int) -> None:
        n_class, dim = model.mean.shape
        self.model, self.x, self.y = model, x, y
        self.schur = model.psi.copy()
        self.gains, self.resid = np.zeros((n_class, k, dim)), np.zeros((n_class, len(x), k))
        self.square, self.logdet = np.zeros((n_class, len(x))), np.zeros(n_class)

    def residual(self, v: int, t: int, dims: slice) -> np.ndarray:
        """Rows less what their class and the chosen dimensions foretell [row, dim of `dims`]."""
        return self.x[:, dims] - self.model.mean[v, dims] - self.resid[v, :, :t] @ self.gains[v, :t, dims]

    def worth(self, t: int, dims: slice) -> np.ndarray:
        """Mean log p(label | chosen and one of `dims`) [dim of `dims`]."""
        c, prior = self.model.denominator(t + 1), self.model.log_prior
        joint = []
        for v in range(len(c)):
            left = np.diagonal(self.schur[v])[dims]
            const = prior[v] - 0.5 * (self.logdet[v] + np.log(left) - (t + 1) * np.log(c[v]))
            square = self.residual(v, t, dims) ** 2
            square *= -0.5 * c[v] / left
            square += const
            square -= 0.5 * c[v] * self.square[v][:, None]
            joint.append(square)
        stacked = np.stack(joint)  # [class, row, dim]
        own = np.take_along_axis(stacked, self.y[None, :, None], 0)[0]
        return (own - _log_sum(stacked, 0)).mean(0)

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
            floor = 1e-10 * np.diagonal(self.model.psi[v])
            where = np.diag_indices(len(floor))
            self.schur[v][where] = np.maximum(self.schur[v][where], floor)


def _log_sum(a: np.ndarray, axis: int) -> np.ndarray:
    """Log of the sum of exponentials along an axis."""
    top = a.max(axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(a - top).sum(axis))
