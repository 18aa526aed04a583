"""The estimate of every edge's effect at once: edge attribution patching, plain or along a path of inputs.

    score(w -> r) = sum over texts and tokens of <clean_w - given_w, d target / d input of r>  / texts

1. what every part writes on the clean text, less what a cut edge would carry: clean_w - given_w;
2. the gradient by what each reader reads: at the clean text (`ig_steps` 0), or its mean at the midpoints of `ig_steps`
   pieces of the line between both embeddings;
3. one product a layer, summed over tokens at once: memory grows with edges, not with edges times tokens.

The score is what the target loses, to first order, when edge w -> r carries `given_w`. Sums over readers are the node's own
attribution; with `ig_steps`, the sum over the readers of the embedding is the whole difference of the target.

Shapes: [pair, R, W] float64. Cost: 2 forwards + 1 backward a pair, or 2 + n forwards and n backwards.
References: Syed et al. 2023 (arXiv:2310.10348), eq. 3; Hanna et al. 2024 (arXiv:2403.17806), eq. 4 (EAP-IG).
"""

import numpy as np
import torch
from torch import Tensor

from exegete.methods.mechanisms.circuit_runs import Ground, writes
from exegete.models.edge_gradients import ReaderGradients
from exegete.models.edges import EdgeGraph
from exegete.models.lab import Lab


def edge_scores(
    lab: Lab, graph: EdgeGraph, grounds: list[Ground], ig_steps: int = 0, by_pair: bool = False
) -> np.ndarray:
    """Scores [R, W] of every edge, the mean over pairs, or with `by_pair` [pair, R, W]; 0 where there is no edge."""
    found = [
        _plain(lab, graph, g, by_pair) if ig_steps == 0 else _path(lab, graph, g, ig_steps, by_pair)
        for g in grounds
    ]
    if by_pair:
        return np.concatenate(found) * graph.allowed
    return np.sum(found, axis=0) / sum(len(g.pairs) for g in grounds) * graph.allowed


def _plain(lab: Lab, graph: EdgeGraph, ground: Ground, by_pair: bool) -> np.ndarray:
    aim = ground.pairs.aim
    run = ReaderGradients(lab, graph, aim.inputs, aim.measure, rows=aim.positions)
    return _products(graph, run, run.writes - ground.given, by_pair)


def _path(lab: Lab, graph: EdgeGraph, ground: Ground, steps: int, by_pair: bool) -> np.ndarray:
    aim = ground.pairs.aim
    change = writes(lab, graph, aim.inputs, aim)[0] - ground.given
    total: np.ndarray | float = 0.0
    for k in range(steps):
        embed = ground.given[0] + (k + 0.5) / steps * change[0]
        run = ReaderGradients(lab, graph, aim.inputs, aim.measure, rows=aim.positions, embed=embed)
        total = total + _products(graph, run, change, by_pair) / steps
    return np.asarray(total)


def _products(graph: EdgeGraph, run: ReaderGradients, change: Tensor, by_pair: bool) -> np.ndarray:
    lead = (change.shape[1],) if by_pair else ()
    found = torch.zeros(*lead, *graph.shape, dtype=torch.float64)
    form = "wbtd,rbtd->brw" if by_pair else "wbtd,rbtd->rw"
    for where, gradient in run.each():
        n = graph.upstream(where.start)
        found[..., where, :n] = torch.einsum(form, change[:n], gradient).double().cpu()
    return found.numpy()
