"""A linear probe of any subset of dimensions, at the price of one: linear discriminants from moments taken once.

The classes are Gaussians of one covariance; a row's class is the largest of  x W + b  with

    W = (S_CC + ridge * diag(S_CC))^-1 M_C^T,   b_v = log prior_v - m_v W_v / 2

where S is the covariance within classes and M the means, taken once over all dimensions; a subset C takes its block of both
and solves once, which is exactly the probe fitted again on those dimensions.

1. `fit`: counts, means and the covariance within classes;
2. `hits`: which rows a probe of some dimensions gets right.

Cost: O(row dim^2) once, then O(k^3 + row k class) a subset. Shapes: x [row, dim], y [row] integers from 0.
Reference: Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section 4.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RIDGE = 1e-3  # of each variance: enough to invert a covariance with copies in it


@dataclass(frozen=True)
class SubsetProbe:
    """Moments: `mean` [class, dim], `within` [dim, dim], `log_prior` [class]."""

    mean: np.ndarray
    within: np.ndarray
    log_prior: np.ndarray

    def scores(self, x: np.ndarray, dims: Sequence[int] | np.ndarray) -> np.ndarray:
        """Log joint of the classes up to what they share [row, class], from the dimensions `dims` of `x` [row, dim]."""
        at = np.asarray(dims, dtype=np.int64)
        block = self.within[np.ix_(at, at)].copy()
        block[np.diag_indices(len(at))] *= 1 + RIDGE
        mean = self.mean[:, at]
        weight = np.linalg.solve(block, mean.T)
        return x[:, at] @ weight + self.log_prior - 0.5 * (mean * weight.T).sum(1)

    def hits(self, x: np.ndarray, y: np.ndarray, dims: Sequence[int] | np.ndarray) -> np.ndarray:
        """Which rows are told right [row], 0 or 1."""
        return (self.scores(x, dims).argmax(1) == y).astype(np.float64)


def fit(x: np.ndarray, y: np.ndarray, n_classes: int) -> SubsetProbe:
    """The moments of the rows. A class without rows is never told."""
    x = np.asarray(x, dtype=np.float64)
    count = np.bincount(y, minlength=n_classes).astype(np.float64)
    member = np.eye(n_classes)[y]
    mean = (member.T @ x) / np.maximum(count, 1)[:, None]
    rest = x - mean[y]
    within = rest.T @ rest / max(len(x) - n_classes, 1)
    within[np.diag_indices(len(within))] += np.maximum(1e-9, 1e-6 * x.var(0))  # where a dimension is constant
    with np.errstate(divide="ignore"):
        return SubsetProbe(mean, within, np.log(count / count.sum()))
