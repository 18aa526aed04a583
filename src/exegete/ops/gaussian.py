"""A Gaussian fitted to a stream: mean and covariance from sums, shrunk so that it can be inverted, and its surprisal.

1. chunks are added to the number, mean and scatter (sum of outer products of deviations) by the exact pairwise update, so that
   nothing is kept and large means cost no precision;
2. the covariance is (1 - shrink) S + shrink * mean(diag S) * I; 3. surprisal = -log N(x; mean, covariance), nats, through its
   Cholesky factor.

Cost: O(n d^2) to add and to ask, O(d^3) once. Shapes: x [n, d].
Reference: Chan, Golub & LeVeque 1979 (updates); Li et al. 2021, section 3 (surprisal of layers).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from exegete.core.errors import InputError


class Moments:
    """Number, mean [d] and scatter [d, d] of rows that came in chunks."""

    def __init__(self, width: int) -> None:
        self.n = 0
        self.mean = np.zeros(width)
        self.scatter = np.zeros((width, width))

    def add(self, x: np.ndarray) -> None:
        """Add rows `x` [n, d]."""
        if not len(x):
            return
        x = np.asarray(x, dtype=np.float64)
        mean = x.mean(0)
        away, total = mean - self.mean, self.n + len(x)
        centred = x - mean
        self.scatter += centred.T @ centred + np.outer(away, away) * (self.n * len(x) / total)
        self.mean = self.mean + away * (len(x) / total)
        self.n = total

    @property
    def covariance(self) -> np.ndarray:
        """Covariance [d, d] (divided by n)."""
        return self.scatter / max(self.n, 1)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian by its mean [d] and the lower Cholesky factor [d, d] of its covariance."""

    mean: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, moments: Moments, shrink: float) -> "Gaussian":
        """The shrunk Gaussian of some moments. Raises `InputError` where nothing varies or values are not finite."""
        cov = moments.covariance
        level = float(np.trace(cov)) / len(cov)
        if not np.isfinite(level) or level <= 0 or moments.n < 2:
            raise InputError(
                "You asked how usual the activations of a layer are.",
                f"The {moments.n:,} tokens that it was to be learned from do not vary, or are not finite.",
                "Give more and other texts to learn from (corpus=FILE).",
            )
        cov = (1 - shrink) * cov + (shrink * level + 1e-10 * level) * np.eye(len(cov))
        return cls(moments.mean, cholesky(cov, lower=True))

    def surprisal(self, x: np.ndarray) -> np.ndarray:
        """-log density [n] of rows `x` [n, d], nats."""
        d = len(self.mean)
        z = solve_triangular(self.factor, (np.asarray(x, dtype=np.float64) - self.mean).T, lower=True)
        return 0.5 * ((z**2).sum(0) + d * np.log(2 * np.pi)) + np.log(np.diag(self.factor)).sum()
