"""What becomes of a second feature in one dimension, by calculation: the phases that toy models of superposition must show.

Two features are on independently with the share p, then uniform in [0, 1]; the second weighs r times as much in the loss. The model
x_hat = relu(w (w . x) + b) of one dimension can

    0  keep the first alone    the loss is r times the variance of a feature, r (p / 3 - p^2 / 4)
    1  keep the second alone   p / 3 - p^2 / 4
    2  keep both, opposed      w = (1, -1), b = 0: where both are on the smaller is lost from both, (1 + r) p^2 E[min^2] = (1 + r) p^2 / 6

and does what costs least. Cost: none. Shapes: [importance, density]. Reference: Elhage et al. 2022, "Toy Models of Superposition", the
phase change of two features in one dimension, of which this is the theory.
"""

import numpy as np


def toy_losses(importance: np.ndarray, density: np.ndarray) -> np.ndarray:
    """The losses of the three solutions [solution, importance, density]."""
    r, p = np.asarray(importance, float)[:, None], np.asarray(density, float)[None, :]
    variance = p / 3 - p**2 / 4
    return np.stack([r * variance, np.broadcast_to(variance, (len(r), p.shape[1])), (1 + r) * p**2 / 6])


def toy_phases(importance: np.ndarray, density: np.ndarray) -> np.ndarray:
    """The solution that costs least [importance, density]: 0 not kept, 1 alone, 2 shared."""
    return toy_losses(importance, density).argmin(0)


def clear(importance: np.ndarray, density: np.ndarray, by: float = 1.25) -> np.ndarray:
    """Where it costs less than the next by a factor [importance, density] bool: elsewhere both are nearly as good."""
    losses = np.sort(toy_losses(importance, density), axis=0)
    return losses[1] > by * losses[0]
