"""Log-odds: by hand, on what scale, and where it sees more than comprehensiveness does."""

import numpy as np
import pytest

from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.contract import Ranking, judging
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.faithfulness.log_odds import LogOdds
from exegete.models.ask import ask
from support.planted import additive

WEIGHTS = dict(zip((40, 41, 42, 43, 44), (3.0, 1.0, -2.0, 0.5, 2.0)))


def game(target):
    q = judging(ask(additive(weights=WEIGHTS), Text(ids=tuple(WEIGHTS)), target))
    return LogOdds().game(q, q.units("token"))


def logsigmoid(x):
    return -np.log1p(np.exp(-x))


def test_by_hand():
    """Whole the weights add up to 4.5; the first unit of five is a share of 0.2."""
    w = np.array(list(WEIGHTS.values()))
    one, two = game(Target(label="yes")), game(Target(label="yes", against="no"))
    assert LogOdds().score(one, w) == pytest.approx(logsigmoid(1.5) - logsigmoid(4.5), abs=1e-6)
    assert LogOdds(share=0.4).score(one, w) == pytest.approx(logsigmoid(-0.5) - logsigmoid(4.5), abs=1e-6)
    assert LogOdds().score(two, w) == pytest.approx(-3.0, abs=1e-6)  # a contrast of logits as it is


def test_the_truth_has_the_lowest_and_the_opposite_a_rise():
    w = np.array(list(WEIGHTS.values()))
    rows = Ranking.of(np.stack([w, *(np.random.default_rng(s).permutation(w) for s in range(20)), -w]))
    found = LogOdds().score_orders(game(Target(label="yes")), rows)
    assert found[0] == found.min() < 0 < found[-1] == found.max()


def test_it_sees_how_unlikely_an_answer_becomes():
    sunk = additive(weights={40: 60.0, 41: -20.0, 42: -50.0, 43: 25.0, 44: 1.0})
    q = judging(ask(sunk, Text(ids=(40, 41, 42, 43, 44)), Target(label="yes")))
    g = LogOdds().game(q, q.units("token"))
    rows = Ranking.of(np.eye(5)[[0, 3]])
    hidden = Comprehensiveness(bins=(0.2,)).score_orders(g, rows)
    assert np.ptp(hidden) < 1e-3 and np.ptp(LogOdds().score_orders(g, rows)) > 30
