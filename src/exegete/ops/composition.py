"""How much of what one head writes is what a later head reads: ||W_OV W_QK||_F / (||W_OV||_F ||W_QK||_F), from low-rank factors.

1. W_OV = A B with A [d, r], B [r, d]: ||A B X||_F = ||R B X||_F where A = Q R, so a head is `R B` [r, d]; a reader C D^T is
   `C S^T` [d, r] with D = P S. Then every pair costs one product [r, d] [d, r], and all pairs of two layers one product;
2. chance: the same two heads with a random rotation of the residual between them, which keeps all singular values. The
   squared score is then X = sum_ab p_a G_ab^2 q_b, with p and q the shares of the squared singular values and G a block of a
   random rotation; its mean is 1/d exactly, so that the score is about 1 / sqrt(d);
3. the law of X by a gamma of the same mean and variance (Satterthwaite), with entries of G taken as independent normals of
   variance 1/d: exact in the limit for heads of rank 1 (a chi-squared), and a little too wide for others, which is safe.

Shapes: writers [head, r, d], readers [head, d, r], scores [writer, reader]. Cost: heads^2 r^2 d for two layers.
References: Elhage et al. 2021, "composition scores" (footnote on random baselines); Satterthwaite 1946 (sums of chi-squared).
"""

import numpy as np
import torch
from scipy.special import gammaincc, gammaln
from torch import Tensor


def root(a: Tensor) -> Tensor:
    """R [head, r, r] of a = Q R, a [head, d, r]."""
    return torch.linalg.qr(a.double()).R


def writer(a: Tensor, b: Tensor) -> Tensor:
    """A head as a writer [head, r, d], from the factors a [head, d, r] and b [head, r, d] of W_OV = a b."""
    return root(a) @ b.double()


def reader(c: Tensor, d: Tensor) -> Tensor:
    """A head as a reader [head, d, r], from the factors c, d [head, d, r] of the matrix c d^T that it reads with."""
    return c.double() @ torch.linalg.qr(d.double()).R.mT


def composition(writers: Tensor, readers: Tensor) -> Tensor:
    """Scores [writer, reader] in [0, 1]; 0 where a matrix is zero."""
    (n, r, d), (m, _, s) = writers.shape, readers.shape
    product = writers.reshape(n * r, d) @ readers.movedim(0, 1).reshape(d, m * s)
    size = product.view(n, r, m, s).square().sum((1, 3)).sqrt()
    whole = writers.flatten(1).norm(dim=1)[:, None] * readers.flatten(1).norm(dim=1)
    return size / whole.clamp_min(1e-30)


def evenness(factors: Tensor) -> Tensor:
    """Sum of the squared shares of the squared singular values [head], of writers or readers: 1 for rank 1, 1/r for r equal."""
    values = torch.linalg.svdvals(factors).square()
    shares = values / values.sum(1, keepdim=True).clamp_min(1e-300)
    return shares.square().sum(1).clamp_min(1 / values.shape[1])  # also for a head that is zero


def by_chance(writing: np.ndarray, reading: np.ndarray, d: int) -> np.ndarray:
    """Mean scores [writer, reader] of heads turned against each other at random, from their `evenness` [head]."""
    shape = _shape(writing, reading)
    return np.exp(gammaln(shape + 0.5) - gammaln(shape)) / np.sqrt(shape * d)


def beyond(score: np.ndarray, writing: np.ndarray, reading: np.ndarray, d: int) -> np.ndarray:
    """The probability [writer, reader] that a random rotation scores as much or more."""
    shape = _shape(writing, reading)
    return gammaincc(shape, shape * d * score**2)


def _shape(writing: np.ndarray, reading: np.ndarray) -> np.ndarray:
    return 0.5 / (writing[:, None] * reading)
