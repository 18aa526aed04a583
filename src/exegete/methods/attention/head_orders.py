"""Orders in which heads are removed, and the curve of each against random orders.

1. texts are dealt in two halves (`halves`): the orders are made from one, the curves are drawn on the other;
2. `taylor`: |sum over tokens of z . dL/dz| of each head, mean over texts: to first order, how much the loss changes when the
   head's output is taken away (the gradient of a gate on the head, at 1);
3. `curves`: at up to `n_points` numbers of removed heads, the loss of every order and of `n_random` random ones, by removing
   them for real;
4. the score of an order is the mean rise of the loss over the points, against that of random orders on the same texts.

Cost: 1 forward and 1 backward a text for `taylor`; a forward an order, point and text. References: Michel et al. 2019, eq. 4;
Bansal et al. 2022, eq. 4 (E |A . dL/dA|).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from exegete.core.results.head_curve import RemovalCurves
from exegete.core.trust import Score
from exegete.methods.attention.head_reading import Heads
from exegete.methods.attention.head_removal import Removal, Task, losses
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean

WORDS = {
    "zero": "their output is zero",
    "mean": "their output is its mean over texts and tokens",
    "even": "they attend evenly",
}


def halves(n: int) -> tuple[slice, slice]:
    """Every other item for making orders, the rest for judging them; a single item for both."""
    return (slice(0, None, 2), slice(1, None, 2)) if n > 1 else (slice(None), slice(None))


def taylor(lab: Lab, heads: Heads, tasks: Sequence[Task | None]) -> np.ndarray:
    """Importance of each head by the gradient of its gate [head]."""
    rows = [gate_gradients(lab, heads, t) for t in tasks if t is not None]
    return np.abs(rows).mean(0) if rows else np.zeros(len(heads))


def gate_gradients(lab: Lab, heads: Heads, task: Task) -> np.ndarray:
    """dL/dg of a gate g = 1 on every head [head]: the sum over tokens of z . dL/dz."""
    sites = [s for a in heads.attentions for s in a.kin("z")]
    with torch.enable_grad():
        t = lab.run(task.inputs, read=sites, keep_graph=True, rows=task.rows)
        found = lab.gradients(losses(task, t.logits).sum(), [t[s] for s in sites])
    out = np.zeros(len(heads))
    for site, g in zip(sites, found):
        at = heads.slice(site.stack, int(site.layer or 0))
        out[at] = (g * t[site]).detach().double().sum((0, 2, 3)).cpu().numpy()
    return out


def points(n_heads: int, n_points: int) -> np.ndarray:
    """Numbers of removed heads at which curves are measured, from none to all."""
    return np.unique(np.linspace(0, n_heads, min(n_points, n_heads + 1)).round().astype(int))


def without(order: np.ndarray, n_removed: np.ndarray) -> np.ndarray:
    """Masks [point, head] of the heads kept after the first so many of an order are gone."""
    place = np.argsort(order)
    return place[None] >= n_removed[:, None]


def curves(
    removal: Removal,
    tasks: Sequence[Task | None],
    orders: Mapping[str, np.ndarray],
    n_points: int,
    n_random: int,
) -> tuple[RemovalCurves, dict[str, Score]]:
    """The curve of every order, and its score; the last curve is the mean over random orders."""
    n = len(removal.heads)
    at = points(n, n_points)
    draws = [removal.lab.rng("random order", k).permutation(n) for k in range(n_random)]
    masks = np.concatenate([without(o, at) for o in (*orders.values(), *draws)])
    loss, right = removal(tasks, masks)
    shape = (len(orders) + n_random, len(at), len(tasks))
    loss, right = (
        _with_random(loss.reshape(shape), len(orders)),
        _with_random(right.reshape(shape), len(orders)),
    )
    good = np.asarray(np.isfinite(loss).all((0, 1)))
    band = np.array([[bootstrap_mean(y[good]) or (np.nan, np.nan) for y in one] for one in loss])
    found = RemovalCurves(
        orders=(*orders, "random order"),
        removed=at,
        loss=loss[..., good].mean(-1),
        low=band[..., 0],
        high=band[..., 1],
        right=right[..., good].mean(-1),
        how=WORDS[removal.how],
    )
    return found, {name: _score(name, loss, i, good) for i, name in enumerate(orders)}


def _with_random(values: np.ndarray, n: int) -> np.ndarray:
    """[order, point, text] with the random orders replaced by their mean."""
    return np.concatenate([values[:n], values[n:].mean(0, keepdims=True)])


def _score(name: str, loss: np.ndarray, i: int, good: np.ndarray) -> Score:
    rise = (loss - loss[:, :1])[:, 1:].mean(1)[:, good]  # every order starts from the whole model
    return Score(
        name=f"mean rise of the loss, {name}",
        value=float(rise[i].mean()) if good.any() else float("nan"),
        better="lower",
        control=float(rise[-1].mean()) if good.any() else None,
        control_name="random orders" if good.any() else "",
        # the interval is of the difference to random orders on the same texts, around the control
        interval=_paired(rise[i], rise[-1]),
        n=len(good),
        n_failed=int((~good).sum()),
        skipped="" if good.any() else "no text poses a question",
    )


def _paired(rise: np.ndarray, random: np.ndarray) -> tuple[float, float] | None:
    found: Any = bootstrap_mean(rise - random)
    if found is None:
        return None
    return float(found[0] + random.mean()), float(found[1] + random.mean())
