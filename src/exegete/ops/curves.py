"""What is left when units go (or come) in an order: masks of leading units, deletion and insertion curves, their area.

1. `leading` marks the first k units of each order;
2. a deletion curve asks the set function for everything but them, an insertion curve for them alone;
3. `area` is the trapezoid rule over the share of units, so that texts of any length compare.

Shapes: K orders, P sizes, U units; the set function takes keep masks [..., U] to values [...].
Reference: Petsiuk, Das & Saenko 2018, RISE, algorithm 1; Samek et al. 2017, eq. 12 (area over the perturbation curve).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

SetFunction = Callable[[np.ndarray], np.ndarray]


def leading(order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Membership [K, P, U] bool in the first `sizes` [P] units of each order [K, U]."""
    place = np.argsort(order, axis=-1)  # where each unit stands in its order
    return place[:, None, :] < np.asarray(sizes)[None, :, None]


def bin_sizes(n_units: int, bins: Sequence[float]) -> np.ndarray:
    """Number of units [len(bins)] that shares stand for: rounded up, at least one; rounding error does not add a unit."""
    return np.array([min(n_units, max(1, math.ceil(n_units * b - 1e-9))) for b in bins], dtype=int)


def step_sizes(n_units: int, n_steps: int) -> np.ndarray:
    """At most `n_steps` + 1 sizes from 0 to `n_units`, evenly spread; every size when there are no more units."""
    return np.unique(np.round(np.linspace(0, n_units, min(n_units, n_steps) + 1)).astype(int))


def deletion_curve(v: SetFunction, order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Values [K, P] with the first `sizes` [P] units of each order [K, U] removed."""
    return v(~leading(order, sizes))


def insertion_curve(v: SetFunction, order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Values [K, P] with only the first `sizes` [P] units of each order [K, U] left."""
    return v(leading(order, sizes))


def area(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Area [...] under curves [..., P] over the share of units, by the trapezoid rule."""
    share = np.asarray(sizes, dtype=np.float64) / sizes[-1]
    return np.asarray(((values[..., 1:] + values[..., :-1]) / 2 * np.diff(share)).sum(-1))
