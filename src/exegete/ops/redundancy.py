"""How alike attention heads are, and in which order the ones that others stand in for can be left out.

    distances   mean over rows of the Jensen-Shannon divergence of two heads' attention, as a share of ln 2 (0 the same,
                1 nothing in common)
    scattered   the same rows with their keys dealt anew among those that are seen, for every head by itself: equally sharp
                heads that look at unrelated places
    stand_ins   greedy order: of the heads still there, the next to go is one of the closest pair (of the two, the one that
                is closer to the rest)
    groups      average linkage, cut where groups lie further apart than a bound

Shapes: rows [head, row, key], distances [head, head]. Cost: O(head^2 row key); O(head^3) for the order.
References: Lin 1991, eq. 4.1; Bian et al. 2021, "On Attention Redundancy", sec. 3.
"""

import numpy as np
from jaxtyping import Bool, Float


def distances(rows: Float[np.ndarray, "head row key"]) -> Float[np.ndarray, "head head"]:
    """Pairwise distances of heads."""
    p = np.asarray(rows, np.float64)
    own = _entropy(p)
    found = np.zeros((len(p), len(p)))
    for i in range(len(p) - 1):
        apart = _entropy((p[i] + p[i + 1 :]) / 2) - (own[i] + own[i + 1 :]) / 2
        found[i, i + 1 :] = found[i + 1 :, i] = np.maximum(apart, 0).mean(-1) / np.log(2)
    return found


def scattered(
    rows: Float[np.ndarray, "head row key"], seen: Bool[np.ndarray, "row key"], rng: np.random.Generator
) -> np.ndarray:
    """Rows of every head with their keys permuted among those seen."""
    out = rows.copy()
    for r, keys in enumerate(seen):
        at = np.flatnonzero(keys)
        for head in range(len(out)):
            out[head, r, at] = rows[head, r, rng.permutation(at)]
    return out


def nearest(apart: Float[np.ndarray, "head head"]) -> np.ndarray:
    """Distance of each head to its nearest other [head]."""
    return np.where(np.eye(len(apart), dtype=bool), np.inf, apart).min(-1)


def stand_ins(apart: Float[np.ndarray, "head head"]) -> np.ndarray:
    """All heads [head] in the order in which they can be left out."""
    left = np.where(np.eye(len(apart), dtype=bool), np.inf, apart)
    there = np.ones(len(apart), bool)
    order = []
    for _ in range(len(apart) - 1):
        i, j = np.unravel_index(np.argmin(left), left.shape)
        rest = there.copy()
        rest[[i, j]] = False
        a, b = (float(apart[k, rest].mean()) if rest.any() else 0.0 for k in (i, j))
        gone = int(i if a < b else j)
        order.append(gone)
        there[gone] = False
        left[gone] = left[:, gone] = np.inf
    return np.array([*order, int(np.flatnonzero(there)[0])])


def groups(apart: Float[np.ndarray, "head head"], bound: float) -> np.ndarray:
    """Number of the group of each head [head], from 0 in order of appearance."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(apart) < 2:
        return np.zeros(len(apart), int)
    tree = linkage(apart[np.triu_indices(len(apart), 1)], "average")
    raw = fcluster(tree, bound, "distance")
    names = {g: i for i, g in enumerate(dict.fromkeys(raw.tolist()))}
    return np.array([names[g] for g in raw.tolist()])


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)
