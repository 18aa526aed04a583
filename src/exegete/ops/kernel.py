"""Kernel SHAP: Shapley values as the solution of a weighted regression, from a sample of subsets.

The Shapley values are the b that minimise sum_S w(|S|) (v(S) - v(0) - sum_{i in S} b_i)^2 subject to
sum b = v(N) - v(0), with w(s) = 1 / (C(n, s) s (n - s)) (Lundberg & Lee 2017, theorem 2).

1. the constraint is met exactly by elimination: b = D/n + g with D = v(N) - v(0) and sum g = 0, so that rows are
   z = 1_S - |S|/n and targets t = v(S) - v(0) - |S| D/n;
2. subsets are sampled:
   kernel     independent draws, size s with probability proportional to 1 / (s (n - s)) (plain kernel SHAP)
   paired     the same, every subset with its complement (Covert & Lee 2021)
   leverage   sizes equally likely, which is proportional to the leverage scores of the regression, without replacement,
              with complements; a size whose subsets run out is taken whole (Musco & Witter 2024, algorithm 1);
3. complements have opposite rows, so a pair counts as one row with half the difference of its targets;
4. standard errors: jackknife influences (see `ops.linear`), by stratum, with finite-population correction.

When all 2^n subsets fit into the budget the values are exact. A player known to be inactive for an output (a token
not yet read) is kept out of that output's regression and scores exactly 0.
Cost: n_samples evaluations, O(n_samples n^2). Shapes: keep [V, n] -> values [V, C].
"""

from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np

from exegete.ops.linear import influence
from exegete.ops.perturb import Game, distinct
from exegete.ops.shapley import Estimate, exhaustive

Sampling = Literal["kernel", "paired", "leverage"]


@dataclass(frozen=True)
class Design:
    """Sampled subsets [k, n], a weight [k] each, the stratum [k] it was drawn from, and the share [k] of it that was drawn."""

    keep: np.ndarray
    weight: np.ndarray
    stratum: np.ndarray
    share: np.ndarray
    paired: bool


def kernel(
    game: Game,
    n: int,
    n_samples: int,
    rng: np.random.Generator,
    sampling: Sampling = "leverage",
    active: np.ndarray | None = None,
    pool: np.ndarray | None = None,
) -> Estimate:
    """Estimate from at most `n_samples` distinct inputs, the empty and the whole one included.

    `active` [C, n] False: this player is known to change nothing in this output. `pool` [m, n]: report sums of players
    instead ([m, C]), with the standard errors of the sums.
    """
    pool = np.eye(n) if pool is None else np.asarray(pool, dtype=np.float64)
    if n < 62 and 2**n <= n_samples:
        whole = exhaustive(game, n)
        shown = whole.values if active is None else np.where(active.T, whole.values, 0.0)
        return Estimate(pool @ shown, np.zeros((len(pool), shown.shape[1])), whole.nobody, whole.everybody)
    design = draw(n, n_samples, rng, sampling)
    inside = [np.zeros((1, n), dtype=bool), np.ones((1, n), dtype=bool), design.keep]
    values = game(np.concatenate([*inside, ~design.keep] if design.paired else inside))
    nobody, everybody, k = values[0], values[1], len(design.keep)
    mine = values[2 : 2 + k] - nobody
    theirs = values[2 + k :] - nobody if design.paired else None
    active = np.ones((values.shape[1], n), dtype=bool) if active is None else np.asarray(active, dtype=bool)
    phi, error = np.zeros((2, len(pool), values.shape[1]))
    for pattern in np.unique(active, axis=0):
        columns = (active == pattern).all(1)
        some = None if theirs is None else theirs[:, columns]
        phi[:, columns], error[:, columns] = _solve(
            design, pattern, mine[:, columns], some, (everybody - nobody)[columns], pool
        )
    return Estimate(phi, error, nobody, everybody)


def _solve(design, active, mine, theirs, change, pool):  # type: ignore[no-untyped-def]
    """Values and standard errors [m, C] of the pooled players, for outputs that share the same active players."""
    m = int(active.sum())
    if m == 0:
        return np.zeros((2, len(pool), mine.shape[1]))
    keep = design.keep[:, active]
    part = keep.mean(1, keepdims=True)
    z = keep - part
    t = mine - part * change
    if theirs is not None:
        t = (t - (theirs - (1 - part) * change)) / 2
    w = design.weight
    inverse = np.linalg.pinv(z.T @ (w[:, None] * z), hermitian=True, rcond=1e-10)
    g = inverse @ (z.T @ (w[:, None] * t))
    h = w * np.einsum("kp,pq,kq->k", z, inverse, z)
    psi = influence(z @ inverse @ pool[:, active].T, t - z @ g, w, h)
    enough = len(z) > m
    error = np.sqrt(_variance(psi, design)) if enough else np.full((len(pool), t.shape[1]), np.nan)
    return pool[:, active] @ (change / m + g), error


def _variance(psi: np.ndarray, design: Design) -> np.ndarray:
    """Sum of squared influences [m, C], each stratum about its own mean and shrunk by the share of it that was seen."""
    out = np.zeros(psi.shape[1:])
    for s in np.unique(design.stratum):
        here = design.stratum == s
        k, share = int(here.sum()), float(design.share[here][0])
        rows = psi[here] - psi[here].mean(0) if k > 1 else psi[here]
        out += (1 - share) * k / max(k - 1, 1) * (rows**2).sum(0)
    return out


# ---- sampling --------------------------------------------------------------------------------------------------------


def draw(n: int, n_samples: int, rng: np.random.Generator, sampling: Sampling) -> Design:
    """Subsets of n players for a budget of `n_samples` inputs (two of them the empty and the whole one)."""
    budget = max(n_samples - 2, 1)
    if sampling == "leverage":
        return _leverage(n, max(budget // 2, 1), rng)
    k = max(budget // 2, 1) if sampling == "paired" else budget
    sizes = np.arange(1, n)
    p = 1 / (sizes * (n - sizes))
    size = rng.choice(sizes, size=k, p=p / p.sum())
    keep = rng.random((k, n)).argsort(1).argsort(1) < size[:, None]
    none = np.zeros(k)
    return Design(keep, np.ones(k), none.astype(int), none, sampling == "paired")


def _leverage(n: int, pairs: int, rng: np.random.Generator) -> Design:
    """Pairs of complements, every size as often as any other until its subsets run out."""
    sizes = np.arange(1, n // 2 + 1)
    halved = 2 * sizes == n  # of subsets of half the players, those with player 0 stand for their complements
    whole = [comb(n, int(s)) // (2 if h else 1) for s, h in zip(sizes, halved)]
    wanted = allocate(np.where(halved, 0.5, 1.0), np.array([float(min(c, 2**62)) for c in whole]), pairs)
    taken = _round(wanted, rng)
    keep, weight, stratum, share = [], [], [], []
    for s, h, c, expected, k in zip(sizes, halved, whole, wanted, taken):
        if k:
            keep.append(_stratum(rng, n, int(s), int(k), bool(h)))
            per = float(c) / (k if expected >= 1 else expected)
            weight.append(np.full(k, per / (comb(n, int(s)) * float(s * (n - s)))))
            stratum.append(np.full(k, s))
            share.append(np.full(k, k / c if expected >= 1 else 0.0))
    rows = [np.concatenate(part) for part in (keep, weight, stratum, share)]
    return Design(rows[0], rows[1], rows[2], rows[3], True)


def _stratum(rng: np.random.Generator, n: int, size: int, k: int, halved: bool) -> np.ndarray:
    if not halved:
        return distinct(rng, n, size, k)
    return np.column_stack([np.ones(k, dtype=bool), distinct(rng, n - 1, size - 1, k)])


def allocate(rate: np.ndarray, most: np.ndarray, total: float) -> np.ndarray:
    """Amounts proportional to `rate`, none above `most`, that add up to min(total, sum of most)."""
    out, open_ = np.zeros(len(rate)), np.ones(len(rate), dtype=bool)
    left = min(float(total), float(most.sum()))
    while open_.any():
        out[open_] = rate[open_] * left / rate[open_].sum()
        full = open_ & (out >= most)
        if not full.any():
            break
        out[full] = most[full]
        left -= float(most[full].sum())
        open_ &= ~full
    return out


def _round(amounts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers next to `amounts`, right on average, with the same sum up to one (systematic rounding)."""
    edges = np.floor(
        np.concatenate([[0.0], np.cumsum(amounts)]) + rng.random() * (amounts % 1 > 0).any() + 1e-9
    )
    return np.diff(edges).astype(int)
