"""Orders of dimensions by what they say of a label, from activations or from the weights of a probe.

probeless   sum over pairs of classes of |mean of one - mean of the other|: no probe is trained
by_mass     from weights [dim, class]: a dimension comes in where the heaviest weights of some class that hold a growing
            share of that class's |weight| first reach it; what counts is the share held before it
contrast    |mean in a class - mean outside|, in standard deviations [dim, class]

Cost: linear. Shapes: x [row, dim], y [row] integers from 0.
Reference: Antverg & Belinkov 2022, "On the Pitfalls of Analyzing Individual Neurons", section 3 (probeless);
Dalvi et al. 2019, "What Is One Grain of Sand in the Desert?", section 3 (weights).
"""

import numpy as np


def class_means(x: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Means [class, dim]."""
    hot = np.eye(n_classes)[y]
    return (hot.T @ x) / np.maximum(hot.sum(0), 1)[:, None]


def probeless(x: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Score of every dimension [dim]."""
    ordered = np.sort(class_means(x, y, n_classes), axis=0)
    # in order, the i-th mean is added i times and taken away C - 1 - i times
    return (2.0 * np.arange(n_classes) - n_classes + 1) @ ordered


def by_mass(weight: np.ndarray) -> np.ndarray:
    """For every dimension the least share of a class's |weight| that heavier weights hold [dim]; 0 is the heaviest.

    A dimension without any weight gets 1.
    """
    size = np.abs(weight)
    order = np.argsort(-size, axis=0, kind="stable")
    sorted_ = np.take_along_axis(size, order, 0)
    total = np.maximum(sorted_.sum(0), 1e-300)
    before = (np.cumsum(sorted_, axis=0) - sorted_) / total
    found = np.ones_like(size)
    np.put_along_axis(found, order, before, 0)
    found[size == 0] = 1.0
    return found.min(1)


def heaviest(weight: np.ndarray, mass: float) -> list[np.ndarray]:
    """For every class the dimensions whose |weight|, the heaviest first, hold the share `mass` of its sum; one at least."""
    chosen = []
    for column in np.abs(weight).T:
        order = np.argsort(-column, kind="stable")
        held = np.cumsum(column[order]) / max(column.sum(), 1e-300)
        n = int(np.searchsorted(held, mass * (1 - 1e-12))) + 1
        chosen.append(order[: min(n, max(1, int((column > 0).sum())))])
    return chosen


def contrast(x: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """|mean in the class - mean outside| over the standard deviation [dim, class]."""
    count = np.bincount(y, minlength=n_classes).astype(np.float64)
    inside = class_means(x, y, n_classes)
    total = x.sum(0)
    outside = (total - inside * count[:, None]) / np.maximum(len(x) - count, 1)[:, None]
    spread = np.maximum(x.std(0), 1e-12)
    return (np.abs(inside - outside) / spread).T
