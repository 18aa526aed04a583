"""Infidelity and sensitivity-n: perfect for the planted truth, equal to brute force over all subsets, worse for what is wrong."""

from itertools import combinations

import numpy as np
import pytest

from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.contract import Ranking, judging, outcome
from exegete.evaluate.faithfulness.infidelity import Infidelity
from exegete.evaluate.faithfulness.sensitivity_n import SensitivityN
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.subsets import spread_sizes, subsets_of_size
from support.planted import additive, some_ids, weights_of


def planted(n=12):
    model = additive()
    q = judging(ask(model, Text(ids=some_ids(model, n)), Target(label="yes", against="no")))
    return Infidelity().game(q, q.units("token")), weights_of(model, q.ids).astype(float)


def test_the_true_weights_are_perfect_and_what_is_wrong_is_worse():
    game, w = planted()
    rng = np.random.default_rng(0)
    rows = Ranking.of(np.stack([w, 7 * w, w + rng.normal(size=12) / 2, rng.permutation(w), -w]))
    lost, kept = Infidelity().score_orders(game, rows), SensitivityN().score_orders(game, rows)
    assert lost[:2] == pytest.approx([0, 0], abs=1e-9) and kept[:2] == pytest.approx([1, 1], abs=1e-6)
    assert 0 < lost[2] < lost[3] <= lost[4] and kept[2] > kept[3] > kept[4]
    assert lost[4] == pytest.approx(1) and kept[4] == pytest.approx(-1, abs=1e-6)
    own = Infidelity(scaled=False).score_orders(game, rows)
    assert own[0] == pytest.approx(0, abs=1e-9) and own[1] > 1  # units count where nothing is scaled


@pytest.mark.parametrize(("family", "task"), [("bert", "sequence"), ("gpt2", "causal")])
def test_they_equal_brute_force_over_all_subsets(family, task):
    q = judging(ask(load(tiny(family, task)), "the food was good here"))
    game = Infidelity().game(q, q.units("word"))
    n, r = game.n, np.random.default_rng(3).normal(size=game.n)
    f = lambda kept: float(outcome(game, np.isin(np.arange(n), list(kept))[None])[0])  # noqa: E731
    whole = f(range(n))
    errors, squares, along, size, rhos = [], [], [], [], []
    for k in range(1, n):
        sums, falls = [], []
        for gone in combinations(range(n), k):
            sums.append(sum(r[i] for i in gone))
            falls.append(whole - f(set(range(n)) - set(gone)))
        errors.append(np.mean([(s - d) ** 2 for s, d in zip(sums, falls)]))
        squares.append(np.mean([d * d for d in falls]))
        along.append(np.mean([s * d for s, d in zip(sums, falls)]))
        size.append(np.mean([s * s for s in sums]))
        rhos.append(np.corrcoef(sums, falls)[0, 1])
    assert Infidelity(scaled=False).score(game, r) == pytest.approx(np.mean(errors), abs=1e-9)
    a = max(0.0, np.mean(along)) / np.mean(size)
    scaled = (a * a * np.mean(size) - 2 * a * np.mean(along) + np.mean(squares)) / np.mean(squares)
    assert Infidelity().score(game, r) == pytest.approx(scaled, abs=1e-9)
    assert SensitivityN().score(game, r) == pytest.approx(np.mean(rhos), abs=1e-9)


def test_all_explanations_and_both_metrics_share_the_passes():
    q = judging(ask(load(tiny("bert", "sequence")), "the food was not good but the staff were fine"))
    rows = Ranking.of(np.random.default_rng(0).normal(size=(30, 10)))
    for metric in (Infidelity(), SensitivityN()):
        metric.score_orders(metric.game(q, q.units("word")), rows)
    assert q.meter.forwards == q.meter.distinct <= 5 * 20 + 1
    gone = Infidelity().drawn(Infidelity().game(q, q.units("word")))
    other = Infidelity(seed=1).drawn(Infidelity().game(q, q.units("word")))
    assert any((a != b).any() for a, b in zip(gone, other))  # another seed draws other subsets


def test_what_has_no_value_says_nan():
    game, _ = planted(4)
    assert np.isnan(SensitivityN().score(game, np.zeros(4)))
    assert Infidelity().score(game, np.zeros(4)) == pytest.approx(
        1
    )  # zero says nothing, which is what 1 means
    flat = additive(weights=dict.fromkeys((40, 41, 42), 0.0))
    q = judging(ask(flat, Text(ids=(40, 41, 42)), Target(label="yes", against="no")))
    assert np.isnan(Infidelity().score(Infidelity().game(q, q.units("token")), np.ones(3)))
    one = judging(ask(flat, Text(ids=(40,)), Target(label="yes", against="no")))
    assert np.isnan(SensitivityN().score(SensitivityN().game(one, one.units("token")), np.ones(1)))


def test_subsets_are_distinct_and_of_their_size():
    rng = np.random.default_rng(0)
    assert list(spread_sizes(10, 5)) == [1, 3, 5, 7, 9] and list(spread_sizes(1, 5)) == [1]
    for n, k, most, many in ((5, 2, 20, 10), (12, 6, 20, 20), (40, 1, 20, 20), (1, 1, 20, 1)):
        found = subsets_of_size(n, k, most, rng)
        assert found.shape == (many, n) and (found.sum(1) == k).all()
        assert len({row.tobytes() for row in found}) == many
    share = np.mean([subsets_of_size(8, 3, 10, rng).mean(0) for _ in range(300)], axis=0)
    assert share == pytest.approx(3 / 8, abs=0.04)  # every unit is as likely as any other
