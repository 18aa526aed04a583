"""Effective attention: what is left of attention when the part that no value carries is taken away.

For a head with weights A [query, key] and T [key, d], what each key hands on, the output A T does not change when a row of the
left null space of T is added to a row of A. With T = U S V' (singular values above rounding),
    effective A = A U U'        the row of least norm with the same output
    free        = keys - rank   dimensions in which a row of A cannot be told from the output
A query of a causal model is free on the keys that it sees, so U is that of the rows of T it sees. Attention is identifiable
for a query where free is 0; more visible keys than the head is wide always leave some.

Cost: a singular value decomposition a head and set of visible keys.
Reference: Brunner et al. 2020, "On Identifiability in Transformers", sec. 3 (arXiv:1908.04211).
"""

import numpy as np
from jaxtyping import Bool, Float

RANK = 1e-6  # singular values under this share of the largest are rounding


def effective(
    pattern: Float[np.ndarray, "head query key"],
    carried: Float[np.ndarray, "head key d"],
    visible: Bool[np.ndarray, "head query key"],
) -> tuple[Float[np.ndarray, "head query key"], Float[np.ndarray, "head query"]]:
    """Effective attention and free dimensions of every row."""
    out, free = np.zeros(pattern.shape), np.zeros(pattern.shape[:2])
    for h, (a, t, sees) in enumerate(zip(pattern, carried, visible)):
        sets, which = np.unique(sees, axis=0, return_inverse=True)
        for i, keys in enumerate(sets):
            rows, columns = np.flatnonzero(which.ravel() == i), np.flatnonzero(keys)
            if len(columns):
                basis = column_space(t[columns])
                out[h][np.ix_(rows, columns)] = a[np.ix_(rows, columns)] @ basis @ basis.T
                free[h, rows] = len(columns) - basis.shape[1]
    return out, free


def column_space(t: np.ndarray) -> np.ndarray:
    """Orthonormal basis [key, rank] of the column space of T [key, d]."""
    u, s, _ = np.linalg.svd(np.asarray(t, dtype=np.float64), full_matrices=False)
    return u[:, s > RANK * s.max(initial=0.0)]


def narrow(weight: Float[np.ndarray, "dh d"]) -> Float[np.ndarray, "dh r"]:
    """A matrix L with L L' = W W', no wider than W is high: V L and V W have the same column space and the same lengths."""
    u, s, _ = np.linalg.svd(np.asarray(weight, dtype=np.float64), full_matrices=False)
    return u * s
