"""What sets a unit off most: the top t of a stream, each input once, in memory that does not grow with the stream.

1. from each batch, take the 2t strongest different inputs of every unit;
2. drop those that are held already (at most t of them, so that t stay);
3. keep the t strongest of what is held and what came; ties go to what came first.

Strength is the size of a value; what is exactly 0 is no trigger. Shapes: values [n, unit]; held [unit, t].
Cost: O(n * unit) numbers a batch, O(unit * t) held.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Triggers:
    """The strongest inputs of every unit so far: `value` [unit, t] (0 where there is none), `key` and `place` [unit, t]."""

    value: np.ndarray
    key: np.ndarray
    place: np.ndarray

    @classmethod
    def empty(cls, units: int, t: int) -> "Triggers":
        """Nothing seen yet."""
        none = np.full((units, t), -1, dtype=np.int64)
        return cls(np.zeros((units, t)), none, none.copy())

    @property
    def found(self) -> np.ndarray:
        """Which entries are triggers [unit, t]."""
        return self.place >= 0

    def add(self, values: np.ndarray, keys: np.ndarray, places: np.ndarray) -> None:
        """Values [n, unit] of inputs that are the same where their keys [n] are; `places` [n] (0 or more) say where they stood."""
        first = np.sort(np.unique(keys, return_index=True)[1])
        came = values[first].T
        order = np.argsort(-np.abs(came), axis=1, kind="stable")[:, : 2 * self.value.shape[1]]
        value = np.take_along_axis(came, order, 1)
        key, place = keys[first][order], places[first][order]
        held = (key[:, :, None] == np.where(self.found, self.key, -1)[:, None, :]).any(2)
        value = np.where(held & (key != -1), 0.0, value)
        self._keep(value, key, np.where(value != 0, place, -1))

    def join(self, other: "Triggers") -> None:
        """The strongest of two streams: those of `other` too, but for inputs that are held already."""
        mine = np.where(self.found, self.key, -1)
        held = other.found & (other.key[:, :, None] == mine[:, None, :]).any(2)
        value = np.where(held, 0.0, other.value)
        self._keep(value, other.key, np.where(value != 0, other.place, -1))

    def _keep(self, value: np.ndarray, key: np.ndarray, place: np.ndarray) -> None:
        """The t strongest of what is held and what came."""
        t = self.value.shape[1]
        joined = [np.concatenate(p, 1) for p in ((self.value, value), (self.key, key), (self.place, place))]
        order = np.argsort(-np.abs(joined[0]), axis=1, kind="stable")[:, :t]
        self.value, self.key, self.place = (np.take_along_axis(x, order, 1) for x in joined)


def most_shared(items: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The share [unit] of a unit's items [unit, t] that are its most common one, among the `found`; NaN below two."""
    same = (items[:, :, None] == items[:, None, :]) & found[:, :, None] & found[:, None, :]
    n = found.sum(1)
    return np.where(n > 1, same.sum(2).max(1, initial=0) / np.maximum(n, 1), np.nan)


def agreement(tops: np.ndarray, wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The share [unit] of triggers at which a unit's token `tops` [unit, t] is the one `wanted` [unit, t]; NaN without any."""
    n = found.sum(1)
    return np.where(n > 0, ((tops == wanted) & found).sum(1) / np.maximum(n, 1), np.nan)


def others_agree(
    up: np.ndarray, down: np.ndarray, positive: np.ndarray, wanted: np.ndarray, found: np.ndarray
) -> np.ndarray:
    """The expected share [unit] for the value of another unit of the layer in the place of a unit's own: the exact mean over all
    others. `up` and `down` [unit] are the top tokens of values and of their negatives, `positive` [unit, t] the sign.
    """
    units = len(up)
    if units < 2:
        return np.full(units, np.nan)
    hits = np.where(positive, _count(up, wanted), _count(down, wanted)).astype(np.float64)
    own = np.where(positive, up[:, None], down[:, None]) == wanted
    others = (hits - own) / (units - 1)
    n = found.sum(1)
    return np.where(n > 0, (others * found).sum(1) / np.maximum(n, 1), np.nan)


def _count(tops: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How many units have each wanted token on top, in the shape of `wanted`."""
    tokens, counts = np.unique(tops, return_counts=True)
    at = np.searchsorted(tokens, wanted).clip(max=len(tokens) - 1)
    return np.where(tokens[at] == wanted, counts[at], 0)
