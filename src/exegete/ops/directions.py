"""One direction that tells two kinds of rows apart, by five methods; each is a unit vector that points to the first kind.

    mean difference  m+ - m-
    mass mean        S^-1 (m+ - m-), S the covariance within the kinds, shrunk (Ledoit & Wolf)
    pair PCA         first principal component of the differences of pairs, each in random order. In fixed order all differences
                     point the same way, the component's own centring takes just that away, and what is left is noise
    logistic         normal of a penalised logistic regression
    consistency      contrast-consistent search, without labels: p of one of a pair is one minus p of the other, and neither is
                     one half; slots of a pair in random order; the best of several starts by its own loss

What learns without labels (pair PCA, consistency) gets its sign from them.

Cost: O(n d^2) at most. Shapes: rows [n, d] of either kind; pairs are row i of the one with row i of the other.
References: Marks & Tegmark 2023, arXiv:2310.06824, sec. 4 (mass mean); Zou et al. 2023, arXiv:2310.01405, sec. 3.1 (PCA);
Burns et al. 2022, arXiv:2212.03827, eq. 1-3 (contrast-consistent search).
"""

from typing import Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

Way = Literal["mean difference", "mass mean", "pair PCA", "logistic", "consistency"]
WAYS: tuple[Way, ...] = ("mean difference", "mass mean", "pair PCA", "logistic", "consistency")
_STARTS = 4


def direction(way: Way, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unit vector [d] by one way; `first` and `second` [n, d] are pairs where it works on pairs (the shorter decides)."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    gap = first.mean(0) - second.mean(0)
    if way == "mean difference":
        return _unit(gap)
    if way == "mass mean":
        within = np.concatenate([first - first.mean(0), second - second.mean(0)])
        covariance, _ = ledoit_wolf(within, assume_centered=True)
        ridge = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-12)
        return _unit(np.linalg.solve(covariance + ridge * np.eye(len(covariance)), gap))
    if way == "logistic":
        return _logistic(first, second)
    n = min(len(first), len(second))
    turned = rng.integers(0, 2, n).astype(bool)[:, None]
    a = np.where(turned, second[:n], first[:n])
    b = np.where(turned, first[:n], second[:n])
    found = _component(a - b) if way == "pair PCA" else _consistent(a, b, rng)
    return found if found @ gap >= 0 else -found


def midway(v: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Half way between the projected means of both kinds."""
    return float(((first @ v).mean() + (second @ v).mean()) / 2)


def consistency_loss(w: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of (p(a) - (1 - p(b)))^2 + min(p(a), p(b))^2 and its gradient [d + 1]; p = sigmoid(x w + the last entry)."""
    p, q = expit(a @ w[:-1] + w[-1]), expit(b @ w[:-1] + w[-1])
    apart, low = p + q - 1, np.minimum(p, q)
    dp = (2 * apart + 2 * low * (p <= q)) * p * (1 - p) / len(p)
    dq = (2 * apart + 2 * low * (p > q)) * q * (1 - q) / len(p)
    return float((apart**2 + low**2).mean()), np.append(dp @ a + dq @ b, dp.sum() + dq.sum())


def _component(x: np.ndarray) -> np.ndarray:
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[2][0]


def _logistic(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    x = np.concatenate([first, second])
    scale = np.sqrt(((x - x.mean(0)) ** 2).mean()) or 1.0
    y = np.repeat([1, 0], [len(first), len(second)])
    fit = LogisticRegression(C=1.0, max_iter=300, class_weight="balanced").fit((x - x.mean(0)) / scale, y)
    return _unit(fit.coef_[0])


def _consistent(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = np.concatenate([a, b]).mean(0)
    scale = np.sqrt(((np.concatenate([a, b]) - mean) ** 2).mean()) or 1.0
    a, b = (a - mean) / scale, (b - mean) / scale
    best, least = np.zeros(a.shape[1]), np.inf
    for _ in range(_STARTS):
        start = np.append(_unit(rng.normal(size=a.shape[1])), 0.0)
        found = minimize(
            consistency_loss, start, (a, b), jac=True, method="L-BFGS-B", options={"maxiter": 100}
        )
        if found.fun < least:
            best, least = found.x[:-1], found.fun
    return _unit(best)


def _unit(v: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(v))
    return v / length if length > 0 else np.zeros_like(v)
