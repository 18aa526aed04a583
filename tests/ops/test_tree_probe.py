"""Probes find a planted tree and none in noise; the ball keeps its identities; intervals are those of a slow twin."""

import numpy as np
import pytest
import torch

from exegete.ops.poincare import ball_distances, distance, expmap0, logmap0, mobius_add, mobius_matvec
from exegete.ops.tree_probe import Kind, Training, fit
from exegete.ops.tree_scores import (  # fmt: skip
    DSPR,
    MEASURES,
    NSPR,
    ROOT,
    UUAS,
    GoldTrees,
    TreeRead,
    linear_read,
    read_trees,
)

HOW = Training(rank=16, n_steps=260, batch=25, rate=0.03)


def some_trees(n: int, rng: np.random.Generator) -> GoldTrees:
    found = []
    for _ in range(n):
        size = int(rng.integers(5, 11))
        order, heads = rng.permutation(size), [-1] * size
        for k in range(1, size):
            heads[order[k]] = int(order[rng.integers(k)])
        found.append(heads)
    return GoldTrees.of(found, [np.ones(len(h), bool) for h in found])


def planted(gold: GoldTrees, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Vectors of which a linear image has the tree's distances as squared distances: the path of edges from the root, mixed.

    Edge to the word at place p is axis p, so that a word is the sum of the axes of its ancestors but the root.
    """
    mix = rng.normal(size=(12, width))
    found = []
    for heads in gold.heads:
        rows = np.zeros((len(heads), 12))
        for i in range(len(heads)):
            at = i
            while heads[at] >= 0:
                rows[i, at] = 1.0
                at = heads[at]
        found.append((rows @ mix).astype(np.float32))
    return found


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    gold = some_trees(160, rng)
    noise = [rng.normal(size=(len(h), 24)).astype(np.float32) for h in gold.heads]
    return gold, planted(gold, 24, rng), noise


PARTS = np.arange(100), np.arange(100, 130), np.arange(130, 160)


def uuas(gold, x, kind: Kind = "distance") -> TreeRead:
    probe = fit(x, gold.distances, PARTS[0], PARTS[1], kind, HOW, np.random.default_rng(1))
    test = gold.part(PARTS[2])
    return read_trees(probe.predict([x[i] for i in PARTS[2]]), test.depths, test)


def test_a_planted_tree_is_found_whole(world):
    gold, x, _ = world
    read = uuas(gold, x)
    assert read.value(UUAS) == 1.0
    assert read.value(DSPR) > 0.9  # near ties are ranked as they fall


def test_no_tree_is_found_in_noise(world):
    gold, _, noise = world
    read, test = uuas(gold, noise), gold.part(PARTS[2])
    guesses = [read_trees([guess(len(h), i) for h in test.heads], test.depths, test) for i in range(20)]
    assert abs(read.value(UUAS) - np.mean([g.value(UUAS) for g in guesses])) < 0.12
    assert abs(read.value(DSPR) - np.mean([g.value(DSPR) for g in guesses])) < 0.12


def guess(n: int, seed: int) -> np.ndarray:
    """Random distances: not zero but from a word to itself, as in every tree, for which DSpr gives credit."""
    x = np.random.default_rng([n, seed]).random((n, n))
    return (x + x.T) * (1 - np.eye(n))


def test_planted_depths_are_found(world):
    gold, x, noise = world
    test = gold.part(PARTS[2])
    reads = []
    for some in (x, noise):
        probe = fit(some, gold.depths, PARTS[0], PARTS[1], "depth", HOW, np.random.default_rng(1))
        reads.append(read_trees(test.distances, probe.predict([some[i] for i in PARTS[2]]), test))
    assert reads[0].value(ROOT) == 1.0
    assert reads[0].value(NSPR) > 0.9
    assert reads[1].value(ROOT) < 0.5


def test_the_image_is_the_probe(world):
    gold, x, _ = world
    probe = fit(x, gold.distances, PARTS[0], PARTS[1], "distance", Training(rank=5, n_steps=30), np.random.default_rng(1))  # fmt: skip
    y = x[0] @ probe.image
    want = ((y[:, None] - y[None]) ** 2).sum(-1)
    assert probe.predict(x[:1])[0] == pytest.approx(want, rel=1e-3, abs=1e-3)


def test_a_hyperbolic_probe_finds_the_planted_tree_nearly(world):
    gold, x, noise = world
    assert uuas(gold, x, "hyperbolic").value(UUAS) > 0.9
    assert uuas(gold, noise, "hyperbolic").value(UUAS) < 0.5


def test_identities_of_the_ball():
    rng = np.random.default_rng(0)
    v, w = (torch.from_numpy(rng.normal(size=(6, 4))) for _ in range(2))
    x, y = expmap0(v), expmap0(w)
    m = torch.from_numpy(rng.normal(size=(3, 4))) * 0.4
    zero = torch.zeros_like(x)
    torch.testing.assert_close(logmap0(x), v, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mobius_add(x, zero), x)
    torch.testing.assert_close(mobius_add(-x, x), zero, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(mobius_add(-x, mobius_add(x, y)), y, rtol=1e-6, atol=1e-7)  # left cancellation
    assert (mobius_add(x, y) - mobius_add(y, x)).abs().max() > 1e-3
    torch.testing.assert_close(distance(zero, x), 2 * v.norm(dim=-1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(distance(x, y), distance(mobius_add(y, x), mobius_add(y, y)), rtol=1e-4, atol=1e-4)  # moves keep distances  # fmt: skip
    torch.testing.assert_close(mobius_matvec(m, x), expmap0(v @ m.T), rtol=1e-5, atol=1e-6)
    table = ball_distances(x)
    want = torch.stack([distance(x[i].expand(6, -1), x) for i in range(6)])
    torch.testing.assert_close(table, want, rtol=1e-5, atol=1e-5)
    nearly = ball_distances(expmap0(1e-4 * v)) / 2e-4  # flat where it is small
    torch.testing.assert_close(nearly, torch.cdist(v, v), rtol=1e-3, atol=1e-3)
    across = ball_distances(expmap0(v, 0.3), 0.3)[0, 1]
    torch.testing.assert_close(across, distance(expmap0(v, 0.3)[0], expmap0(v, 0.3)[1], 0.3), rtol=1e-5, atol=1e-6)  # fmt: skip


def test_intervals_are_those_of_drawing_sentences_one_by_one():
    rng = np.random.default_rng(0)
    n = 60
    total = rng.integers(3, 12, n)
    read = TreeRead(rng.binomial(total, 0.6), total, rng.random(n), (rng.random(n) < 0.7).astype(float), rng.random(n), rng.integers(3, 20, n))  # fmt: skip
    for measure in MEASURES:
        low, high = read.interval(measure, np.random.default_rng(1)) or (0, 0)
        drawn = [read.value(measure, rng.integers(0, n, n)) for _ in range(600)]
        assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)
        assert low < read.value(measure) < high


def test_the_order_of_words_alone():
    gold = GoldTrees.of([[-1, 0, 1, 2], [1, -1, 1, 1], [-1, 0, 0, 0]], [np.ones(4, bool)] * 3)
    read = linear_read(gold, gold)
    assert read.right.tolist() == [3, 2, 1]
    assert read.root.tolist() == [1, 0, 1]  # most roots come first
    assert read.dspr[0] == 1.0
