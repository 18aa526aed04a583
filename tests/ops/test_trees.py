"""Distances, spanning trees and decoders against brute force over all trees, and against networkx."""

from itertools import product

import networkx as nx
import numpy as np
import pytest
from scipy.stats import spearmanr

from exegete.core.errors import InputError
from exegete.ops.decode import chu_liu_edmonds, eisner
from exegete.ops.trees import (
    chain,
    edges_right,
    gold_edges,
    left_branching,
    over_lengths,
    rank_agreement,
    right_branching,
    spanning_edges,
    tree_metrics,
)


def some_tree(n: int, rng: np.random.Generator) -> list[int]:
    """A random tree: in random order, each word hangs on one that stands already."""
    order, heads = rng.permutation(n), [-1] * n
    for k in range(1, n):
        heads[order[k]] = int(order[rng.integers(k)])
    return heads


def every_tree(n: int) -> list[tuple[int, ...]]:
    """All trees of n words with one root."""
    return [h for h in product(range(-1, n), repeat=n) if h.count(-1) == 1 and reaches(h)]


def reaches(heads: tuple[int, ...]) -> bool:
    for i in range(len(heads)):
        at, steps = i, 0
        while at >= 0 and steps <= len(heads):
            at, steps = heads[at], steps + 1
        if at >= 0:
            return False
    return True


def projective(heads: tuple[int, ...]) -> bool:
    """Every word between a word and its head descends from the head."""
    for i, h in enumerate(heads):
        for k in range(min(i, h) + 1, max(i, h)) if h >= 0 else ():
            at = k
            while at not in (-1, h):
                at = heads[at]
            if at == -1:
                return False
    return True


def worth(heads: tuple[int, ...], arcs: np.ndarray, root: np.ndarray) -> float:
    return sum(root[i] if h < 0 else arcs[h, i] for i, h in enumerate(heads))


def test_distances_are_shortest_paths():
    rng = np.random.default_rng(0)
    trees = [some_tree(n, rng) for n in (1, 2, 9, 31, 4, 60)]
    depths, distances = tree_metrics(trees)
    for heads, depth, distance in zip(trees, depths, distances):
        g = nx.Graph([(i, h) for i, h in enumerate(heads) if h >= 0])
        g.add_nodes_from(range(len(heads)))
        want = dict(nx.all_pairs_shortest_path_length(g))
        assert [[want[i][j] for j in range(len(heads))] for i in range(len(heads))] == distance.tolist()
        assert depth.tolist() == distance[heads.index(-1)].tolist()


def test_a_circle_is_refused():
    with pytest.raises(InputError, match="circle"):
        tree_metrics([[1, 2, 0, -1]])


def test_two_roots_meet_above():
    assert tree_metrics([[-1, 0, -1]])[1][0].tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_decoders_find_the_best_of_all_trees(n):
    rng = np.random.default_rng(n)
    trees = every_tree(n)
    assert len(trees) == n ** (n - 1)  # Cayley
    flat = [t for t in trees if projective(t)]
    assert n < 4 or len(flat) < len(trees)
    for _ in range(6):
        arcs, root = rng.normal(size=(n, n)), rng.normal(size=n)
        got = tuple(chu_liu_edmonds(arcs, root).tolist())
        assert got in trees
        assert worth(got, arcs, root) == pytest.approx(max(worth(t, arcs, root) for t in trees))
        got = tuple(eisner(arcs, root).tolist())
        assert got in flat
        assert worth(got, arcs, root) == pytest.approx(max(worth(t, arcs, root) for t in flat))


def test_the_best_heads_alone_are_no_tree():
    """A decoder that took each word's best head would fail the test above."""
    rng = np.random.default_rng(0)
    greedy = [
        tuple(np.where(np.eye(5), -np.inf, rng.normal(size=(5, 5))).argmax(0).tolist()) for _ in range(20)
    ]
    assert not any(reaches(h) for h in greedy)


def test_the_best_arborescence_of_long_sentences_is_that_of_networkx():
    rng = np.random.default_rng(1)
    for n in (12, 30):
        arcs, root = rng.normal(size=(n, n)), rng.normal(size=n)
        g = nx.DiGraph()
        for h in range(n):
            g.add_edge("root", h, weight=root[h] - 1000.0)
            for d in range(n):
                if d != h:
                    g.add_edge(h, d, weight=arcs[h, d])
        want = nx.maximum_spanning_arborescence(g)
        heads = [-1] * n
        for h, d in want.edges:
            heads[d] = -1 if h == "root" else h
        assert chu_liu_edmonds(arcs, root).tolist() == heads


def test_a_gold_tree_is_its_own_spanning_tree():
    rng = np.random.default_rng(2)
    for n in (2, 7, 25):
        heads = some_tree(n, rng)
        all_count = np.ones(n, dtype=bool)
        distance = tree_metrics([heads])[1][0]
        gold = gold_edges(heads, all_count)
        assert edges_right(spanning_edges(distance), gold) == (n - 1, n - 1)
        assert edges_right(spanning_edges(-distance), gold)[0] < n - 1 or n == 2
        constant = spanning_edges(distance - 3.0)  # also with distances at and below zero
        assert constant.tolist() == gold.tolist()


def test_punctuation_takes_no_part():
    heads = [1, -1, 1, 1, 3]  # the last hangs on the mark at 3
    counts = np.array([True, True, True, False, True])
    gold = gold_edges(heads, counts)
    assert 3 not in gold
    assert gold.tolist() == [[0, 1], [1, 2], [1, 4]]
    assert chain(counts).tolist() == [[0, 1], [1, 2], [2, 4]]


def test_chains():
    assert right_branching(4).tolist() == [-1, 0, 1, 2]
    assert left_branching(4).tolist() == [1, 2, 3, -1]
    assert chain(np.array([True])).shape == (0, 2)


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(4, 9)), rng.integers(0, 4, (4, 9))
    b[3] = 1
    got = rank_agreement(a, b)
    assert got[:3] == pytest.approx([spearmanr(x, y)[0] for x, y in zip(a[:3], b[:3])])
    assert np.isnan(got[3])


def test_lengths_are_averaged_as_published():
    values = np.array([1.0, 0.0, 0.5, 9.0, np.nan, 9.0])
    lengths = np.array([5, 5, 50, 4, 6, 51])
    assert over_lengths(values, lengths) == pytest.approx((0.5 + 0.5) / 2)
    assert np.isnan(over_lengths(values[:0], lengths[:0]))
