"""Integrals along paths: fixed rules, a rule that refines itself, and paths over words that never turn back.

`refine` integrates a slope whose integral is known (f at the end minus f at the start), so every piece of a path says
how wrong it still is, and nothing is evaluated twice:

1. cut [0, 1] into a few pieces of five equally spaced points and integrate each by Boole's rule (exact to degree 5);
2. the gap of a piece is |its integral - (f at its end - f at its start)|; done when the gaps sum to at most what is allowed;
3. else halve the pieces with the largest gaps (all but those that together make up half of what is allowed); a half
   keeps three of its five points, so a halving costs four new ones. Again from 2, up to a limit of points.

Four pieces are 17 points, mostly enough where the path is smooth; halving walks down to where it is steep.

`word_path` is the path of discretised integrated gradients: from a word over neighbouring words to a baseline, each stop
bent so that no coordinate turns back.

Cost: as many evaluations as points. References: Davis & Rabinowitz, Methods of Numerical Integration, ch. 6 (automatic
integration); Sanyal & Ren 2021, arXiv:2108.13654, sec. 3 (monotone paths, Greedy and MaxCount).
Shapes: N points, L lines, K pieces, d coordinates, J candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Rule = Literal["gauss_legendre", "riemann_trapezoid"]
RULES: tuple[str, ...] = get_args(Rule)
FLOOR = 0.01  # a change of f below this share of |f| is judged against that share
_BOOLE = np.array([7.0, 32.0, 12.0, 32.0, 7.0]) / 90.0
_SHORTEST = 2.0**-16  # a piece this short that still has a gap holds a jump


@dataclass(frozen=True)
class Sample:
    """What is known at N points: f [N], its slope along the path [N], and what the slope is made of, `parts` [N, ...]."""

    f: np.ndarray
    slope: np.ndarray
    parts: np.ndarray


Evaluate = Callable[[np.ndarray, np.ndarray], Sample]
"""(line [N] int, position on it [N] in 0..1) -> Sample."""


@dataclass(frozen=True)
class Integral:
    """Integrals `parts` [L, ...] over L lines, their `gap` [L] to the known `end` - `start` [L], and points used."""

    parts: np.ndarray
    gap: np.ndarray
    start: np.ndarray
    end: np.ndarray
    points: int


def nodes(rule: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions in [0, 1], rising, and weights (which sum to 1) of a rule with n points. ValueError if there is none."""
    if rule == "gauss_legendre" and n >= 1:
        x, w = np.polynomial.legendre.leggauss(n)
        return (x + 1) / 2, w / 2
    if rule == "riemann_trapezoid" and n >= 2:
        w = np.full(n, 1.0 / (n - 1))
        w[[0, -1]] /= 2
        return np.linspace(0.0, 1.0, n), w
    raise ValueError(f"no rule {rule!r} with {n} points")


def fixed(
    evaluate: Evaluate, ends: Callable[[], tuple[np.ndarray, np.ndarray]], rule: str, n: int, lines: int = 1
) -> Integral:
    """Integrals over `lines` lines by a rule with n points each; `ends()` gives f at their starts and ends, [L] both."""
    t, w = nodes(rule, n)
    got = evaluate(np.repeat(np.arange(lines), n), np.tile(t, lines))
    parts = np.einsum("n,ln...->l...", w, got.parts.reshape(lines, n, *got.parts.shape[1:]))
    start, end = ends()
    gap = np.abs(got.slope.reshape(lines, n) @ w - (end - start))
    return Integral(parts, gap, start, end, lines * n)


def scale(start: np.ndarray, end: np.ndarray) -> float:
    """What a gap is judged against: the largest change of f over the lines, at least `FLOOR` of the largest |f|."""
    return float(
        max(np.abs(end - start).max(), FLOOR * np.abs(end).max(), FLOOR * np.abs(start).max(), 1e-30)
    )


def refine(evaluate: Evaluate, tolerance: float, most: int, lines: int = 1, first: int = 4) -> Integral:
    """Integrals over `lines` lines, refined until each gap is under `tolerance` times `scale`, or `most` points a line.

    Each line is cut into `first` pieces to begin with (4 first + 1 points).
    `gap` is the sum over the pieces of a line: never below the gap of the whole.
    """
    width = 4 * first + 1
    pool = evaluate(np.repeat(np.arange(lines), width), np.tile(np.linspace(0.0, 1.0, width), lines))
    pieces = _Pieces.first(lines, first)
    at = np.arange(lines) * width
    start, end = pool.f[at], pool.f[at + width - 1]
    allowed = tolerance * scale(start, end)
    used = np.full(lines, width)
    while True:
        gaps = pieces.gaps(pool)
        chosen = _worst(gaps, pieces, allowed, most - used)
        if not len(chosen):
            break
        where, t = pieces.new_points(chosen)
        fresh = evaluate(where, t)
        pieces = pieces.halved(chosen, len(pool.f))
        pool = Sample(
            *(np.concatenate([getattr(pool, k), getattr(fresh, k)]) for k in ("f", "slope", "parts"))
        )
        np.add.at(used, where, 1)
    total = np.zeros((lines, *pool.parts.shape[1:]))
    np.add.at(total, pieces.line, pieces.integrals(pool.parts))
    gap = np.zeros(lines)
    np.add.at(gap, pieces.line, gaps)
    return Integral(total, gap, start, end, int(used.sum()))


@dataclass(frozen=True)
class _Pieces:
    """K pieces: the line, left end and length of each [K], and where its five points lie in the pool [K, 5]."""

    line: np.ndarray
    left: np.ndarray
    length: np.ndarray
    points: np.ndarray

    @classmethod
    def first(cls, lines: int, n: int) -> "_Pieces":
        k = np.tile(np.arange(n), lines)
        line = np.repeat(np.arange(lines), n)
        points = (line * (4 * n + 1) + 4 * k)[:, None] + np.arange(5)
        return cls(line, k / n, np.full(len(k), 1.0 / n), points)

    def integrals(self, values: np.ndarray) -> np.ndarray:
        """[K, ...] from pool values [N, ...]."""
        return np.einsum("k,j,kj...->k...", self.length, _BOOLE, values[self.points])

    def gaps(self, pool: Sample) -> np.ndarray:
        """[K]: how far the integral of each piece is from the change of f over it."""
        return np.abs(self.integrals(pool.slope) - (pool.f[self.points[:, 4]] - pool.f[self.points[:, 0]]))

    def new_points(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lines and positions of the four points that halving each chosen piece adds, piece by piece."""
        at = self.left[chosen, None] + self.length[chosen, None] * np.array([1, 3, 5, 7]) / 8
        return np.repeat(self.line[chosen], 4), at.ravel()

    def halved(self, chosen: np.ndarray, n: int) -> "_Pieces":
        """The pieces with the chosen ones in halves; their new points were appended to a pool of n."""
        rest = np.setdiff1d(np.arange(len(self.line)), chosen)
        old, half = self.points[chosen], self.length[chosen] / 2
        new = n + 4 * np.arange(len(chosen))[:, None] + np.arange(4)
        left = np.stack([old[:, 0], new[:, 0], old[:, 1], new[:, 1], old[:, 2]], 1)
        right = np.stack([old[:, 2], new[:, 2], old[:, 3], new[:, 3], old[:, 4]], 1)
        line = self.line[chosen]
        return _Pieces(
            np.concatenate([self.line[rest], line, line]),
            np.concatenate([self.left[rest], self.left[chosen], self.left[chosen] + half]),
            np.concatenate([self.length[rest], half, half]),
            np.concatenate([self.points[rest], left, right]),
        )


def _worst(gaps: np.ndarray, pieces: _Pieces, allowed: float, room: np.ndarray) -> np.ndarray:
    """Indices of the pieces to halve: on each unfinished line the largest, as many as there is room for."""
    chosen: list[int] = []
    for line in np.unique(pieces.line):
        mine = np.flatnonzero(pieces.line == line)
        if not gaps[mine].sum() > allowed:
            continue
        order = mine[np.argsort(gaps[mine], kind="stable")]
        few = order[np.cumsum(gaps[order]) > allowed / 2][::-1]
        few = few[pieces.length[few] > _SHORTEST]
        chosen.extend(few[: max(0, int(room[line]) // 4)])
    return np.array(chosen, dtype=np.int64)


def crossing(f: Callable[[np.ndarray], np.ndarray], share: float, n: int = 32, rounds: int = 3) -> float:
    """The first t in [0, 1] at which f(t) - f(0) reaches `share` of f(1) - f(0), on a grid of n that is refined `rounds` times.

    1.0 when f ends where it starts. Precision: n ** -rounds, for crossings that a grid of n sees.
    """
    low, high = 0.0, 1.0
    values = f(np.linspace(0.0, 1.0, n + 1))
    first, change = values[0], values[-1] - values[0]
    if change == 0:
        return 1.0
    for k in range(rounds):
        t = np.linspace(low, high, n + 1)
        values = values if k == 0 else f(t)
        reached = np.flatnonzero((values - first) / change >= share)
        at = int(reached[0]) if len(reached) else n
        low, high = float(t[max(at - 1, 0)]), float(t[at])
    return high


def monotone(
    current: np.ndarray, anchor: np.ndarray, goal: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Anchors [..., d] bent so that every coordinate lies between `current` and `goal`, and which were so already (bool).

    A coordinate that would turn back, or overshoot, goes 1/steps of the way to the goal instead (the paper's eq. for the
    monotone anchor).
    """
    between = (np.minimum(current, goal) <= anchor) & (anchor <= np.maximum(current, goal))
    return np.where(between, anchor, current + (goal - current) / steps), between


def word_path(
    start: int,
    goal: np.ndarray,
    table: np.ndarray,
    near: Callable[[int], np.ndarray],
    steps: int,
    strategy: str = "greedy",
) -> tuple[np.ndarray, list[int]]:
    """Stops [steps + 2, d] from `table[start]` to `goal`, monotone in every coordinate, and the words they stand for.

    `near(word)` lists neighbours [J]. Each stop is the neighbour of the last word, not yet used, that is `greedy`: closest
    to its own monotone copy; `maxcount`: already monotone in the most coordinates. Without a free neighbour a stop is
    the plain step to the goal.
    """
    stops, words, at = [table[start]], [int(start)], int(start)
    for _ in range(steps):
        free = np.setdiff1d(near(at), words)
        current = stops[-1]
        if not len(free):
            stops.append(current + (goal - current) / steps)
            continue
        bent, fits = monotone(current, table[free], goal, steps)
        cost = -fits.sum(1) if strategy == "maxcount" else np.linalg.norm(bent - table[free], axis=1)
        best = int(np.argmin(cost))
        at = int(free[best])
        stops.append(bent[best])
        words.append(at)
    return np.stack([*stops, goal]), words


def shares(lengths: np.ndarray, n: int) -> np.ndarray:
    """How many of about n points each piece of a path gets: in proportion to its length, at least one each."""
    part = np.asarray(lengths, dtype=np.float64)
    whole = part.sum()
    return (
        np.maximum(1, np.rint(n * part / whole)).astype(np.int64)
        if whole > 0
        else np.ones(len(part), np.int64)
    )
