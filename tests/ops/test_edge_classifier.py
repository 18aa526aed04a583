"""The edge classifier finds planted layers and tokens; its F1 is that of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from exegete.ops.edge_classifier import EdgeClassifiers, Sizes, predicted, stretches, train
from exegete.ops.micro_f1 import counts, f1_interval, micro_f1

RNG = np.random.default_rng(0)
SIZES = Sizes(project=8, hidden=16, n_steps=150, batch=64, rate=1e-2)


def planted(layer, n=500, n_layers=3, width=8):
    """Two-token stretches; the class is the sign of a column of the first token, at one layer only."""
    values = RNG.normal(size=(n_layers, 2 * n, width))
    y = (values[layer, ::2, 0] > 0).astype(int)
    values[layer, ::2, 0] *= 2
    values[:, 1::2, 1] += 3  # second tokens look like second tokens
    where = stretches(np.arange(0, 2 * n + 1, 2), 1)
    return torch.from_numpy(values).float(), torch.from_numpy(where), y


@pytest.mark.parametrize("layer", [0, 2])
def test_the_mix_finds_the_planted_layer(layer):
    values, where, y = planted(layer)
    upto = torch.tril(torch.ones(3, 3, dtype=torch.bool))
    rows = torch.from_numpy(np.stack([y] * 3))
    learn, test = where[:350], where[350:]
    found = train(values, learn, rows[:, :350], upto, 2, SIZES, [0, 0, 0])
    weights = found.weights.detach().numpy()
    assert weights[2].argmax() == layer
    assert weights[2, layer] > 0.5
    assert np.allclose(weights.sum(1), 1)
    assert weights[0].tolist() == [1, 0, 0]
    right = (predicted(found, values, test).argmax(2) == y[350:]).mean(1)
    assert (right[layer:] > 0.85).all()
    assert (right[:layer] < 0.65).all()  # layers in front of it cannot tell


def test_classifiers_do_not_know_each_other():
    values, where, y = planted(1, 60)
    allowed = torch.ones(2, 3, dtype=torch.bool)
    rows = torch.from_numpy(np.stack([y, 1 - y]))
    small = Sizes(4, 4, 20, 16)
    both = predicted(train(values, where, rows, allowed, 2, small, [3, 4]), values, where)
    alone = predicted(train(values, where, rows[:1], allowed[:1], 2, small, [3]), values, where)
    assert np.abs(both[0] - alone[0]).max() < 1e-4
    assert np.abs(both[0] - both[1]).max() > 0.1


def test_what_is_beyond_a_stretch_is_not_read():
    where = stretches(np.array([0, 2, 3, 3 + 3, 7]), 2)
    assert where.tolist() == [[[0, 1, -1], [2, -1, -1]], [[3, 4, 5], [6, -1, -1]]]
    probe = EdgeClassifiers(torch.ones(1, 2, dtype=torch.bool), 5, 2, 3, SIZES, [0])
    values = torch.from_numpy(RNG.normal(size=(2, 8, 5))).float()
    at = torch.from_numpy(where)
    before = predicted(probe, values, at[:1])
    values[:, 3:] += 9
    assert np.allclose(before, predicted(probe, values, at[:1]))
    values[:, 1] += 9
    assert not np.allclose(before, predicted(probe, values, at[:1]))


def test_micro_f1_is_the_usual_one():
    logits, y, text = RNG.normal(size=(90, 4)), RNG.integers(0, 4, 90), np.repeat(np.arange(9), 10)
    hot = np.eye(4)[y].astype(int)
    counted = counts(logits, y, text)
    assert counted.shape == (9, 3)
    theirs = f1_score(hot, (logits > 0).astype(int), average="micro")
    assert micro_f1(counted.sum(0)) == pytest.approx(theirs)
    assert micro_f1(counted[2]) == pytest.approx(
        f1_score(hot[20:30], (logits[20:30] > 0).astype(int), average="micro")
    )
    low, high = f1_interval(counted[None], 0)
    assert low < theirs < high
    assert np.isnan(f1_interval(counted[None, :1], 0)).all()
