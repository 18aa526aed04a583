"""Orders in which heads are removed, and the curve of each against random orders.

1. texts are dealt in two halves (`halves`): the orders are made from one, the curves are drawn on the other;
2. `taylor`: |sum over tokens of z . dL/dz| of each head, mean over texts: to first order, how much the loss changes when the
   head's output is taken away (the gradient of a gate on the head, at 1);
3. `curves`: at up to `n_points` numbers of removed heads, the loss of every order and of `n_random` random ones, by removing
   them for real;
4. the score of an order is the mean rise of the loss over the points between none and all, against the mean and the best of the random orders.

Cost: 1 forward and 1 backward a text for `taylor`; a forward an order, point and text. References: Michel et al. 2019, eq. 4;
Bansal et al. 2022, eq. 4 (E |A . dL/dA|).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from exegete.core.results.head_curve import RemovalCurves
from exegete.core.trust import Score
from exegete.methods.attention.head_reading import Heads
from exegete.methods.attention.head_removal import Removal, Task, losses, right_logits
from exegete.models.lab import Lab
from exegete.models.relevance import relevance
from exegete.models.relevance_rules import Rules
from exegete.ops.stats import bootstrap_mean

PLACES = 5
RANDOM = "random order"
WORDS = {
    "zero": "their output is zero",
    "mean": "their output is its mean over texts and tokens",
    "even": "they attend evenly",
}


def halves(n: int) -> tuple[slice, slice]:
    """Every other item for making orders, the rest for judging them; a single item for both."""
    return (slice(0, None, 2), slice(1, None, 2)) if n > 1 else (slice(None), slice(None))


def taylor(lab: Lab, heads: Heads, tasks: Sequence[Task]) -> np.ndarray:
    """Importance of each head by the gradient of its gate [head]."""
    rows = [gate_gradients(lab, heads, t) for t in tasks]
    return np.abs(rows).mean(0)


def gate_gradients(lab: Lab, heads: Heads, task: Task) -> np.ndarray:
    """dL/dg of a gate g = 1 on every head [head]: the sum over tokens of z . dL/dz."""
    return _shares(lab, heads, task, lambda logits: losses(task, logits).sum())


def relevance_of_heads(lab: Lab, heads: Heads, tasks: Sequence[Task]) -> np.ndarray:
    """Mean |relevance| of each head [head] for the logits of the right answers, by layer-wise propagation (AttnLRP's rules)."""
    with relevance(lab.model.module, Rules("epsilon", "attnlrp", 0.0, 0.25)):
        rows = [_shares(lab, heads, t, lambda logits, t=t: right_logits(t, logits)) for t in tasks]
    return np.abs(rows).mean(0)


def _shares(lab: Lab, heads: Heads, task: Task, total: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Sum over tokens of z . d total / dz for every head [head]."""
    sites = [s for a in heads.attentions for s in a.kin("z")]
    with torch.enable_grad():
        t = lab.run(task.inputs, read=sites, keep_graph=True, rows=task.rows)
        found = lab.gradients(total(t.logits), [t[s] for s in sites])
    out = np.zeros(len(heads))
    for site, g in zip(sites, found):
        at = heads.slice(site.stack, int(site.layer or 0))
        out[at] = (g * t[site]).detach().double().sum((0, 2, 3)).cpu().numpy()
    return out


def least_first(importance: np.ndarray) -> np.ndarray:
    """Heads [head] from the least important on; equal to `PLACES` decimals of the largest is equal, so that the rounding of
    passes in other batches orders nothing."""
    scale = max(float(np.abs(importance).max(initial=0.0)), 1e-12)
    return np.argsort(np.round(importance / scale, PLACES), kind="stable")


def points(n_heads: int, n_points: int) -> np.ndarray:
    """Numbers of removed heads at which curves are measured, from none to all."""
    return np.unique(np.linspace(0, n_heads, min(n_points, n_heads + 1)).round().astype(int))


def without(order: np.ndarray, n_removed: np.ndarray) -> np.ndarray:
    """Masks [point, head] of the heads kept after the first so many of an order are gone."""
    place = np.argsort(order)
    return place[None] >= n_removed[:, None]


def curves(
    removal: Removal, tasks: Sequence[Task], orders: Mapping[str, np.ndarray], n_points: int, n_random: int
) -> tuple[RemovalCurves, dict[str, np.ndarray]]:
    """The curve of every order, and by order the mean rise of the loss over the points [text]; the last of both is random:
    the mean curve, with its range over draws, and the rises of every draw [draw, text].
    """
    n, names = len(removal.heads), (*orders, RANDOM)
    at = points(n, n_points)
    draws = [removal.lab.rng("random order", k).permutation(n) for k in range(n_random)]
    masks = np.concatenate([without(o, at) for o in (*orders.values(), *draws)])
    shape = (len(orders) + n_random, len(at), len(tasks))
    loss, right = (x.reshape(shape) for x in removal(tasks, masks))
    k = len(orders)
    ends = [[bootstrap_mean(y) or (np.nan, np.nan) for y in one] for one in loss[:k]]
    spread = loss[k:].mean(-1)
    band = np.concatenate([np.array(ends), np.stack([spread.min(0), spread.max(0)], -1)[None]])
    found = RemovalCurves(
        orders=names,
        removed=at,
        loss=np.concatenate([loss[:k].mean(-1), spread.mean(0)[None]]),
        low=band[..., 0],
        high=band[..., 1],
        right=np.concatenate([right[:k].mean(-1), right[k:].mean((0, -1))[None]]),
        how=WORDS[removal.how],
    )
    inner = slice(1, -1) if len(at) > 2 else slice(1, None)  # every order starts and ends at the same
    rise = (loss - loss[:, :1])[:, inner].mean(1)
    return found, dict(zip(names, (*rise[:k], rise[k:])))


def against_random(name: str, rise: np.ndarray, random: np.ndarray, failed: int) -> Score:
    """The score of a rise of the loss [text], against those of random draws [draw, text] on the same texts.

    Chance is the mean draw, the control the best of them: what knows nothing is better than the mean draw every other time,
    and better than all of n draws once in n + 1. The interval is paired with the best draw.
    """
    best = random[int(np.argmin(random.mean(1)))]
    found = bootstrap_mean(rise - best)
    return Score(
        name=name,
        value=float(rise.mean()),
        better="lower",
        chance=float(random.mean()),
        control=float(best.mean()),
        control_name=f"the best of {len(random)} random draws",
        interval=None if found is None else (found[0] + float(best.mean()), found[1] + float(best.mean())),
        n=len(rise),
        n_failed=failed,
    )
