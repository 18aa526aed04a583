"""Arithmetic of circuits, against paths that are counted one by one, plain loops, and hypergeometric draws."""

import itertools

import numpy as np
import pytest

from exegete.models.edges import EdgeGraph
from exegete.ops.circuit import (
    area,
    auroc,
    iou,
    live,
    normalised,
    normalised_interval,
    overlap_by_chance,
    random_circuit,
)

GRAPH = EdgeGraph(2, 2, 1, False)  # grouped: a key-value head feeds two heads
FEEDS, ALLOWED = GRAPH.feeds, GRAPH.allowed


def rng(seed=0):
    return np.random.default_rng(seed)


def reaches(keep, start, step, goal):
    """Whether a walk over kept edges leads from an edge to the goal (slow: every path)."""
    stack, seen = [start], set()
    while stack:
        at = stack.pop()
        if goal(at):
            return True
        if at in seen:
            continue
        seen.add(at)
        stack += step(keep, at)
    return False


def onward(keep, edge):
    r, _ = edge
    return [(s, w) for w in FEEDS[r] for s in np.flatnonzero(keep[:, w])]


def back(keep, edge):
    _, w = edge
    return [(r, x) for r in range(len(keep)) if w in FEEDS[r] for x in np.flatnonzero(keep[r])]


@pytest.mark.parametrize("seed", range(6))
def test_live_edges_lie_on_a_path(seed):
    keep = ALLOWED & (rng(seed).random(ALLOWED.shape) < 0.25)
    last = len(keep) - 1
    edges = [tuple(e) for e in np.argwhere(keep)]
    ahead = {e for e in edges if reaches(keep, e, onward, lambda e: e[0] == last)}
    behind = {e for e in edges if reaches(keep, e, back, lambda e: e[1] == 0)}
    assert {tuple(e) for e in np.argwhere(live(keep, FEEDS, forward=False))} == ahead
    # on a path both ways: only over edges that are themselves on one
    both = ahead & behind
    while True:
        less = np.zeros_like(keep)
        less[tuple(np.array(sorted(both), dtype=int).reshape(-1, 2).T)] = True
        again = {
            e for e in both
            if reaches(less, e, onward, lambda e: e[0] == last) and reaches(less, e, back, lambda e: e[1] == 0)
        }  # fmt: skip
        if again == both:
            break
        both = again
    assert {tuple(e) for e in np.argwhere(live(keep, FEEDS))} == both
    assert len(both) < len(edges)


def test_live_leaves_its_argument_and_the_whole_graph_alone():
    keep = ALLOWED.copy()
    assert np.array_equal(live(keep, FEEDS), ALLOWED)
    only = np.zeros_like(ALLOWED)
    only[0, 0] = True
    assert not live(only, FEEDS).any()
    assert only[0, 0]


@pytest.mark.parametrize("n", [0, 1, 5, 12, 20, int(ALLOWED.sum()) - 1, int(ALLOWED.sum())])
def test_a_random_circuit_has_as_many_edges_and_only_those_of_the_graph(n):
    made = random_circuit(ALLOWED, FEEDS, n, rng(n))
    assert made.sum() == n
    assert not (made & ~ALLOWED).any()
    assert np.array_equal(made, random_circuit(ALLOWED, FEEDS, n, rng(n)))


def test_random_circuits_are_made_of_walks_and_differ():
    small = [random_circuit(GRAPH.allowed, FEEDS, 9, rng(i)) for i in range(20)]
    alive = np.mean([live(k, FEEDS).sum() for k in small])
    loose = np.zeros((20, *ALLOWED.shape), dtype=bool)
    for i in range(20):
        loose[i].flat[rng(i).choice(np.flatnonzero(ALLOWED), 9, replace=False)] = True
    assert alive > 7 > np.mean([live(k, FEEDS).sum() for k in loose])
    assert len({k.tobytes() for k in small}) > 15


def test_normalised_is_0_for_empty_1_for_full_and_nothing_where_they_agree():
    empty, full = np.array([0.0, 2.0]), np.array([4.0, 4.0])
    assert normalised(empty, empty, full) == 0.0
    assert normalised(full, empty, full) == 1.0
    assert normalised((empty + full) / 2, empty, full) == 0.5
    assert np.isnan(normalised(full, full, full))
    # noise of float arithmetic between two texts that move the target alike is no scale
    assert np.isnan(normalised(full, full - 1e-9, full))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    hits, r = 0, rng(1)
    for i in range(200):
        span = 2.0 + r.normal(size=40)
        f = 0.6 * span + 0.3 * r.normal(size=40)
        low, high = normalised_interval(f, np.zeros(40), span, seed=i, n=300)
        hits += low <= 0.6 <= high
    assert 0.88 <= hits / 200 <= 0.99
    assert normalised_interval(np.ones(1), np.zeros(1), np.ones(1)) is None
    assert normalised_interval(np.ones(3), np.ones(3), np.ones(3)) is None


def test_areas_of_lines():
    x = np.linspace(0, 1, 11)
    assert area(x, x) == pytest.approx((0.5, 0.5))
    assert area(x, np.ones(11)) == pytest.approx((1.0, 0.0))
    assert area(x, 1 + x)[1] == pytest.approx(0.5)  # too much counts against CMD too
    assert area(np.array([0.0, 0.1, 1.0]), np.array([0.0, 1.0, 1.0])) == pytest.approx((0.95, 0.05))


@pytest.mark.parametrize("seed", range(4))
def test_auroc_counts_pairs_of_gold_and_other(seed):
    r = rng(seed)
    scores, gold = r.integers(0, 6, 30).astype(float), r.random(30) < 0.3
    won = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(scores[gold], scores[~gold])]
    assert auroc(scores, gold) == pytest.approx(np.mean(won))
    assert auroc(-scores, gold) == pytest.approx(1 - np.mean(won))


def test_auroc_of_nothing_to_find():
    assert auroc(np.zeros(5), np.array([True, False, True, False, False])) == 0.5
    assert np.isnan(auroc(np.arange(3.0), np.zeros(3, dtype=bool)))


def test_overlap_by_chance_is_that_of_drawn_sets():
    drawn = [
        len(set(rng(i).choice(60, 20, False)) & set(rng(-i % 9999 + 1).choice(60, 15, False)))
        for i in range(3000)
    ]
    mean, low, high = overlap_by_chance(20, 15, 60)
    assert mean == 5.0
    assert np.mean(drawn) == pytest.approx(mean, abs=0.15)
    assert (low, high) == tuple(np.quantile(drawn, [0.025, 0.975]))
    assert overlap_by_chance(0, 5, 60)[0] == 0.0


def test_intersection_over_union():
    assert iou(2, 4, 3) == pytest.approx(2 / 5)
    assert iou(0, 0, 0) == 0.0
    assert iou(3, 3, 3) == 1.0
