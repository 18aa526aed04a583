"""How well the dimensions of one table go with those of others on the same rows.

correlations   |rho| of every dimension with every one of another table [dim, other]
regression     share of each dimension's variance that a linear fit on all dimensions of another foretells, on rows not fitted
svcca          the same through the canonical directions of the two tables' main subspaces: sum over directions u of
               rho_u^2 * corr(x_i, u)^2; with whole subspaces this is what a regression explains on the rows fitted

Cost: O(row dim^2) for each pair of tables. Shapes: x [row, dim], y [row, other].
Reference: Bau et al. 2019, "Identifying and Controlling Important Neurons in NMT", section 3; Raghu et al. 2017 (SVCCA).
"""

import numpy as np

RIDGE = 1e-3  # of the rows, on standardised columns: what many columns foretell by overfitting goes


def standard(x: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1; one that never moves is 0."""
    x = np.asarray(x, dtype=np.float64)
    rest, spread = x - x.mean(0), x.std(0)
    return np.where(spread > 1e-7 * (1 + np.abs(x.mean(0))), rest / np.maximum(spread, 1e-300), 0.0)


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|rho| [dim, other]."""
    return np.abs(standard(x).T @ standard(y)) / len(x)


def regression(x: np.ndarray, y: np.ndarray, fitted: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Share of variance [dim] foretold on the rows `judged` by a ridge fit on the rows `fitted`; never below zero."""
    x, y = standard(x), standard(y)
    a, b = y[fitted], x[fitted]
    a, b = a - a.mean(0), b - b.mean(0)
    weight = np.linalg.solve(a.T @ a + RIDGE * len(fitted) * np.eye(a.shape[1]), a.T @ b)
    guess = (y[judged] - y[fitted].mean(0)) @ weight + x[fitted].mean(0)
    total = ((x[judged] - x[judged].mean(0)) ** 2).sum(0)
    error = ((x[judged] - guess) ** 2).sum(0)
    return np.where(total > 1e-9 * len(judged), np.maximum(0.0, 1 - error / np.maximum(total, 1e-300)), 0.0)


def svcca(x: np.ndarray, y: np.ndarray, share: float = 0.99) -> np.ndarray:
    """Share of variance [dim] that lies along directions the other table has too; `share` of variance is kept of each."""
    x = standard(x)
    ux, uy = _main(x, share), _main(standard(y), share)
    turn, rho, _ = np.linalg.svd(ux.T @ uy, full_matrices=False)
    along = (ux @ turn).T @ x / np.sqrt(len(x))  # corr(x_i, u): u has length one, x_i length sqrt(n)
    return (np.minimum(rho, 1.0)[:, None] ** 2 * along**2).sum(0)


def _main(x: np.ndarray, share: float) -> np.ndarray:
    """Orthonormal directions [row, r] that hold `share` of the variance."""
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    held = np.cumsum(s**2) / max(float((s**2).sum()), 1e-300)
    r = int(np.searchsorted(held, share * (1 - 1e-12))) + 1
    return u[:, : min(r, int((s > 1e-9 * s[0]).sum()) or 1)]
