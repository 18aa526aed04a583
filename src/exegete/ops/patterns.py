"""What one attention head does on one text, in six numbers.

For every query that sees a key, with its row p of the pattern (rows of queries that see nothing are left out):
    entropy    -sum p ln p, in nats; `room` is the entropy of uniform attention over what the query sees
    distance   sum_j p_j |i - j|, in tokens
    first, special, self, previous   the share of p on the first key, on keys that stand for no text, on the query's own
               position, and on the one before it (queries 1 and on)
    content    the share on none of these
Heads get the mean over queries. Between two texts (cross-attention) positions do not correspond, and distance, self,
previous are NaN.

Cost: O(head query key). Reference: Clark et al. 2019, "What Does BERT Look At?", sec. 3.
"""

from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

NAMES = ("entropy", "room", "distance", "first", "special", "self", "previous", "content")


@dataclass(frozen=True)
class HeadSummary:
    """The numbers of the heads of one layer, each [head]; see the module."""

    entropy: np.ndarray
    room: np.ndarray
    distance: np.ndarray
    first: np.ndarray
    special: np.ndarray
    own: np.ndarray
    previous: np.ndarray
    content: np.ndarray

    def rows(self) -> np.ndarray:
        """The numbers as [head, number] in the order of `NAMES`."""
        return np.stack(astuple(self), axis=-1)


def summary(
    pattern: Float[np.ndarray, "head query key"],
    visible: Int[np.ndarray, "head query"],
    special: Bool[np.ndarray, "key"],
    same_text: bool = True,
) -> HeadSummary:
    """The six numbers of each head. `visible` counts the keys a query sees; `special` marks keys that stand for no text."""
    p = np.asarray(pattern, dtype=np.float64)
    seen = visible > 0
    n = p.shape[-1]
    i, j = np.arange(p.shape[1])[:, None], np.arange(n)[None]
    own, previous = same_text & (i == j), same_text & (i == j + 1)
    known = (j == 0) | special[None] | own | previous
    away = (p * np.abs(i - j)).sum(-1) if same_text else np.full(p.shape[:2], np.nan)
    nothing = np.full(len(p), np.nan)
    return HeadSummary(
        entropy=_mean(-(p * np.log(np.where(p > 0, p, 1.0))).sum(-1), seen),
        room=_mean(np.log(np.maximum(visible, 1)), seen),
        distance=_mean(away, seen),
        first=_mean(p[:, :, 0], seen),
        special=_mean((p * special).sum(-1), seen),
        own=_mean((p * own).sum(-1), seen) if same_text else nothing,
        previous=_mean((p * previous).sum(-1), seen & (i[:, 0] > 0)) if same_text else nothing,
        content=_mean((p * ~known).sum(-1), seen),
    )


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the counted queries [head]; NaN where there is none."""
    n = counted.sum(-1)
    return np.where(n > 0, np.where(counted, values, 0.0).sum(-1) / np.maximum(n, 1), np.nan)
