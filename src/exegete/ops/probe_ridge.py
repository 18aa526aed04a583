"""Ridge probe: numbers read off frozen vectors by regularised least squares, the penalty chosen on development rows.

1. on principal axes (`ops.probe.axes`) the answer has a closed form, one division an axis, so that all penalties together cost
   one product;
2. targets are standardised by the training rows; of several targets (latitude and longitude) the errors are summed;
3. R2 is 1 - squared error / squared error of the training mean: what guesses the mean scores exactly 0 (the usual R2 measures
   against the mean of the rows judged, which nobody knows beforehand, and is never higher).

`great_circle` turns two places into the distance between them.
Cost: one product [axis, row] x [row, target]. Shapes: z [row, axis], t [row, target].
Reference: Gurnee & Tegmark 2023, "Language Models Represent Space and Time".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_EARTH = 6371.0  # km


@dataclass(frozen=True)
class Ridge:
    """A fitted probe: `weight` [axis, target] and the targets' `mean` and `scale` [target] in training; penalty and development error."""

    weight: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    penalty: float
    loss: float

    def predict(self, z: np.ndarray) -> np.ndarray:
        """Targets [row, target] of rows on the axes."""
        return (z @ self.weight) * self.scale + self.mean

    def errors(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Squared error [row], in training variances, summed over targets."""
        return (((self.predict(z) - t) / self.scale) ** 2).sum(1)

    def bars(self, t: np.ndarray) -> np.ndarray:
        """The same of a guess of the training mean [row]."""
        return (((self.mean - t) / self.scale) ** 2).sum(1)


def fit_ridge(
    z: np.ndarray,
    t: np.ndarray,
    spread: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    penalties: Sequence[float] = RIDGES,
) -> Ridge:
    """The probe of rows `z` [row, axis] with targets `t` [row, target], its penalty (a row) chosen on `held` (z, t)."""
    mean, scale = t.mean(0), t.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    shared = z.T.astype(np.float64) @ ((t - mean) / scale) / len(z)
    fits = [Ridge(shared / (spread[:, None] + p), mean, scale, p, np.inf) for p in penalties]
    losses = [float(f.errors(*held).mean()) if len(held[1]) else -f.penalty for f in fits]
    best = int(np.argmin(losses))
    return Ridge(fits[best].weight, mean, scale, fits[best].penalty, losses[best])


def great_circle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kilometres [row] between places (latitude, longitude) in degrees [row, 2]; latitudes are cut at the poles."""
    a, b = (np.radians(np.asarray(x, dtype=np.float64)) for x in (a, b))
    north_a, north_b = (np.clip(x[:, 0], -np.pi / 2, np.pi / 2) for x in (a, b))
    across = (
        np.sin((north_b - north_a) / 2) ** 2
        + np.cos(north_a) * np.cos(north_b) * np.sin((b[:, 1] - a[:, 1]) / 2) ** 2
    )
    return 2 * _EARTH * np.arcsin(np.sqrt(np.clip(across, 0, 1)))
