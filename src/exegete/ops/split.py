"""Dealing rows into parts by group, so that no text (or word type) stands in two of them.

1. the groups are put into random order; 2. they are dealt, whole, to the parts in turn of need: to the part that is
furthest from its share of the rows. Every part gets at least one group.

Cost: linear in rows after a sort. Shapes: groups [row] integers; each part is an int array of row indices, ascending.
"""

from collections.abc import Sequence

import numpy as np

from exegete.core.errors import InputError


def split(
    groups: np.ndarray, shares: Sequence[float] = (0.6, 0.2, 0.2), rng: np.random.Generator | None = None
) -> tuple[np.ndarray, ...]:
    """Row indices of each part; rows of one group stay together. Raises `InputError` for fewer groups than parts."""
    rng = rng or np.random.default_rng(0)
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < len(shares):
        raise InputError(
            f"You asked to split examples into {len(shares)} parts that share no text.",
            f"They come from {len(sizes)} texts.",
            "Give more texts.",
        )
    wanted = np.asarray(shares, dtype=np.float64) / np.sum(shares) * len(groups)
    filled, part_of = np.zeros(len(shares)), np.full(len(sizes), -1)
    for i, group in enumerate(rng.permutation(len(sizes))):
        part = i if i < len(shares) else int(np.argmax((wanted - filled) / wanted))
        part_of[group] = part
        filled[part] += sizes[group]
    rows = part_of[member]
    return tuple(np.flatnonzero(rows == k) for k in range(len(shares)))
