"""Owen values over a hierarchy: Shapley values in which groups of players join together (partition SHAP).

The players stand in a row and are split in two again and again. Only orders in which every group stays together count:
the value of a group in a context is shared between its halves L and R as

    L gets  1/2 [v(c + L) - v(c)] + 1/2 [v(c + L + R) - v(c + R)]

and each of the two terms is shared on inside L, in its own context. The scores add up to v(N) - v(0) at every depth.
When the budget ends, the groups that move the output most have been split first; the others share equally.

Where to split: at the strongest boundary (`strength` of each gap between neighbours), nearest to the middle.
Cost: two evaluations a split, about 4/3 n^2 for a balanced tree to the end.
Reference: Owen 1977; Winter 1989 (levels structure); Lundberg & Lee's partition explainer splits in the same order.
"""

from dataclasses import dataclass

import numpy as np

from exegete.ops.perturb import Game
from exegete.ops.shapley import Estimate


@dataclass(frozen=True)
class Part:
    """Players start..stop joining the context `keep` [n], with probability `weight`; values [C] without and with them."""

    start: int
    stop: int
    keep: np.ndarray
    weight: float
    without: np.ndarray
    joined: np.ndarray

    @property
    def push(self) -> np.ndarray:
        """What the group adds in this context, times its weight [C]."""
        return self.weight * (self.joined - self.without)


def owen(
    game: Game, n: int, strength: np.ndarray, n_samples: int, active: np.ndarray | None = None
) -> tuple[Estimate, int]:
    """Owen values [n, C] from at most `n_samples` inputs, and how many groups were left unsplit.

    `strength` [n - 1] says how strong the boundary between neighbours is; `active` [C, n] False marks players that
    are known to change nothing in an output. Standard errors are 0 (nothing is random).
    """
    nobody, everybody = game(np.array([[False] * n, [True] * n]))
    active = np.ones((len(nobody), n), dtype=bool) if active is None else active
    phi = np.zeros((n, len(nobody)))
    front, left = [Part(0, n, np.zeros(n, dtype=bool), 1.0, nobody, everybody)], n_samples - 2
    while True:
        for p in front:
            if p.stop - p.start == 1:
                phi[p.start] += p.push
        front = sorted((p for p in front if p.stop - p.start > 1), key=lambda p: -abs(float(p.push[-1])))
        able = front[: max(left, 0) // 2]
        if not able:
            break
        front = front[len(able) :] + _split(game, able, strength)
        left -= 2 * len(able)
    for p in front:
        here = active[:, p.start : p.stop].T
        phi[p.start : p.stop] += here * p.push / np.maximum(here.sum(0), 1)
    phi = np.where(active.T, phi, 0.0)
    return Estimate(phi, np.zeros_like(phi), nobody, everybody), len(front)


def _split(game: Game, parts: list[Part], strength: np.ndarray) -> list[Part]:
    """The four shares of each part: its halves, each in the context without and with the other."""
    cuts = [cut(strength, p.start, p.stop) for p in parts]
    left = [_with(p.keep, p.start, c) for p, c in zip(parts, cuts)]
    right = [_with(p.keep, c, p.stop) for p, c in zip(parts, cuts)]
    values = game(np.array(left + right))
    out = []
    for p, c, with_l, with_r, vl, vr in zip(parts, cuts, left, right, values, values[len(parts) :]):
        half = p.weight / 2
        out += [
            Part(p.start, c, p.keep, half, p.without, vl),
            Part(p.start, c, with_r, half, vr, p.joined),
            Part(c, p.stop, p.keep, half, p.without, vr),
            Part(c, p.stop, with_l, half, vl, p.joined),
        ]
    return out


def cut(strength: np.ndarray, start: int, stop: int) -> int:
    """Where players start..stop are split: at the strongest gap, of equal ones the one nearest to the middle."""
    gaps = np.arange(start, stop - 1)
    best = gaps[strength[gaps] == strength[gaps].max()]
    return int(best[np.argmin(np.abs(best + 1 - (start + stop) / 2))]) + 1


def _with(keep: np.ndarray, start: int, stop: int) -> np.ndarray:
    out = keep.copy()
    out[start:stop] = True
    return out
