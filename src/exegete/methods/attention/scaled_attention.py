"""Attribution of every attention weight: integrated gradients while the attention of one layer grows from nothing.

1. one pass keeps the pattern A [head, query, key] of every layer, and the residual that enters it;
2. layer by layer, the pattern is scaled by a in 0..1 (all heads of the layer together, all else free), from that layer on:
       Attr = A * integral over a of dF(a A)/dA
   by a fixed rule, or refined until the gap of step 3 is small (`ops.paths`): where a norm follows the attention, nearly
   all of the change happens at tiny a;
3. completeness: the weights of a layer sum to F(A) - F(0), what the layer's attention does to the output.

Points of one layer share passes; layers below are not run again (a model whose first block makes what others need runs it,
and the encoder runs whole below a decoder). Cost: 1 forward, and a forward and backward a point and layer.
Reference: Hao, Dong, Wei & Xu 2021, "Self-Attention Attribution", eq. 3 (arXiv:2004.11207).
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site
from exegete.core.trust import Check
from exegete.models.capture import trace
from exegete.models.edit import Scale, Set
from exegete.models.model import still
from exegete.models.question import Question
from exegete.models.resume import skipping
from exegete.ops.paths import Integral, Sample, fixed, refine, scale

Keep = Callable[[Tensor], Tensor]
"""What is kept of attributions [point, head, query, key] at each point: [point, ...]."""

WORDS = (
    "attributions of an attention sum to the output with it minus that without it, as a share of that difference; above "
    "it, take more steps (a model that jumps, as routed experts do, has a gap that no steps close)"
)


@dataclass(frozen=True)
class Steps:
    """How an integral is taken: a fixed number of points, or "auto", refined to `tolerance` with at most `most` points."""

    n: int | Literal["auto"] = "auto"
    tolerance: float = 0.01
    most: int = 512


@dataclass(frozen=True)
class Weighed:
    """What was kept of the attributions of an attention, `attr`; its weights `pattern` [head, query, key]; the relative gap."""

    site: Site
    attr: np.ndarray
    pattern: Tensor
    gap: float


@dataclass(frozen=True)
class _Line:
    """One attention of a question, growing; called as `ops.paths` calls what it integrates."""

    q: Question
    site: Site
    pattern: Tensor
    entering: Tensor | None
    keep: Keep

    def __call__(self, line: np.ndarray, t: np.ndarray) -> Sample:
        """Outputs, slopes and kept attributions at points t [N]."""
        values, slopes, parts = [], [], []
        for part in self.q.chunks(len(t)):
            f, gradient = self._pass(torch.from_numpy(t[part]))
            attr = gradient.double() * self.pattern.double()
            values.append(f.double().cpu().numpy())
            slopes.append(attr.sum((1, 2, 3)).cpu().numpy())
            parts.append(self.keep(attr).cpu().numpy())
        return Sample(np.concatenate(values), np.concatenate(slopes), np.concatenate(parts))

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The outputs without and with the attention, [1] each."""
        without, _ = self._pass(torch.zeros(1, dtype=torch.float64))
        return without.double().cpu().numpy(), np.array([float(self.q.total(self.q.value()))])

    def _pass(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Total outputs [point] with the attention scaled, and their gradients by its scaled weights [point, head, query, key]."""
        edit: dict[Site, Any] = {self.site: Scale(at.to(self.pattern)[:, None, None, None])}
        points = self.q.embeddings()[None].expand(len(at), -1, -1)
        model = self.q.model
        with ExitStack() as stack:
            stack.enter_context(still(model.module))
            stack.enter_context(torch.enable_grad())
            if self.entering is not None:
                edit[_entrance(self.site)] = Set(self.entering)
                tower = model.map.tower(self.site.stack)
                stack.enter_context(skipping(model.module, tower, self.site.layer or 0))
            t = stack.enter_context(trace(model, [self.site], edit, keep_graph=True))
            values = self.q.total_of(self.q.run(points))
            (gradient,) = torch.autograd.grad(values.sum(), [t[self.site]], allow_unused=True)
        self.q.meter.backwards += len(at)
        return values.detach(), torch.zeros_like(t[self.site]) if gradient is None else gradient


def weigh(q: Question, sites: Sequence[Site], steps: Steps, keep: Keep) -> list[Weighed]:
    """Attribution of the weights at pattern `sites` to the question's total output, one attention after the other."""
    entrances = {s: e for s in sites if q.model.map.has(e := _entrance(s))}
    wanted = [*sites, *dict.fromkeys(entrances.values())]
    with torch.no_grad(), still(q.model.module), trace(q.model, wanted) as t:
        q.run(q.embeddings()[None])
    lines = (_Line(q, s, t[s][0], t[entrances[s]] if s in entrances else None, keep) for s in sites)
    return [_along(line, steps) for line in lines]


def complete(found: Sequence[Weighed], tolerance: float) -> Check:
    """The check that the attributions of every attention add up."""
    return Check.at_most("attributions add up", max(w.gap for w in found), tolerance, WORDS)


def _along(line: _Line, steps: Steps) -> Weighed:
    integral: Integral
    if steps.n == "auto":
        integral = refine(line, steps.tolerance, steps.most)
    else:
        integral = fixed(line, line.ends, "gauss_legendre", steps.n)
    change = float(integral.end[0] - integral.start[0])
    gap = abs(float(integral.parts[0].sum()) - change) / scale(integral.start, integral.end)
    return Weighed(line.site, integral.parts[0], line.pattern, gap)


def _entrance(site: Site) -> Site:
    return Site("resid_pre", layer=site.layer, stack=site.stack)
