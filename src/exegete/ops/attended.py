"""How much of its attention a head puts where a rule points, and at what distance it looks most.

    mass     a rule marks, for every query, the keys it points at [query, key]. A query counts when it sees a marked key and
             an unmarked one (else there is nothing to choose). value = mean over counted queries of the attention on marked
             keys; chance = the same of uniform attention over the keys that a query sees
    offsets  for every query that sees two keys or more, the distance j - i of the key with most attention (the nearest of
             equals); infinite where no key gets CLEAR times its share, so that even attention has no distance

Shapes: pattern and visible [head, query, key]; results [head] and [head, query]. Cost: linear in the pattern.
References: Clark et al. 2019, sec. 3 (mass); Voita et al. 2019, sec. 5.2 (positional heads: the most attended offset).
"""

import numpy as np
from jaxtyping import Bool, Float

CLEAR = 1.5


def mass(
    pattern: Float[np.ndarray, "head query key"],
    visible: Bool[np.ndarray, "head query key"],
    wanted: Bool[np.ndarray, "query key"],
) -> tuple[np.ndarray, np.ndarray]:
    """Value and chance [head] of a rule; NaN for a head none of whose queries counts."""
    right = (visible & wanted[None]).sum(-1)
    seen = visible.sum(-1)
    counted = (right > 0) & (right < seen)
    got = (pattern * wanted[None]).sum(-1)
    return _mean(got, counted), _mean(right / np.maximum(seen, 1), counted)


def offsets(
    pattern: Float[np.ndarray, "head query key"], visible: Bool[np.ndarray, "head query key"]
) -> np.ndarray:
    """Most attended distance [head, query]; NaN where the query has no choice, infinite where it makes none."""
    queries, keys = pattern.shape[1:]
    away = np.arange(keys)[None] - np.arange(queries)[:, None]
    order = np.argsort(np.abs(away), axis=-1, kind="stable")  # so that of equals the nearest comes first
    near = np.take_along_axis(pattern, np.broadcast_to(order[None], pattern.shape), -1)
    best = np.take_along_axis(order[None], near.argmax(-1)[..., None], -1)[..., 0]
    seen = visible.sum(-1)
    found = np.where(pattern.max(-1) * seen < CLEAR, np.inf, best - np.arange(queries)[None])
    return np.where(seen > 1, found, np.nan)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    n = counted.sum(-1)
    return np.where(n > 0, np.where(counted, values, 0.0).sum(-1) / np.maximum(n, 1), np.nan)
