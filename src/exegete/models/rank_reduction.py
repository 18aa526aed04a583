"""Weights of a block as matrices that can be made smaller, for a while.

W ~ U_k S_k V_k' keeps the k largest singular values, the best approximation of rank k (Eckart and Young); W Q Q', with Q an
orthonormal basis of k random directions of the smaller side, is a random projection of the same rank. `standing_in` puts
another value into a parameter and the very bits back afterwards.

Cost: one singular value decomposition a matrix; no pass. Reference: Sharma et al. 2023, arXiv:2312.13558, sec. 4.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from exegete.core.errors import SiteError
from exegete.models.family import ModelMap
from exegete.models.placement import need_here


@dataclass(frozen=True, eq=False)
class Matrix:
    """One weight: its `layer`, its `type` (where it is in the block), the `name` of the parameter, and the parameter."""

    layer: int
    type: str
    name: str
    parameter: nn.Parameter

    @property
    def full(self) -> int:
        """The largest rank it can have."""
        return min(self.parameter.shape)

    def rank(self, share: float) -> int:
        """The rank of a share of it, at least 1."""
        return max(1, min(self.full, round(share * self.full)))

    def decomposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """U, S, V' in double precision."""
        return torch.linalg.svd(self.parameter.detach().double(), full_matrices=False)

    def projected(self, k: int, rng: np.random.Generator) -> Tensor:
        """The weight on `k` random directions of its smaller side."""
        w = self.parameter.detach().double()
        q = torch.linalg.qr(torch.from_numpy(rng.standard_normal((self.full, k))).to(w)).Q
        return w @ q @ q.T if w.shape[1] == self.full else q @ (q.T @ w)


def truncated(parts: tuple[Tensor, Tensor, Tensor], k: int) -> Tensor:
    """The best approximation of rank `k`."""
    u, s, v = parts
    return (u[:, :k] * s[:k]) @ v[:k]


def matrices(bound: ModelMap) -> tuple[Matrix, ...]:
    """The plain matrices of every block of the main stack, shared ones once. Raises `SiteError` where there is none."""
    need_here(bound.module, "You asked to reduce the rank of weights.")
    found: dict[int, Matrix] = {}
    for i, layer in enumerate(bound.tower().layers):
        for path, module in bound.at(layer.path).named_modules():
            weight = getattr(module, "weight", None)
            plain = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
            if plain and type(weight) is nn.Parameter and weight.is_floating_point() and weight.ndim == 2:
                found.setdefault(id(weight), Matrix(i, path, f"{layer.path}.{path}.weight", weight))
    if not found:
        raise SiteError(
            "You asked to reduce the rank of weights.",
            "No block of this model holds a plain matrix.",
            "Load the model without quantisation.",
        )
    return tuple(found.values())


@contextmanager
def standing_in(parameter: nn.Parameter, value: Tensor) -> Iterator[None]:
    """Another value in a parameter; the very bits are put back afterwards."""
    before = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter.copy_(value)
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(before)
