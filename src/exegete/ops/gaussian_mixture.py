"""A mixture of shrunk Gaussians, and how many of them rows need: as many as make held-out rows most likely.

1. k centres are drawn far apart and moved to the means of what is nearest (k-means++), each row then belongs to one;
2. expectation maximisation: each Gaussian is fitted to the rows by how much they belong to it, its covariance shrunk towards that
   of all rows, so that rows which are all alike make no needle (one Gaussian alone is that of `ops.gaussian`); then rows belong
   by how likely each makes them, until the mean log-likelihood gains less than a hundredth of a nat;
3. `chosen_mixture` fits 1, 2, 4 ... Gaussians to one part of the rows and keeps those that surprise the other part least. Fits in
   which a Gaussian is left with fewer than two rows are not made; without rows held out there is one.

Cost: steps x k products [n, d] x [d, d]. Shapes: x [n, d].
Reference: Dempster, Laird & Rubin 1977 (EM); Li et al. 2021, section 3 (mixtures of layers).
"""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.linalg import cholesky
from scipy.special import logsumexp

from exegete.ops.gaussian import Gaussian

_STEPS, _GAIN = 50, 1e-2


@dataclass(frozen=True)
class Mixture:
    """Gaussians and the log of each one's share [k]."""

    parts: tuple[Gaussian, ...]
    logs: np.ndarray

    def joint(self, x: np.ndarray) -> np.ndarray:
        """log share + log density [k, n]."""
        return np.stack([w - g.surprisal(x) for w, g in zip(self.logs, self.parts)])

    def surprisal(self, x: np.ndarray) -> np.ndarray:
        """-log density [n] of rows, nats."""
        return -np.asarray(logsumexp(self.joint(x), axis=0))


def fit_mixture(x: np.ndarray, k: int, shrink: float, rng: np.random.Generator) -> Mixture | None:
    """`k` Gaussians fitted to rows `x`; None where one of them is left with fewer than two rows."""
    x = np.asarray(x, dtype=np.float64)
    scale = x.std(0)
    near = kmeans2(x / np.where(scale > 0, scale, 1.0), k, minit="++", rng=rng, missing="warn")[1] if k > 1 else np.zeros(len(x), int)  # fmt: skip
    belongs, before, found = np.eye(k)[near].T, -np.inf, None
    for _ in range(_STEPS):
        if belongs.sum(1).min() < 2:
            return None
        found = Mixture(
            tuple(_weighted(x, b, shrink, float((scale**2).mean())) for b in belongs),
            np.log(belongs.sum(1) / belongs.sum()),
        )
        joint = found.joint(x)
        total = np.asarray(logsumexp(joint, axis=0))
        if total.mean() < before + _GAIN:
            break
        belongs, before = np.exp(joint - total), total.mean()
    return found


def chosen_mixture(
    x: np.ndarray, held: np.ndarray, most: int, shrink: float, rng: np.random.Generator
) -> Mixture:
    """The 1, 2, 4 ... (at most `most`) Gaussians of rows `x` that surprise the rows `held` least."""
    sizes = [2**i for i in range(most.bit_length() if len(held) else 1)]
    found = [m for m in (fit_mixture(x, k, shrink, rng) for k in sizes) if m is not None]
    return min(found, key=lambda m: float(m.surprisal(held).sum()))


def _weighted(x: np.ndarray, weight: np.ndarray, shrink: float, level: float) -> Gaussian:
    """The Gaussian of rows that count by `weight` [n], shrunk to one of variance `level` in all directions."""
    share = weight / weight.sum()
    mean = share @ x
    away = x - mean
    cov = (1 - shrink) * (away * share[:, None]).T @ away + (shrink + 1e-10) * level * np.eye(x.shape[1])
    return Gaussian(mean, cholesky(cov, lower=True))
