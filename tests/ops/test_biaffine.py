"""The biaffine probe finds planted heads and relations, and none in noise; a word is no head of itself."""

import numpy as np
import pytest

from exegete.ops.biaffine import fit
from exegete.ops.decode import chu_liu_edmonds
from exegete.ops.tree_probe import Training

HOW = Training(rank=16, n_steps=200, batch=25, rate=0.02)


@pytest.fixture(scope="module")
def world():
    """Every word has a random key; its vector is its own key, its head's key (zero for a root) and its label's axis."""
    rng = np.random.default_rng(0)
    x, heads, labels = [], [], []
    for _ in range(150):
        n = int(rng.integers(4, 9))
        order, head = rng.permutation(n), np.full(n, -1)
        for k in range(1, n):
            head[order[k]] = order[rng.integers(k)]
        key = rng.normal(size=(n, 8))
        label = np.where(head < 0, -1, rng.integers(0, 3, n))
        above = np.where(head[:, None] < 0, 0.0, key[head])
        x.append(np.concatenate([key, above, np.eye(4)[label]], 1).astype(np.float32))
        heads.append(head)
        labels.append(label)
    return x, heads, labels


def found(x, heads, labels):
    """Shares of heads and labels right on held-out sentences."""
    probe = fit(x, heads, labels, np.arange(100), np.arange(100, 120), HOW, np.random.default_rng(1))
    right = []
    for i in range(120, 150):
        tree = chu_liu_edmonds(*probe.arcs(x[i]))
        right += list(zip(tree == heads[i], probe.labels(x[i], heads[i]) == labels[i]))
    return np.mean(right, 0)


def test_planted_heads_and_relations_are_found(world):
    heads, labels = found(*world)
    assert heads > 0.9
    assert labels > 0.9


def test_nothing_is_found_in_noise(world):
    x, heads, labels = world
    rng = np.random.default_rng(2)
    noise = [rng.normal(size=a.shape).astype(np.float32) for a in x]
    right = found(noise, heads, labels)
    assert right[0] < 0.35
    assert right[1] < 0.6


def test_no_word_is_its_own_head(world):
    x, heads, labels = world
    how = Training(rank=4, n_steps=2, batch=25)
    probe = fit(x, heads, labels, np.arange(50), np.arange(50, 60), how, np.random.default_rng(1))
    arcs, root = probe.arcs(x[0])
    assert (np.diag(arcs) < -1e8).all()
    assert root.shape == (len(x[0]),)
    assert probe.labels(x[0], np.full(len(x[0]), -1)).tolist() == [-1] * len(x[0])
