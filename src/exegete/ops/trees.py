"""Trees as numbers: depths and distances between the words of many sentences, and how well predicted ones agree.

    tree_metrics        depth of every word and distance of every two words, for a batch of sentences at once
    spanning_edges      the minimum spanning tree of (predicted) distances between words that count
    edges_right         how many of those edges are edges of the gold tree (UUAS, summed over sentences)
    rank_agreement      Spearman correlation of every row of two tables of numbers (DSpr by word, NSpr by sentence)
    over_lengths        mean over sentence lengths of the mean within a length, lengths 5 to 50 alone

Distances: word i has its ancestors (itself included) as a row of zeros and ones; the product of two rows counts the
ancestors that two words share, that is the depth of the lowest one; distance = depth + depth - 2 * that depth. So a batch
costs one product of matrices. Words of two trees of one sentence meet above their roots.

Punctuation: words that do not count take no part in the spanning tree; both trees are spanned over the words that count,
as published, so that a word that hangs on punctuation hangs on its nearest neighbour in the tree instead.

Cost: O(sum n^2 depth) for the distances. Shapes: heads [word], -1 the root; distances [word, word]; depths [word].
Reference: Hewitt & Manning 2019, "A Structural Probe for Finding Syntax in Word Representations", sec. 4.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.stats import rankdata

from exegete.core.errors import InputError

LENGTHS = (5, 50)  # sentence lengths that a correlation is averaged over
_AT_ONCE = 1 << 22  # entries of padded matrices worked on at once


def tree_metrics(trees: Sequence[Sequence[int]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Depths [word] (the root 0) and distances [word, word] of every tree, as float32. Raises `InputError` on a cycle."""
    depths: list[np.ndarray] = [np.zeros(0)] * len(trees)
    distances: list[np.ndarray] = [np.zeros((0, 0))] * len(trees)
    order = sorted(range(len(trees)), key=lambda i: len(trees[i]))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(trees[order[end]]) ** 2 <= _AT_ONCE:
            end += 1
        some = order[start:end]
        for i, depth, distance in zip(some, *_metrics([trees[i] for i in some])):
            n = len(trees[i])
            depths[i], distances[i] = depth[:n].copy(), distance[:n, :n].copy()
        start = end
    return depths, distances


def _metrics(trees: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Padded depths [tree, word] and distances [tree, word, word]."""
    longest = max(map(len, trees))
    head = np.full((len(trees), longest + 1), -1)  # the last column leads nowhere
    for row, tree in zip(head, trees):
        row[: len(tree)] = tree
    ancestors = np.zeros((len(trees), longest, longest + 1), dtype=np.float32)
    tree, word = np.ogrid[: len(trees), :longest]
    at = np.broadcast_to(word, (len(trees), longest))
    for _ in range(longest + 1):
        ancestors[tree, word, at] = 1.0
        at = head[tree, at]
        if (at < 0).all():
            break
    else:
        raise InputError(
            "You asked for the distances in a tree.",
            "Its heads stand in a circle that never reaches the root.",
            "Give every word a head; -1 is the root.",
        )
    ancestors = ancestors[..., :longest]
    depth = ancestors.sum(-1)
    shared = ancestors @ ancestors.transpose(0, 2, 1)
    return depth - 1, depth[:, :, None] + depth[:, None, :] - 2 * shared


def spanning_edges(distances: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Edges [edge, 2] (smaller word first) of the minimum spanning tree over the words that `counts` [word] keeps."""
    kept = np.arange(len(distances)) if counts is None else np.flatnonzero(counts)
    if len(kept) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    part = np.asarray(distances, dtype=np.float64)[np.ix_(kept, kept)]
    part = (part + part.T) / 2
    part = part - part.min() + 1.0  # an edge of zero would be none; a constant on all edges changes no tree
    found = minimum_spanning_tree(np.triu(part, 1)).tocoo()
    pairs = np.stack([kept[found.row], kept[found.col]], -1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)


def gold_edges(heads: Sequence[int], counts: np.ndarray, distances: np.ndarray | None = None) -> np.ndarray:
    """Edges [edge, 2] of the gold tree over the words that count; of two ways to mend it, that over the shorter path."""
    edges = [(min(i, h), max(i, h)) for i, h in enumerate(heads) if h >= 0 and counts[i] and counts[h]]
    if len(edges) == max(int(np.sum(counts)) - 1, 0):
        return np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)
    return spanning_edges(tree_metrics([heads])[1][0] if distances is None else distances, counts)


def edges_right(predicted: np.ndarray, gold: np.ndarray) -> tuple[int, int]:
    """How many predicted edges [edge, 2] are gold, and how many gold edges there are."""
    return len({*map(tuple, predicted.tolist())} & {*map(tuple, gold.tolist())}), len(gold)


def chain(counts: np.ndarray) -> np.ndarray:
    """Edges [edge, 2] between each word that counts and the next one that does."""
    kept = np.flatnonzero(counts)
    return np.stack([kept[:-1], kept[1:]], -1).astype(np.int64) if len(kept) > 1 else np.zeros((0, 2), np.int64)  # fmt: skip


def right_branching(n: int) -> np.ndarray:
    """Heads [word] of the tree in which every word hangs on the one before; the first is the root."""
    return np.arange(n) - 1


def left_branching(n: int) -> np.ndarray:
    """Heads [word] of the tree in which every word hangs on the one after; the last is the root."""
    return np.where(np.arange(n) + 1 < n, np.arange(n) + 1, -1)


def rank_agreement(predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Spearman correlation of each row of two tables [row, column]; NaN where a row is constant."""
    a, b = (x - x.mean(-1, keepdims=True) for x in (_ranks(predicted), _ranks(gold)))
    size = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.where(size > 0, (a * b).sum(-1) / np.where(size > 0, size, 1.0), np.nan)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Twice the rank of every entry in its row, ties shared; short rows by comparing all pairs, which costs less than a call."""
    if x.shape[-1] > 64:
        return 2 * rankdata(np.asarray(x, dtype=np.float64), axis=-1)
    above = x[..., :, None] > x[..., None, :]
    return above.sum(-1) + (x[..., :, None] >= x[..., None, :]).sum(-1)


def over_lengths(values: np.ndarray, lengths: np.ndarray) -> float:
    """Mean over lengths of the mean of `values` [item] of that length, as published: lengths 5 to 50; NaN where none."""
    usable = np.isfinite(values) & (lengths >= LENGTHS[0]) & (lengths <= LENGTHS[1])
    if not usable.any():
        return float("nan")
    _, group = np.unique(lengths[usable], return_inverse=True)
    return float((np.bincount(group, values[usable]) / np.bincount(group)).mean())
