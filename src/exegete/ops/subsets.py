"""Random subsets of a few sizes: distinct, all of a size where there are no more than asked for.

1. sizes are spread evenly from 1 to all but one; 2. of each size every subset, or distinct random ones.

Shapes: U units, S subsets of one size. Cost: O(S U) a size.
"""

from itertools import combinations
from math import comb

import numpy as np


def spread_sizes(n_units: int, n_sizes: int) -> np.ndarray:
    """At most `n_sizes` sizes from 1 to `n_units` - 1, evenly spread; 1 alone for a single unit."""
    return np.unique(np.round(np.linspace(1, max(n_units - 1, 1), n_sizes)).astype(int))


def subsets_of_size(n_units: int, size: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Membership [S, U] bool of S = min(`most`, all there are) distinct subsets of `size` units, each as likely as any other."""
    if comb(n_units, size) <= most:
        chosen = np.array(list(combinations(range(n_units), size)), dtype=int).reshape(-1, size)
    else:
        found: dict[bytes, np.ndarray] = {}
        while len(found) < most:  # more subsets exist than are asked for, so that this ends
            one = np.sort(rng.choice(n_units, size, replace=False))
            found.setdefault(one.tobytes(), one)
        chosen = np.stack(list(found.values()))
    member = np.zeros((len(chosen), n_units), dtype=bool)
    np.put_along_axis(member, chosen, True, axis=1)
    return member
