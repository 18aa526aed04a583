"""The five kinds of attention map, made by rule, and what describes a map of any size.

    vertical           most weight on one or two keys, whatever the query
    diagonal           most weight on the key at one distance from the query (up to 2)
    vertical+diagonal  both
    block              spread over the query's own segment of the text (two to three segments)
    heterogeneous      each query its own few keys, by no rule

`synthetic` mixes the rule with noise: p = (1 - e) rule + e noise, where the noise of every row is drawn from a Dirichlet
distribution over the keys that are seen, and e is drawn for each map. Hidden keys get nothing.

`describe` turns maps into numbers that do not depend on its size: weight on the two best keys beyond their share, weight
at the best near distances beyond their share, weight inside the best two blocks, likeness of neighbouring rows, entropy.
Hidden keys do not count.

Cost: O(query key) a map. Reference: Kovaleva et al. 2019, "Revealing the Dark Secrets of BERT", sec. 4.1 (the five kinds;
there told apart by a network trained on 400 maps annotated by hand).
"""

import numpy as np

KINDS = ("vertical", "diagonal", "vertical+diagonal", "block", "heterogeneous")
FEATURES = (
    "best key", "second key", "best distance", "second distance", "near the diagonal", "best block", "likeness of rows", "entropy", "spread of entropy",
)  # fmt: skip
CUTS = 64  # most places of the cut between two blocks that are tried
NEAR = 3  # distances up to this count as near the diagonal


def synthetic(
    kind: str, size: int, causal: bool, rng: np.random.Generator, most_noise: float = 0.45
) -> np.ndarray:
    """A map [query, key] of one of `KINDS` by rule with noise; rows sum to 1, a causal map hides later keys.

    `size` is 4 or more; `most_noise` bounds the share of noise.
    """
    seen = visible(size, causal)
    rule = {
        "vertical": _vertical,
        "diagonal": _diagonal,
        "vertical+diagonal": _both,
        "block": _block,
        "heterogeneous": _irregular,
    }[kind](size, seen, rng)
    noise = _rows(rng.gamma(0.5, size=(size, size)) + 1e-9, seen)
    share = rng.uniform(0.05, most_noise)
    return (1 - share) * _rows(rule, seen) + share * noise


def visible(size: int, causal: bool) -> np.ndarray:
    """Which keys each query sees [query, key]."""
    return np.tril(np.ones((size, size), bool)) if causal else np.ones((size, size), bool)


def describe(patterns: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The numbers [map, feature] of `FEATURES` of maps [map, query, key] of one size, with the keys seen [query, key]."""
    p = np.asarray(patterns, np.float64)
    rows = np.flatnonzero(seen.sum(-1) > 1)  # a query that sees one key chooses nothing
    if not len(rows):
        return np.zeros((len(p), len(FEATURES)))
    p, seen = p[:, rows], seen[rows]
    excess = p - seen / seen.sum(-1, keepdims=True)
    away = np.arange(p.shape[-1])[None] - rows[:, None]
    columns = np.sort(excess.mean(1), axis=-1)[:, ::-1]
    near = np.stack([_at(excess, away == d) for d in range(-NEAR, NEAR + 1)], -1)
    near = np.sort(near, axis=-1)[:, ::-1]
    around = (excess * (np.abs(away) <= NEAR)).sum(-1).mean(-1)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1) / np.log(seen.sum(-1))
    shown = (
        columns[:, 0],
        columns[:, 1],
        near[:, 0],
        near[:, 1],
        around,
        _best_block(excess, rows),
        _alike(p, seen),
    )
    return np.stack([*shown, entropy.mean(-1), entropy.std(-1)], axis=-1)


def _at(excess: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Mean excess [map] over the rows that have such a key."""
    has = there.any(-1)
    return (excess * there).sum(-1)[:, has].mean(-1) if has.any() else np.zeros(len(excess))


def _best_block(excess: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Largest weight [map], beyond uniform, inside two blocks [0, t) and [t, n), over the place t of the cut."""
    n = excess.shape[-1]
    so_far = np.cumsum(excess, axis=-1)  # up to and with a key
    best = np.zeros(len(excess))
    for t in np.unique(np.linspace(2, n - 2, min(n - 3, CUTS)).astype(int)) if n > 3 else ():
        inside = np.where(rows < t, so_far[:, :, t - 1], so_far[:, :, -1] - so_far[:, :, t - 1])
        best = np.maximum(best, inside.mean(-1))
    return best


def _alike(p: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Mean cosine [map] of the rows of neighbouring queries, over the keys that both see."""
    if p.shape[1] < 2:
        return np.ones(len(p))
    both = seen[1:] & seen[:-1]
    a, b = p[:, 1:] * both, p[:, :-1] * both
    norm = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return ((a * b).sum(-1) / np.maximum(norm, 1e-12)).mean(-1)


def _rows(weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rows that sum to 1 over the keys seen; a row without weight becomes uniform."""
    w = weights * seen
    total = w.sum(-1, keepdims=True)
    return np.where(total > 0, w / np.where(total > 0, total, 1.0), seen / seen.sum(-1, keepdims=True))


def _vertical(n: int, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros((n, n))
    early = 0 if rng.random() < 0.5 else int(rng.integers(0, max(1, n // 2)))
    out[:, early] = 1.0
    if rng.random() < 0.5:
        out[:, int(rng.integers(0, n))] = rng.uniform(0.4, 1.0)
    return out


def _diagonal(n: int, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    causal = not seen[0, -1]
    out = np.eye(n, k=int(rng.integers(-2, 1 if causal else 3)))
    if rng.random() < 0.4:
        out += rng.uniform(0.2, 0.8) * np.eye(n, k=int(rng.integers(-2, 1 if causal else 3)))
    return out


def _both(n: int, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    share = rng.uniform(0.35, 0.65)
    return share * _rows(_vertical(n, seen, rng), seen) + (1 - share) * _rows(_diagonal(n, seen, rng), seen)


def _block(n: int, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cuts = np.sort(rng.choice(np.arange(2, n - 1), size=min(int(rng.integers(1, 3)), n - 3), replace=False))
    part = np.searchsorted(cuts, np.arange(n), side="right")
    same = part[:, None] == part[None]
    return same * rng.uniform(0.6, 1.4, size=(n, n))


def _irregular(n: int, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.gamma(rng.uniform(0.1, 0.6), size=(n, n)) + 1e-9
