"""Triggers of a stream against sorting everything; shares and agreement against loops."""

from collections import Counter

import numpy as np
import pytest

from exegete.ops.triggers import Triggers, agreement, most_shared, others_agree


def stream(n=200, units=6, seed=0):
    """Values with ties and zeros, and inputs that come again (with the same values)."""
    draw = np.random.default_rng(seed)
    distinct = np.round(draw.normal(size=(n // 2, units)), 1)
    which = draw.integers(0, n // 2, n)
    return distinct[which], which * 7 - 3, np.arange(n)


@pytest.mark.parametrize("batch", [1, 7, 50, 200])
@pytest.mark.parametrize("t", [1, 4, 10])
def test_a_stream_keeps_what_sorting_everything_gives(batch, t):
    values, keys, places = stream()
    kept = Triggers.empty(values.shape[1], t)
    for i in range(0, len(values), batch):
        kept.add(values[i : i + batch], keys[i : i + batch], places[i : i + batch])
    for u in range(values.shape[1]):
        seen, every = set(), []
        for v, k, p in zip(values[:, u], keys, places):
            if k not in seen and v != 0:
                every.append((-abs(v), p, v))
            seen.add(k)
        truth = sorted(every)[:t]
        assert kept.value[u].tolist() == [v for _, _, v in truth]
        assert len(set(kept.key[u].tolist())) == t
        strict = [x for x in truth if x[0] < truth[-1][0]]  # among equals at the edge any may stay
        assert {p for _, p, _ in strict} <= set(kept.place[u].tolist())


@pytest.mark.parametrize("cuts", [(100,), (3, 60, 199)])
def test_streams_that_are_joined_keep_what_one_stream_keeps(cuts):
    values, keys, places = stream()
    whole = Triggers.empty(values.shape[1], 4)
    whole.add(values, keys, places)
    joined = Triggers.empty(values.shape[1], 4)
    for low, high in zip((0, *cuts), (*cuts, len(values))):
        part = Triggers.empty(values.shape[1], 4)
        part.add(values[low:high], keys[low:high], places[low:high])
        joined.join(part)
    np.testing.assert_array_equal(joined.value, whole.value)
    assert all(len(set(k.tolist())) == 4 for k in joined.key)
    for u in range(values.shape[1]):
        inner = np.abs(whole.value[u]) > np.abs(whole.value[u]).min()  # among equals at the edge any may stay
        assert set(whole.key[u][inner].tolist()) <= set(joined.key[u].tolist())


def test_a_unit_that_never_fires_has_no_trigger():
    kept = Triggers.empty(2, 3)
    kept.add(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([5, 6]), np.array([0, 1]))
    assert kept.found.tolist() == [[False] * 3, [True, False, False]]


def test_shares_and_agreement_are_loops():
    draw = np.random.default_rng(1)
    items, found = draw.integers(0, 4, (9, 5)), draw.random((9, 5)) > 0.3
    up, down = draw.integers(0, 4, 9), draw.integers(0, 4, 9)
    positive = draw.random((9, 5)) > 0.5
    shared, mine = most_shared(items, found), agreement(np.where(positive, up[:, None], down[:, None]), items, found)  # fmt: skip
    other = others_agree(up, down, positive, items, found)
    for u in range(9):
        own = [int(x) for x, f in zip(items[u], found[u]) if f]
        if len(own) > 1:
            assert shared[u] == pytest.approx(Counter(own).most_common(1)[0][1] / len(own))
        else:
            assert np.isnan(shared[u])
        hits = [
            [(up if positive[u, k] else down)[j] == items[u, k] for k in range(5) if found[u, k]]
            for j in range(9)
        ]
        if own:
            assert mine[u] == pytest.approx(np.mean(hits[u]))
            assert other[u] == pytest.approx(np.mean([h for j in range(9) if j != u for h in hits[j]]))
