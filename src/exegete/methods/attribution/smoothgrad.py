"""SmoothGrad: a gradient map that does not hang on the exact point, averaged over noisy copies of the input.

1. add Gaussian noise to the embeddings of the explained tokens; its deviation is `noise` times that of their entries;
2. make the map of each copy: saliency (norm of the gradient) or input x gradient (at the noisy input);
3. score = mean over copies; standard error = deviation over copies / sqrt(n_samples).

Cost: n_samples forwards and backwards (with `per_output` one backward a copy and output).
Reference: Smilkov et al. 2017, eq. in sec. 3.1.
"""

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.methods.attribution.gradient import gradients
from exegete.methods.contracts.attribution import AttributionMethod, Scores, by_unit
from exegete.models.question import Question

Map = Literal["saliency", "input_x_gradient"]


@register
class SmoothGrad(AttributionMethod):
    """Saliency or input x gradient, averaged over noisy copies of the input."""

    id: ClassVar[str] = "smoothgrad"
    family: ClassVar[str] = "gradient"
    techniques: ClassVar[tuple[str, ...]] = ("A9",)
    reference: ClassVar[Reference] = Reference(
        authors="Smilkov, Thorat, Kim, Viegas & Wattenberg",
        year=2017,
        title="SmoothGrad: removing noise by adding noise",
        where="arXiv:1706.03825",
        equation="sec. 3.1",
    )
    needs: ClassVar = ("gradients",)
    passes: ClassVar[str] = "n_samples forwards + n_samples backwards"

    of: Map = Field(
        "saliency", description="the map that is averaged: saliency (l2 norm) or input_x_gradient"
    )
    n_samples: int = Field(25, ge=2, le=100_000, description="noisy copies of the input")
    noise: float = Field(
        0.1, ge=0, le=10, description="deviation of the noise, relative to that of the embeddings"
    )
    seed: int = Field(0, ge=0, description="seed of the noise")
    per_output: bool = Field(
        False, description="also score every output of a longer target, one backward each"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward a sample."""
        return self.n_samples, self.n_samples * (outputs if self.per_output else 1)

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Mean scores [U] with their standard error [U], and [R, U] of the outputs where asked."""
        x = q.embeddings()
        slots = sorted({i for u in units for i in u.tokens})
        size = self.noise * float(x[slots].double().std())
        maps = []
        for part in q.chunks(self.n_samples):
            points = torch.stack([self._noisy(x, slots, size, i) for i in range(part.start, part.stop)])
            grads = gradients(q, points, self.per_output)
            mapped = (
                (grads * points[:, None]).sum(-1) if self.of == "input_x_gradient" else grads.norm(dim=-1)
            )
            maps.append(by_unit(mapped.double().cpu().numpy(), units))
        found = np.concatenate(maps)
        mean, error = found.mean(0), found[:, -1].std(0, ddof=1) / np.sqrt(self.n_samples)
        each = mean[:-1] if self.per_output else None
        return Scores(total=mean[-1], each=each, stderr=error, signed=self.of != "saliency")

    def _noisy(self, x: Tensor, slots: list[int], size: float, i: int) -> Tensor:
        """Copy i [S, d]: its noise depends on the seed and i alone, not on how copies are batched."""
        draw = generator(self.seed, self.id, i).standard_normal((len(slots), x.shape[1]))
        out = x.clone()
        out[slots] += torch.as_tensor(size * draw, dtype=x.dtype, device=x.device)
        return out
