"""Means over things that stand in groups of groups, named by paths ("syntax/island_effects/wh_island").

1. a leaf is a full path: its mean is over its items;
2. every shorter path is a group: its mean is the plain mean over the leaves below it, however many items each has (so do
   the published tables of minimal pairs); the empty path is the whole;
3. intervals: items are drawn again within each leaf, the same draws serve every group, and the 95 % quantiles are read off.

Cost: O(items x resamples) numbers. Shapes: values [item]; a row of the answer is a path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.seed import generator

_AT_ONCE = 1 << 22  # numbers drawn at once


@dataclass(frozen=True)
class Nested:
    """Rows in the order of a table of contents: `paths`, each followed by what it holds; the whole ("") comes first.

    `n` items, `mean` and `interval` [row, 2] (NaN with fewer than two items in some leaf), and whether a row is a `leaf`.
    """

    paths: tuple[str, ...]
    n: np.ndarray
    mean: np.ndarray
    interval: np.ndarray
    leaf: np.ndarray

    @property
    def depth(self) -> tuple[int, ...]:
        """How deep each row stands; the whole 0."""
        return tuple(0 if not p else p.count("/") + 1 for p in self.paths)


def leaves_of(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Indices of the items of every name, names in the order of first appearance."""
    found: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        found.setdefault(name, []).append(i)
    return {name: np.array(rows) for name, rows in found.items()}


def paths_of(names: Sequence[str]) -> tuple[str, ...]:
    """The whole and every group and leaf, each before what it holds, in the order of first appearance.

    A group that holds a single leaf and nothing else is left out, also the whole: it would say the same twice.
    """
    leaves = list(dict.fromkeys(names))
    if len(leaves) == 1:
        return (leaves[0],)
    found: dict[str, None] = {"": None}

    def walk(prefix: str, below: Sequence[str]) -> None:
        depth = prefix.count("/") + 1 if prefix else 0
        groups: dict[str, list[str]] = {}
        for leaf in below:
            groups.setdefault("/".join(leaf.split("/")[: depth + 1]), []).append(leaf)
        for path, inside in groups.items():
            if inside == [path]:
                found[path] = None
            elif len(inside) == 1 and path not in inside:
                found[inside[0]] = None
            else:
                found[path] = None
                walk(path, [leaf for leaf in inside if leaf != path])

    walk("", leaves)
    return tuple(found)


def nested_means(names: Sequence[str], values: np.ndarray, seed: int = 0, n_resamples: int = 1000) -> Nested:
    """Means of `values` [item] (NaN: not counted) by the paths `names` [item]. See the module."""
    values = np.asarray(values, dtype=np.float64)
    leaves = leaves_of(names)
    kept = {name: rows[~np.isnan(values[rows])] for name, rows in leaves.items()}
    means = {name: float(values[rows].mean()) if len(rows) else np.nan for name, rows in kept.items()}
    draws = {name: _draws(values[rows], seed, name, n_resamples) for name, rows in kept.items()}
    paths = paths_of(names)
    n, mean, interval = [], [], []
    for path in paths:
        below = [leaf for leaf in leaves if not path or leaf == path or leaf.startswith(path + "/")]
        n.append(sum(len(kept[leaf]) for leaf in below))
        there = [leaf for leaf in below if len(kept[leaf])]
        mean.append(np.mean([means[leaf] for leaf in there]) if there else np.nan)
        parts = [draws[leaf] for leaf in there]
        sure = bool(parts) and all(p is not None for p in parts)
        total = np.mean([p for p in parts if p is not None], axis=0) if sure else None
        interval.append((np.nan, np.nan) if total is None else np.quantile(total, (0.025, 0.975)))
    return Nested(
        paths=paths,
        n=np.array(n),
        mean=np.array(mean, dtype=np.float64),
        interval=np.array(interval, dtype=np.float64).reshape(-1, 2),
        leaf=np.array([p in leaves for p in paths]),
    )


def group_means(paths: Sequence[str], names: Sequence[str], values: np.ndarray) -> np.ndarray:
    """The same means without intervals, for the `paths` asked for [path]."""
    found = nested_means(names, values, n_resamples=2)
    at = dict(zip(found.paths, found.mean))
    return np.array([at.get(p, np.nan) for p in paths])


def _draws(x: np.ndarray, seed: int, name: str, n_resamples: int) -> np.ndarray | None:
    """Means [resample] of items drawn with replacement; None for fewer than two items."""
    if len(x) < 2:
        return None
    rng, step = generator(seed, "nested", name, len(x)), max(1, _AT_ONCE // len(x))
    parts = [min(step, n_resamples - i) for i in range(0, n_resamples, step)]
    return np.concatenate([x[rng.integers(0, len(x), (p, len(x)))].mean(1) for p in parts])
