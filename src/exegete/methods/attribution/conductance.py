"""Conductance: how much of a token's integrated gradient flows through a layer, or through one of its neurons?

1. along the straight path from the baseline x' to the input x, read z, the activations of a site, with the graph to both
   sides; F is the output;
2. one backward gives dF/dz and dF/dx; entries of dF/dz other than the chosen neuron and position become 0;
3. a second backward carries the rest from z to the input: sum over chosen j of (dF/dz_j) (dz_j/dx_i);
4. score of token i = sum over its coordinates of (x_i - x'_i) . integral of that. Over all neurons of a site that everything
   passes (a residual) the scores are integrated gradients; their sum over tokens is the conductance of the neuron;
5. self-check: the integrated gradients of the same points sum to f(x) - f(x').

Cost: a forward and two backwards a step. Memory is bounded by the token budget.
Reference: Dhamdhere, Sundararajan & Yan 2019, eq. 2 (arXiv:1805.12233); Lundstrom, Huang & Razaviyayn 2022, sec. 5
(arXiv:2202.11912).
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import UsageError
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.site import Site, Stack
from exegete.core.text import Unit
from exegete.methods.attribution.path import Lines, PathMethod, line_to, path_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.capture import trace
from exegete.models.model import still
from exegete.models.question import Question
from exegete.models.scale import finite
from exegete.ops.paths import Sample

Through = Literal[
    "resid_pre", "resid_mid", "resid_post", "attn_out", "attn_add", "mlp_act", "mlp_out", "mlp_add"
]


@dataclass(frozen=True)
class _Flow(Lines):
    """`Lines` whose parts [N, S] are what passes the chosen entries of a site, while f and its slope are the whole's."""

    site: Site = field(default_factory=lambda: Site("embed"))
    unit: int | None = None
    position: int | None = None

    def __call__(self, line: np.ndarray, t: np.ndarray) -> Sample:
        got = [self._chunk(self.points(line[part], t[part])) for part in self.q.chunks(len(t))]
        return Sample(*(np.concatenate(column) for column in zip(*got)))

    def _chunk(self, points: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        q = self.q
        with still(q.model.module), torch.enable_grad():
            points = points.detach().requires_grad_(True)
            with trace(q.model, read=[self.site], keep_graph=True) as t:
                values = q.run(points)
            z = list(t.calls(self.site))
            f = values.prod(-1) if q.scale == "prob" else values.sum(-1)
            whole, *at = torch.autograd.grad(f.sum(), [points, *z], retain_graph=True, allow_unused=True)
            through = [(a, self._chosen(g)) for a, g in zip(z, at) if g is not None]
            flow = self._back(through, points)
        q.meter.backwards += 2 * len(points)
        finite(flow, "gradient")
        move = self.end - self.start
        slope = (whole * move).sum((-1, -2))
        return tuple(x.detach().double().cpu().numpy() for x in (f, slope, (flow * move).sum(-1)))  # type: ignore[return-value]

    def _chosen(self, grad: Tensor) -> Tensor:
        """dF/dz [N, tok, neuron] with everything but the chosen position and neuron at 0."""
        keep = torch.zeros_like(grad)
        position = slice(None) if self.position is None else _inside("position", self.position, grad.shape[1])
        unit = slice(None) if self.unit is None else _inside("unit", self.unit, grad.shape[2])
        keep[:, position, unit] = grad[:, position, unit]
        return keep

    @staticmethod
    def _back(through: list[tuple[Tensor, Tensor]], points: Tensor) -> Tensor:
        alive = [(z, g) for z, g in through if z.requires_grad]
        if not alive:
            return torch.zeros_like(points)
        zs, gs = zip(*alive)
        found = torch.autograd.grad(zs, points, gs, allow_unused=True)[0]
        return torch.zeros_like(points) if found is None else found


@register
class Conductance(PathMethod):
    """The share of each token's integrated gradient that flows through one layer or neuron."""

    id: ClassVar[str] = "conductance"
    family: ClassVar[str] = "gradient"
    hooks: ClassVar[bool] = True
    techniques: ClassVar[tuple[str, ...]] = ("A14",)
    reference: ClassVar[Reference] = Reference(
        authors="Dhamdhere, Sundararajan & Yan; Lundstrom, Huang & Razaviyayn",
        year=2022,
        title="How Important Is a Neuron?; A Rigorous Study of Integrated Gradients and Extensions to Internal Neurons",
        where="arXiv:1805.12233, arXiv:2202.11912",
        equation="eq. 2; sec. 5",
    )
    needs: ClassVar = ("gradients", "sites")
    passes: ClassVar[str] = "n_steps forwards + 2 n_steps backwards + 1 forward (auto: 17 to max_steps steps)"

    layer: int = Field(0, ge=0, description="layer, counted from 0")
    site: Through = Field(
        "mlp_act", description="what of the layer: its neurons (mlp_act), a residual, a part's output"
    )
    unit: int | None = Field(
        None, ge=0, description="one neuron or dimension of the site; all when not given"
    )
    position: int | None = Field(None, ge=0, description="one token position of the site; all when not given")
    stack: Stack = Field("", description="enc or dec of an encoder-decoder model; the encoder when not given")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and two backwards a step of the path."""
        return self.path_passes(2)

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [U]: what flows from each unit through the chosen neurons; their sum is the neurons' conductance."""
        line = line_to(q, units, self.baseline)
        site = Site(self.site, layer=self.layer, stack=self.stack or q.model.map.stacks[0])
        flow = _Flow(q, line.start, line.end, None, False, line.end_value, site, self.unit, self.position)
        integral = self.integrate(flow)
        words = "integrated gradients at the same steps sum to f(input) - f(baseline), as a share of it"
        note = f"Of f(input) - f(baseline) = {integral.end[0] - integral.start[0]:.4g}, {integral.parts[0].sum():.4g} flows through here."
        return path_scores(units, flow, integral, integral.parts[0], self.complete(integral, words), note)


def _inside(name: str, index: int, size: int) -> int:
    if index < size:
        return index
    raise UsageError(
        f"You asked for the conductance of {name} {index}.",
        f"The site has {size} there.",
        f"Give a {name} below {size}.",
    )
