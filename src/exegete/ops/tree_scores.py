"""How well predicted distances and depths agree with gold trees, sentence by sentence, with intervals over sentences.

    UUAS            edges of the spanning tree that are in the gold tree, over all sentences; punctuation left out
    DSpr            correlation of predicted and gold distances from each word, over lengths 5 to 50
    root accuracy   sentences whose shallowest word (punctuation left out) is the root
    NSpr            correlation of predicted and gold depths, over lengths 5 to 50

`TreeRead` keeps what each sentence gives, so that every measure has an interval by resampling sentences. What a reader scores
who knows only the order of the words is `linear_read`: the chain of neighbours, distance in words, and the place at which most
training sentences have their root.

Shapes: one number a sentence. Cost: a spanning tree and a sort of each row. Reference: Hewitt & Manning 2019, sec. 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.ops.trees import (
    LENGTHS,
    chain,
    edges_right,
    gold_edges,
    over_lengths,
    rank_agreement,
    spanning_edges,
    tree_metrics,
)

UUAS, DSPR, ROOT, NSPR = MEASURES = ("UUAS", "DSpr", "root accuracy", "NSpr")
N_RESAMPLES = 1000


@dataclass(frozen=True)
class GoldTrees:
    """Trees as numbers: heads, depths [word], distances [word, word], words that count [word], edges [edge, 2] between them."""

    heads: tuple[tuple[int, ...], ...]
    depths: list[np.ndarray]
    distances: list[np.ndarray]
    counts: list[np.ndarray]
    edges: list[np.ndarray]

    @classmethod
    def of(cls, heads: Sequence[Sequence[int]], counts: Sequence[np.ndarray]) -> "GoldTrees":
        """From heads (-1 the root) and the words that count. Raises `InputError` on a circle."""
        depths, distances = tree_metrics(heads)
        edges = [gold_edges(h, c, d) for h, c, d in zip(heads, counts, distances)]
        return cls(tuple(map(tuple, heads)), depths, distances, list(counts), edges)

    def __len__(self) -> int:
        return len(self.heads)

    def part(self, members: np.ndarray) -> "GoldTrees":
        """Some of the trees."""
        return GoldTrees(tuple(self.heads[i] for i in members), *([x[i] for i in members] for x in (self.depths, self.distances, self.counts, self.edges)))  # fmt: skip


@dataclass(frozen=True)
class TreeRead:
    """What was read of every sentence [sentence]: edges right and in all, DSpr, root found (0 or 1), NSpr; words."""

    right: np.ndarray
    total: np.ndarray
    dspr: np.ndarray
    root: np.ndarray
    nspr: np.ndarray
    lengths: np.ndarray

    def value(self, measure: str, some: np.ndarray | slice = slice(None)) -> float:
        """One measure over all sentences, or over `some` of them."""
        if measure == UUAS:
            return float(self.right[some].sum() / max(self.total[some].sum(), 1))
        if measure == ROOT:
            return float(np.nanmean(self.root[some]))
        values = (self.dspr if measure == DSPR else self.nspr)[some]
        found = over_lengths(values, self.lengths[some])
        if np.isfinite(found) or not np.isfinite(values).any():
            return found
        return float(np.nanmean(values))  # no sentence of 5 to 50 words: those that there are

    def interval(self, measure: str, rng: np.random.Generator) -> tuple[float, float] | None:
        """95 % interval by resampling sentences; None for fewer than two."""
        n = len(self.lengths)
        if n < 2:
            return None
        drawn = rng.multinomial(n, np.full(n, 1 / n), N_RESAMPLES).astype(
            np.float64
        )  # how often each sentence is drawn
        if measure == UUAS:
            values = drawn @ self.right / np.maximum(drawn @ self.total, 1)
        elif measure == ROOT:
            known = np.isfinite(self.root)
            values = _ratio(drawn[:, known] @ self.root[known], drawn[:, known].sum(1))
        else:
            values = self._by_length(self.dspr if measure == DSPR else self.nspr, drawn)
        if not np.isfinite(values).any():
            return None
        low, high = np.nanquantile(values, [0.025, 0.975])
        return float(low), float(high)

    def _by_length(self, values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """`over_lengths` of every resample."""
        known = np.isfinite(values)
        usable = known & (self.lengths >= LENGTHS[0]) & (self.lengths <= LENGTHS[1])
        if not usable.any():
            return _ratio(drawn[:, known] @ values[known], drawn[:, known].sum(1))
        _, group = np.unique(self.lengths[usable], return_inverse=True)
        member = np.eye(group.max() + 1)[group]
        means = _ratio(drawn[:, usable] @ (values[usable, None] * member), drawn[:, usable] @ member)
        there = np.isfinite(means)
        return _ratio(np.where(there, means, 0.0).sum(1), there.sum(1))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where there is nothing below."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def read_trees(distances: Sequence[np.ndarray], depths: Sequence[np.ndarray], gold: GoldTrees) -> TreeRead:
    """Predicted distances [word, word] and depths [word] of every sentence against its tree."""
    edges = [edges_right(spanning_edges(d, c), e) for d, c, e in zip(distances, gold.counts, gold.edges)]
    return _read(edges, distances, depths, gold)


def linear_read(gold: GoldTrees, train: GoldTrees) -> TreeRead:
    """What the order of the words alone gives."""
    edges = [edges_right(chain(c), e) for c, e in zip(gold.counts, gold.edges)]
    apart = [np.abs(np.subtract.outer(np.arange(len(h)), np.arange(len(h)))) for h in gold.heads]
    at = [_root(d, c) for d, c in zip(train.depths, train.counts)]
    usual = int(np.bincount(at).argmax()) if at else 0
    depths = [np.abs(np.arange(len(h)) - min(usual, len(h) - 1)) for h in gold.heads]
    return _read(edges, apart, depths, gold)


def _read(
    edges: Sequence[tuple[int, int]], distances: Sequence[np.ndarray], depths: Sequence[np.ndarray], gold: GoldTrees
) -> TreeRead:  # fmt: skip
    right, total = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    each = [rank_agreement(p, d) for p, d in zip(distances, gold.distances)]
    dspr = [float(np.nanmean(x)) if np.isfinite(x).any() else np.nan for x in each]
    nspr = [float(rank_agreement(p[None], d[None])[0]) for p, d in zip(depths, gold.depths)]
    root = [
        float(_root(p, c) == _root(d, c)) if c.any() else np.nan
        for p, d, c in zip(depths, gold.depths, gold.counts)
    ]
    lengths = np.array([len(h) for h in gold.heads])
    return TreeRead(right, total, np.array(dspr), np.array(root), np.array(nspr), lengths)


def _root(depths: np.ndarray, counts: np.ndarray) -> int:
    """The shallowest word that counts."""
    return int(np.where(counts, depths, np.inf).argmin())
