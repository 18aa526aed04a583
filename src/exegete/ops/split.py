"""Dealing rows into parts by group, so that no text (or word type) stands in two of them.

together   which rows belong in one group: those that share a tie (a text, a group, a word), through any chain of rows

1. the groups are put into random order; 2. they are dealt, whole, to the parts in turn of need: to the part that is
furthest from its share of the rows. Every part gets at least one group.

Cost: linear in rows after a sort. Shapes: groups [row] integers; each part is an int array of row indices, ascending.
"""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


def together(ties: Sequence[Iterable[Hashable]]) -> np.ndarray:
    """Which group every row belongs to [row], groups numbered as they first come; a row without ties stands alone."""
    ids: dict[Hashable, int] = {}
    pairs = [(r, len(ties) + ids.setdefault(t, len(ids))) for r, several in enumerate(ties) for t in several]
    rows, columns = zip(*pairs) if pairs else ((), ())
    n = len(ties) + len(ids)
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(n, n))
    return connected_components(graph, directed=False)[1][: len(ties)]
