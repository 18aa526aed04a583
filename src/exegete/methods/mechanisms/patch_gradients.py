"""Estimated effects of patching: one backward for all places, in place of one pass a place.

1. read both runs at every site; their difference is what a patch would change;
2. the gradient of the target at every site of the patched run, or its mean over `n_steps` runs whose embeddings lie on the
   way to the other run (the middle of each step);
3. the effect of a place is, to first order, the sum over it of difference times gradient.

The tangent (one step) is exact where what follows a place is linear. Cost a pair: 2 forwards and n_steps forwards with
backward, whatever the number of places.
References: Nanda 2023, "Attribution patching"; Syed et al. 2023 (arXiv:2310.10348); Hanna et al. 2024 (arXiv:2403.17806),
sec. 3 (gradients on the way).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exegete.core.site import Site
from exegete.core.value import Value
from exegete.methods.mechanisms.patch_cells import Direction, Places, guest_values, sides
from exegete.methods.mechanisms.patch_pairs import Both, Side
from exegete.models.cells import Cell
from exegete.models.edit import Set
from exegete.models.lab import Lab


class Estimate(Value):
    """What every cell of every kind is estimated to move, and how long its change is [cell]."""

    moved: dict[str, np.ndarray] = {}
    length: dict[str, np.ndarray] = {}


def estimate_pair(
    lab: Lab, ways: Sequence[Places], both: Both, direction: Direction, n_steps: int
) -> tuple[tuple[float, float], list[Estimate]]:
    """The target on the clean and the corrupt run; and the estimates for each way to cut the sites of the first into cells."""
    host, guest = sides(both, direction)
    embed, sites = Site("embed", stack=lab.model.map.stacks[0]), ways[0].sites
    taken, there = guest_values(lab, (embed, *sites), host, guest)
    own, here = guest_values(lab, (embed, *sites), host, host)
    rows = max(host.rows, guest.rows)
    gradient = _gradients(lab, sites, host, (own[embed], taken[embed]), n_steps, rows)
    sign = -1.0 if direction == "noising" else 1.0
    change = {s: taken[s] - own[s] for s in sites}
    product = {s: sign * (change[s] * gradient[s]).sum(-1).mean(0).double().cpu() for s in sites}
    length = {s: change[s].square().sum(-1).mean(0).double().cpu() for s in sites}
    found = []
    for places in ways:
        cells = {k: places.cells(k, both, host) for k in places.kinds}
        moved = {k: np.array([_sum(product, c) for c in v]) for k, v in cells.items()}
        long = {k: np.array([_sum(length, c) for c in v]) ** 0.5 for k, v in cells.items()}
        found.append(Estimate(moved=moved, length=long))
    return ((there, here) if direction == "denoising" else (here, there)), found


def _gradients(
    lab: Lab, sites: tuple[Site, ...], host: Side, ends: tuple[Tensor, Tensor], n_steps: int, rows: int
) -> dict[Site, Tensor]:
    """Mean gradients of the target at each site [row, ...]; `ends` are the embeddings of both runs."""
    inputs: dict[str, Any] = {k: v.expand(rows, *v.shape[1:]) for k, v in host.aim.inputs.items()}
    at = host.aim.positions
    at = None if at is None else at.expand(rows, -1)
    embed = Site("embed", stack=lab.model.map.stacks[0])
    total: dict[Site, Tensor] = {}
    for step in range(n_steps):
        alpha = (step + 0.5) / n_steps if n_steps > 1 else 0.0
        start = ends[0] + alpha * (ends[1] - ends[0])
        edit = {embed: Set(start.expand(rows, *start.shape[1:]))}
        seen = lab.run(inputs, read=sites, edit=edit, keep_graph=True, rows=at)
        with torch.enable_grad():
            value = host.aim.measure(seen.logits).sum()
        found = lab.gradients(value, [seen[s] for s in sites])
        total = {s: total.get(s, 0) + g.detach() / n_steps for s, g in zip(sites, found)}
    return total


def _sum(values: dict[Site, Tensor], cell: Cell) -> float:
    """Of values [(head,) tok] over the spots of a cell."""
    total = 0.0
    for spot in cell:
        x = values[spot.site]
        x = x if spot.head is None or x.ndim == 1 else x[spot.head]
        total += float(x.sum() if spot.positions is None else x[..., list(spot.positions)].sum())
    return total
