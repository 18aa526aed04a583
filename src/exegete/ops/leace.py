"""LEACE: the smallest affine change of rows after which no linear rule tells their labels better than guessing.

1. S = covariance of the rows, C = covariance of rows with the one-hot labels;
2. W = S^-1/2 (pseudo-inverse), U = an orthonormal basis of the span of W C: one column fewer than there are labels at most;
3. r(x) = x - W^+ U U^T W (x - mean).

After it the rows of every label have the same mean, so that the best linear predictor under any convex loss is a constant; and no
other map that does so moves the rows less in mean squared length (Belrose et al. 2023, theorems 3.1, 4.2 and 4.3).

Cost: O(n d^2 + d^3). Shapes: rows [n, d], labels [n]; the map as `mean` [d], `a` [k, d], `b` [k, d]: x - ((x - mean) b^T) a.
Reference: Belrose et al. 2023, "LEACE: Perfect Linear Concept Erasure in Closed Form", arXiv:2306.03819.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import ledoit_wolf

_SMALL = 1e-10  # of the largest eigenvalue: directions in which the rows do not vary


@dataclass(frozen=True)
class Eraser:
    """The affine map x - ((x - mean) b^T) a."""

    mean: np.ndarray
    a: np.ndarray
    b: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows [..., d] after erasure."""
        x = np.asarray(rows, dtype=np.float64)
        return x - (x - self.mean) @ self.b.T @ self.a

    @property
    def stacked(self) -> np.ndarray:
        """[1 + 2 k, d]: mean, a, b, as a saved edit holds it."""
        return np.concatenate([self.mean[None], self.a, self.b])


def leace(rows: np.ndarray, labels: np.ndarray, shrink: bool = False) -> Eraser:
    """The eraser of `labels` [n] from `rows` [n, d]. Labels that rows do not tell at all give a map that changes nothing.

    `shrink`: S is Ledoit and Wolf's. Any positive S erases exactly; with fewer rows than several times their width the plain one
    takes noise for directions that cost nothing, and the map moves other rows far.
    """
    x = np.asarray(rows, dtype=np.float64)
    mean = x.mean(0)
    centred = x - mean
    hot = (np.asarray(labels)[:, None] == np.unique(labels)[None, :]).astype(np.float64)
    cross = centred.T @ (hot - hot.mean(0)) / len(x)
    covariance = ledoit_wolf(centred, assume_centered=True)[0] if shrink else centred.T @ centred / len(x)
    values, vectors = np.linalg.eigh(covariance)
    keep = values > _SMALL * max(float(values[-1]), 0.0)
    root = np.sqrt(np.where(keep, values, 1.0))
    whiten = (vectors * np.where(keep, 1 / root, 0.0)) @ vectors.T
    colour = (vectors * np.where(keep, root, 0.0)) @ vectors.T
    u, s, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    u = u[:, s > 1e-9 * max(float(s[0]), 1e-30)] if s[0] > 1e-12 else u[:, :0]
    return Eraser(mean, (colour @ u).T, (whiten @ u).T)
