"""A tree of tokens, grown from the place where the output is read down through the layers.

1. the tree is the root alone;
2. from the last layer to the first: each token that is not in the tree yet takes as parent the token of the tree whose
   attention to it has the largest weight, if that is more than `threshold` times the largest weight of the layer;
3. each token joins once, at the highest layer that has an edge strong enough.

Cost: O(layers n^2). Reference: Hao, Dong, Wei & Xu 2021, "Self-Attention Attribution", sec. 5 (arXiv:2004.11207).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layer:
    """Weights [query, key] of one attention; the token of each query and key, -1 for none."""

    weights: np.ndarray
    queries: np.ndarray
    keys: np.ndarray


@dataclass(frozen=True)
class Branch:
    """An edge of the tree: `child` joined under `parent` by the attention number `layer`."""

    parent: int
    child: int
    layer: int
    weight: float


def grow(layers: Sequence[Layer], root: int, threshold: float) -> tuple[Branch, ...]:
    """Edges of the tree, in the order in which they were found; `layers` from first to last."""
    inside, found = {root}, []
    for number in reversed(range(len(layers))):
        new = _joining(layers[number], inside, threshold, number)
        found += new
        inside |= {b.child for b in new}
    return tuple(found)


def _joining(layer: Layer, inside: set[int], threshold: float, number: int) -> list[Branch]:
    rows = [i for i, token in enumerate(layer.queries) if int(token) in inside]
    bar = threshold * float(layer.weights.max(initial=0.0))
    if not rows or bar < 0:
        return []
    found = []
    for j, token in enumerate(layer.keys):
        best = max(rows, key=lambda i: layer.weights[i, j])
        weight = float(layer.weights[best, j])
        if token >= 0 and int(token) not in inside and weight > bar:
            found.append(Branch(int(layer.queries[best]), int(token), number, weight))
    return found
