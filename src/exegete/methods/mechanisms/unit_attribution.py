"""Integrated gradients of an answer's probability over the hidden units of feed-forward parts, and real switching of them.

`attribute`  Attr_i = w_i * integral over a in [0, 1] of dP(a w) / dw_i, at the token where the answer is read, all units w of
             a layer scaled together (eq. 2). Midpoints of `n_steps` equal steps; a layer's attributions sum to
             P less P without that layer's units there (completeness), up to the steps: `gap` says how far. It is large where
             the part's output passes a norm of its own, which makes the slope steep near a = 0.
`switched`   log-odds of the answers of several wordings with sets of units times a factor at every token: what the model
             really says then. Each set is a row of one batch.

Shapes: attributions [unit] a layer; log-odds [set, wording]. Cost: 1 forward, then n_steps forwards and backwards a layer,
from that layer on; one forward a set and wording. Reference: Dai et al. 2021, arXiv:2104.08696, sec. 3.1-3.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site
from exegete.models.feedforward import FeedForward
from exegete.models.lab import Aim, Lab

_TINY = 1e-30  # an answer of probability 0 has nothing to attribute
Parts = Mapping[int, FeedForward]
Units = Sequence[tuple[int, int]]  # (layer, unit)


@dataclass(frozen=True, eq=False)
class Attributed:
    """`units` [unit] of each layer, the probability `said`, and the largest `gap` of a layer's sum, as a share of P."""

    units: dict[int, np.ndarray]
    said: float
    gap: float


def attribute(lab: Lab, aim: Aim, parts: Parts, n_steps: int) -> Attributed:
    """The units of one text whose aim is on the scale of probabilities."""
    at = aim.rows[0][0].position or 0
    entrance = {n: Site("resid_pre", layer=n, stack=p.act.stack) for n, p in parts.items()}
    sites = [s for n, p in parts.items() for s in (entrance[n], p.act)]
    seen = lab.run(aim.inputs, read=sites, rows=aim.positions)
    said = float(aim.measure(seen.logits)[0])
    found, gaps = {}, []
    for n, part in parts.items():
        full = seen[part.act][:, [at]]
        found[n], without = _integrated(lab, aim, part, (seen[entrance[n]], full, at), n_steps)
        gaps.append(abs(found[n].sum() - (said - without)) / max(said, without, _TINY))
    return Attributed(found, said, max(gaps))


def _integrated(
    lab: Lab, aim: Aim, part: FeedForward, given: tuple[Tensor, Tensor, int], n_steps: int
) -> tuple[np.ndarray, float]:
    """(attribution [unit], P without the units); the first row of the passes is the one without."""
    resid, full, at = given
    total, said = torch.zeros_like(full[0, 0], dtype=torch.float64), []
    shares = (torch.arange(n_steps + 1, dtype=full.dtype, device=full.device) - 0.5).clamp_min(0) / n_steps
    for chunk in lab.chunks(n_steps + 1, resid.shape[1]):
        x = (shares[chunk, None, None] * full).requires_grad_()
        n = len(x)
        rows = None if aim.positions is None else aim.positions.expand(n, -1)
        inputs = {k: v.expand(n, *v.shape[1:]) for k, v in aim.inputs.items()}
        t = lab.resume(
            inputs, part.layer, resid.expand(n, -1, -1), stack=part.act.stack, edit={part.act: _Put(x, at)},
            keep_graph=True, rows=rows,
        )  # fmt: skip
        values = aim.measure(t.logits)
        (slope,) = lab.gradients(values[shares[chunk] > 0].sum(), [x])
        total += slope.double().sum((0, 1))
        said.append(values.detach())
    return (total * full[0, 0].double() / n_steps).detach().cpu().numpy(), float(torch.cat(said)[0])


@dataclass(frozen=True, eq=False)
class _Put:
    """Values [row, 1, unit] at one token."""

    x: Tensor
    at: int

    def __call__(self, whole: Tensor) -> Tensor:
        return torch.cat([whole[:, : self.at], self.x.to(whole), whole[:, self.at + 1 :]], dim=1)


def switched(lab: Lab, aim: Aim, parts: Parts, sets: Sequence[tuple[Units, float]]) -> np.ndarray:
    """Log-odds [set, wording] of the aim's answers with each set of units times its factor. The aim's scale is logprob."""
    size, found = len(aim), []
    length = next(iter(aim.inputs.values())).shape[1]
    for chunk in lab.chunks(len(sets), length * size):
        some = sets[chunk]
        inputs = {k: v.repeat(len(some), *[1] * (v.ndim - 1)) for k, v in aim.inputs.items()}
        at = None if aim.positions is None else aim.positions.repeat(len(some), 1)
        edit = {part.act: _times(part, n, some, size) for n, part in parts.items()}
        logits = lab.run(inputs, edit=edit, rows=at).logits
        found.append(aim.measure(logits.double()).reshape(len(some), size))
    value = torch.cat(found).clamp(max=-1e-12)
    return (value - torch.log(-torch.expm1(value))).cpu().numpy()


def _times(part: FeedForward, layer: int, sets: Sequence[tuple[Units, float]], copies: int):
    """An edit: units of a layer times the factors of each set, every set in `copies` rows."""

    def scale(x: Tensor) -> Tensor:
        factor = torch.ones(len(sets), 1, x.shape[-1], dtype=x.dtype, device=x.device)
        for i, (units, by) in enumerate(sets):
            mine = [unit for n, unit in units if n == layer]
            factor[i, 0, mine] = by
        return x * factor.repeat_interleave(copies, 0)

    return scale
