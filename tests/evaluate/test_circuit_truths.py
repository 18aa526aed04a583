"""Truths on compiled circuits: the methods find what was put in, and a method that knows nothing does not."""

import numpy as np
import pytest

from exegete.evaluate.truth import circuit_truths
from exegete.evaluate.truth.ranked import Ranked, overlap, ranked_row
from exegete.evaluate.truth.study_truth import Draw, truth_row
from exegete.evaluate.truth.study_truths import STUDY_TRUTHS
from exegete.methods.mechanisms.composition import CompositionStudy
from support.spoilt import Kept, blind

FEW = ("induction", "comparison")
MANY = (
    "activation_patching",
    "attribution_patching",
    "path_patching",
)  # findings whose spoilt scores are guesses of many parts


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(circuit_truths, "PAIRS", 6)
    monkeypatch.setattr(circuit_truths, "models", lambda: tuple(circuit_truths.made(n) for n in FEW))


@pytest.mark.parametrize("name", sorted(circuit_truths.TRUTHS))
def test_what_was_put_in_is_found_and_a_method_that_knows_nothing_does_not_find_it(name, few, monkeypatch):
    kept = Kept()
    monkeypatch.setattr(circuit_truths, "told", kept)
    row, other = blind(STUDY_TRUTHS[name].ask, kept)
    assert row.method == name
    assert row.truth == STUDY_TRUTHS[name].name
    assert row.score.value > 0.95
    assert row.passes > 0
    assert row.score.beats_chance
    if name in MANY:
        assert other < row.score.value - 0.1


def test_the_rules_of_the_heads_agree_with_their_answers():
    for name in circuit_truths.COPIERS:
        for p in circuit_truths.made(name).pairs(12):
            if "third" in p.id:
                continue
            words = (p.clean.text or "").split()
            assert words[circuit_truths.looks_at(name, words) - 1] == p.answer


def test_gold_is_read_from_the_edges():
    c = circuit_truths.made("indirect_object")
    assert circuit_truths.heads_of(c) == {(0, 0), (1, 3), (2, 1)}
    assert circuit_truths.compositions(c) == {
        ("k", "0.h0", "1.h3"),
        ("v", "0.h0", "1.h3"),
        ("q", "1.h3", "2.h1"),
    }
    assert circuit_truths.receivers(c)["2.h1.q"] == {"1.h3"}


def test_a_ranking_that_is_right_scores_one_and_guesses_do_not_beat_the_control():
    gold = np.arange(12) < 2
    right = [Ranked(str(i), gold * 1.0, gold) for i in range(4)]
    row = ranked_row(CompositionStudy(), "t", "m", right, 0)
    assert row.score.value == 1.0 and row.score.beats_chance and row.score.beats_control
    assert row.score.interval == pytest.approx((0.025 ** (1 / 8), 1.0))  # four cases of two gold parts
    rng = np.random.default_rng(0)
    won = [
        ranked_row(
            CompositionStudy(), "t", "m", [Ranked(str(i), rng.normal(size=12), gold) for i in range(4)], k
        )
        for k in range(10)
    ]
    assert sum(bool(r.score.beats_control) for r in won) <= 1
    assert sum(bool(r.score.beats_chance) for r in won) <= 1
    lucky = [Ranked(str(i), np.array([2.0, 1.0]), np.array([True, False])) for i in range(3)]
    assert not ranked_row(
        CompositionStudy(), "t", "m", lucky, 0
    ).score.beats_chance  # one order in eight is as good
    left_out = Ranked("x", np.where(gold, np.nan, 0.5), gold)
    assert ranked_row(CompositionStudy(), "t", "m", [left_out], 0).score.value == 0.0


def test_overlap_and_failed_draws():
    assert overlap({1, 2}, {2, 3}) == 0.5
    assert overlap((), ()) == 1.0
    assert overlap({1}, ()) == 0.0
    row = truth_row(CompositionStudy(), "t", "m", [Draw(1.0), Draw(float("nan")), Draw(1.0)], 0.5)
    assert (row.score.n, row.score.n_failed, row.score.control) == (2, 1, None)
    assert row.score.skipped


def test_few_draws_that_are_all_right_are_no_proof():
    """Two of two are reached by one coin in four, six of six by one in 64; and differing draws are no surer than equal ones."""
    few, many = (truth_row(CompositionStudy(), "t", "m", [Draw(1.0)] * n, 0.5).score for n in (2, 6))
    assert few.interval == pytest.approx((0.025 ** (1 / 2), 1.0)) and not few.beats_chance
    assert many.interval == pytest.approx((0.025 ** (1 / 6), 1.0)) and many.beats_chance
    each = truth_row(CompositionStudy(), "t", "m", [Draw(1.0, trials=3)] * 2, 0.5).score
    assert each.interval == many.interval
    apart = truth_row(CompositionStudy(), "t", "m", [Draw(x, trials=40) for x in (1.0, 0.6, 0.8)], 0.5).score
    assert apart.interval[0] < 0.4 and not apart.beats_chance
    near = [Draw(x, x - 0.1 - i / 100) for i, x in enumerate((0.5, 0.7, 0.9))]
    by_mean, by_draw = (
        truth_row(CompositionStudy(), "t", "m", near, 0.5, "c", paired=p).score for p in (False, True)
    )
    assert by_draw.beats_control and not by_mean.beats_control
