"""Local linear surrogates: a linear model of which units are kept, fitted around the whole input.

1. weights say how near a perturbed input is: exp(-D^2 / width^2), D the cosine distance of its mask to the whole one;
2. a weighted ridge or lasso explains every output by the mask (`ops.linear`);
3. with `n_features`, the units with the largest coefficients for the last output (the total) are kept and fitted again;
4. standard errors of the last output: the sandwich for ridge, the bootstrap for whatever selects.

Cost: no evaluation of the game. Shapes: keep [k, n] bool, values [k, C], weights [k].
Reference: Ribeiro, Singh & Guestrin 2016, section 3.4.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from exegete.ops.linear import Linear, bootstrap, lasso, ridge

Penalty = Literal["ridge", "lasso"]


@dataclass(frozen=True)
class Surrogate:
    """Which surrogate is fitted: penalty, its strength, and how many units may have a coefficient (0: all)."""

    penalty: Penalty = "ridge"
    alpha: float = 0.0
    n_features: int = 0

    def fit(
        self, keep: np.ndarray, values: np.ndarray, w: np.ndarray, active: np.ndarray | None = None
    ) -> Linear:
        """Coefficients [n, C] of the kept units; 0 where `active` [C, n] says that a unit changes nothing."""
        n, c = keep.shape[1], values.shape[1]
        active = np.ones((c, n), dtype=bool) if active is None else np.asarray(active, dtype=bool)
        chosen = self._chosen(keep, values, w, active)
        coef, error, intercept = np.zeros((n, c)), np.zeros((n, c)), np.zeros(c)
        for pattern in np.unique(active & chosen, axis=0):
            columns = ((active & chosen) == pattern).all(1)
            part = self._fit(keep[:, pattern], values[:, columns], w)
            coef[np.ix_(pattern, columns)] = part.coef
            error[np.ix_(pattern, columns)] = part.stderr
            intercept[columns] = part.intercept
        return Linear(coef, intercept, error)

    def stderr(
        self, keep: np.ndarray, values: np.ndarray, w: np.ndarray, fit: Linear, rng: np.random.Generator
    ) -> np.ndarray:
        """Standard errors [n] of the last output's coefficients, selection included."""
        if self.penalty == "ridge" and not self.n_features:
            return fit.stderr[:, -1]
        last = values[:, -1:]
        return bootstrap(lambda rows: self.fit(keep[rows], last[rows], w[rows]).coef[:, 0], len(keep), rng)

    def _fit(self, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Linear:
        if x.shape[1] == 0:
            return Linear(np.zeros((0, y.shape[1])), (w / w.sum()) @ y, np.zeros((0, y.shape[1])))
        return ridge(x, y, w, self.alpha) if self.penalty == "ridge" else lasso(x, y, w, self.alpha)

    def _chosen(self, keep: np.ndarray, values: np.ndarray, w: np.ndarray, active: np.ndarray) -> np.ndarray:
        chosen = np.ones(keep.shape[1], dtype=bool)
        if 0 < self.n_features < keep.shape[1]:
            size = np.abs(self._fit(keep, values[:, -1:], w).coef[:, 0]) * active[-1]
            chosen = np.isin(np.arange(len(size)), np.argsort(-size, kind="stable")[: self.n_features])
        return chosen


def cosine_weights(keep: np.ndarray, width: float) -> np.ndarray:
    """exp(-D^2 / width^2), D = 1 - cos(mask, whole) = 1 - sqrt(share of units kept)."""
    return np.exp(-((1 - np.sqrt(keep.mean(1))) ** 2) / width**2)


def rank_agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman correlation of two rankings (the linear datamodelling score when one of them is predicted); 0 if constant."""
    from scipy.stats import rankdata

    ra, rb = rankdata(a) - (len(a) + 1) / 2, rankdata(b) - (len(b) + 1) / 2
    norm = float(np.sqrt((ra**2).sum() * (rb**2).sum()))
    return float(ra @ rb) / norm if norm > 0 else 0.0


def contrast(keep: np.ndarray, values: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of values [k, C] with each unit minus that without it [n, C], and standard errors [n, C].

    Units that were always or never there score 0 with an unknown (NaN) error.
    """
    found = np.zeros((keep.shape[1], values.shape[1]))
    variance = np.zeros_like(found)
    for sign, there in ((1.0, keep), (-1.0, ~keep)):
        share = w[:, None] * there
        size = share.sum(0)
        share = np.divide(share, size, out=np.zeros_like(share), where=size > 0)
        mean = share.T @ values
        found += sign * mean
        # sum_k share^2 (v - mean)^2, expanded so that no [k, n, C] array is made
        square = share**2
        variance += square.T @ values**2 - 2 * mean * (square.T @ values) + mean**2 * square.sum(0)[:, None]
    known = (keep.any(0) & ~keep.all(0)).reshape(-1, 1)
    error = np.sqrt(np.maximum(variance, 0.0))
    return np.where(known, found, 0.0), np.where(known, error, np.nan)


def effective(w: np.ndarray) -> float:
    """Effective number of samples, (sum w)^2 / sum w^2."""
    return float(w.sum() ** 2 / (w**2).sum())
