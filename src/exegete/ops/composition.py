"""How much of what one head writes is what a later head reads: ||W_OV W_QK||_F / (||W_OV||_F ||W_QK||_F), from low-rank factors.

1. W_OV = A B with A [d, r], B [r, d]: ||A B X||_F = ||R B X||_F where A = Q R, so a head is `R B` [r, d]; a reader C D^T is
   `C S^T` [d, r] with D = P S. Then every pair costs one product [r, d] [d, r], and all pairs of two layers one product;
2. chance: the same two heads with a random rotation of the residual between them, which keeps all singular values. The
   squared score is then sum_ab s_a^2 G_ab^2 t_b^2 / (sum s^2 sum t^2) with G a block of a random rotation; its mean is 1/d
   exactly, so that the score is about 1 / sqrt(d).

Shapes: writers [head, r, d], readers [head, d, r], scores [writer, reader], draws G [draw, r, r].
Cost: heads^2 r^2 d for two layers, draws d r^2 for the blocks. Reference: Elhage et al. 2021, "composition scores" (footnote on
random baselines); Haar measure: Meckes 2019, sec. 2.
"""

import torch
from torch import Tensor


def writer(a: Tensor, b: Tensor) -> Tensor:
    """A head as a writer [head, r, d], from the factors a [head, d, r] and b [head, r, d] of W_OV = a b."""
    return torch.linalg.qr(a.double()).R @ b.double()


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


def spectrum(factors: Tensor) -> Tensor:
    """Squared singular values [head, r] of heads as writers or readers, as shares of their sum."""
    values = torch.linalg.svdvals(factors).square()
    return values / values.sum(1, keepdim=True).clamp_min(1e-300)


def rotations(d: int, rows: int, columns: int, n: int, generator: torch.Generator) -> Tensor:
    """Squared entries [n, rows, columns] of the upper left blocks of `n` random rotations of d dimensions."""
    found = []
    for _ in range(n):
        frame = torch.linalg.qr(torch.randn(d, columns, generator=generator, dtype=torch.float64)).Q
        found.append(frame[:rows].square())  # the signs of a uniform frame, which this is not, do not matter
    return torch.stack(found)


def turned(writing: Tensor, reading: Tensor, blocks: Tensor) -> Tensor:
    """Scores [draw, writer, reader] of heads with the spectra `writing`, `reading` [head, r], turned against each other."""
    return torch.einsum("wa,nab,rb->nwr", writing, blocks, reading).clamp_min(0).sqrt()
