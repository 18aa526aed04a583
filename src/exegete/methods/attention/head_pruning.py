"""Heads pruned in an order, and what is left of the model's own answer.

1. a head is pruned by taking away what it hands on (z = 0 at every token), heads of all attentions together;
2. for a text and orders of heads, the first 0, ..., n heads of each order are pruned, one row of a batch each; rows that
   prune the same heads are run once;
3. the probability of the answer that the whole model gives most, mean over the outputs that are read.

Cost a text: at most orders x points forwards.
"""

from collections.abc import Sequence

import numpy as np
import torch

from exegete.core.site import Site
from exegete.methods.attention.bench import probabilities
from exegete.methods.attention.head_orders import without
from exegete.models.edit import Scale
from exegete.models.lab import Aim, Lab


def numbered(importance: Sequence[np.ndarray]) -> np.ndarray:
    """Every head as (attention, head) [n, 2], in order."""
    return np.array([(a, h) for a, heads in enumerate(importance) for h in range(len(heads))])


def kept(
    lab: Lab, aim: Aim, patterns: Sequence[Site], orders: np.ndarray, sizes: np.ndarray, heads: np.ndarray
) -> np.ndarray:
    """Probability of the whole model's answer [order, point] with the first heads of each order [order, n] pruned."""
    gone = ~np.stack([without(order, sizes) for order in orders])
    rows, back = np.unique(gone.reshape(-1, len(heads)), axis=0, return_inverse=True)
    found = _answers(lab, aim, patterns, rows, heads)
    return found[back.ravel()].reshape(gone.shape[:2])


def _answers(lab: Lab, aim: Aim, patterns: Sequence[Site], gone: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Probability [row] of the answer of the row that prunes nothing."""
    whole = np.flatnonzero(~gone.any(1))[0]
    outs = []
    for part in lab.chunks(
        len(gone), sum(v.shape[1] for k, v in aim.inputs.items() if k.endswith("input_ids"))
    ):
        some = gone[part]
        edit = {_hands_on(site): Scale(_factor(some, heads, a)) for a, site in enumerate(patterns)}
        inputs = {k: v.expand(len(some), *v.shape[1:]) for k, v in aim.inputs.items()}
        at = None if aim.positions is None else aim.positions.expand(len(some), -1)
        outs.append(probabilities(aim, lab.run(inputs, edit=edit, rows=at).logits))
    out = torch.cat(outs)
    answer = out[whole].argmax(-1)
    return out[:, torch.arange(len(answer)), answer].mean(-1).cpu().numpy()


def _hands_on(pattern: Site) -> Site:
    return Site(
        "cross_z" if pattern.kind == "cross_pattern" else "z", layer=pattern.layer, stack=pattern.stack
    )


def _factor(gone: np.ndarray, heads: np.ndarray, attention: int) -> torch.Tensor:
    """0 for pruned heads and 1 for others [row, head, 1, 1] of one attention."""
    return torch.from_numpy(1.0 - gone[:, heads[:, 0] == attention])[:, :, None, None]
