"""Saturation against loops and against every order of the layers."""

from itertools import permutations

import numpy as np
import pytest

from exegete.ops import saturation

TOPS = np.random.default_rng(0).integers(0, 3, (6, 40))


def slow_settled(column) -> int:
    k = len(column) - 1
    while k > 0 and column[k - 1] == column[-1]:
        k -= 1
    return k


def slow_stop(column, patience) -> int:
    for k in range(len(column)):
        if k + 1 >= patience and len(set(column[k + 1 - patience : k + 1])) == 1:
            return k
    return len(column) - 1


def test_settled_is_where_a_loop_from_the_end_stops():
    assert saturation.settled(TOPS).tolist() == [slow_settled(c) for c in TOPS.T]
    assert saturation.settled(np.zeros((4, 1), dtype=int)).tolist() == [0]
    assert saturation.settled(np.array([[1], [1], [0]])).tolist() == [2]


def test_shuffled_is_the_mean_over_every_order():
    for column in TOPS.T[:8]:
        every = [slow_settled([*order, column[-1]]) for order in permutations(column[:-1])]
        assert saturation.shuffled(column[:, None])[0] == pytest.approx(np.mean(every))


@pytest.mark.parametrize("patience", [1, 2, 3, 6, 9])
def test_the_rule_is_a_loop_from_the_start(patience):
    assert saturation.stops(TOPS, patience).tolist() == [slow_stop(c, patience) for c in TOPS.T]


def test_elsewhere_is_the_mean_over_every_other_stop():
    stop = saturation.stops(TOPS, 2)
    slow = [np.mean([TOPS[k, p] == TOPS[-1, p] for k in stop]) for p in range(TOPS.shape[1])]
    assert np.allclose(saturation.elsewhere(TOPS, stop), slow)
    assert saturation.agreement(TOPS, stop).tolist() == [
        TOPS[k, p] == TOPS[-1, p] for p, k in enumerate(stop)
    ]


def test_a_rule_that_knows_beats_the_same_layers_elsewhere_and_a_blind_one_does_not():
    """Half the positions settle at once, half at the end: the rule must tell them apart."""
    tops = np.array([[7, 7, 1, 2], [7, 7, 3, 1], [7, 7, 2, 3], [7, 7, 7, 7]])
    stop = saturation.stops(tops, 2)
    assert stop.tolist() == [1, 1, 3, 3]
    assert saturation.agreement(tops, stop).mean() == 1 > saturation.elsewhere(tops, stop).mean()
    blind = np.full(4, 1)
    assert saturation.agreement(tops, blind).mean() == saturation.elsewhere(tops, blind).mean()
    assert saturation.saved(stop, 4).tolist() == [0.5, 0.5, 0, 0]
