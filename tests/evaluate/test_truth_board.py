"""Findings against known circuits: right, wrong and guessed scores get what they deserve."""

from functools import cache

import numpy as np
import pytest

import exegete as xg
from exegete.core.errors import UnknownName, UsageError
from exegete.core.store import open_result
from exegete.evaluate.truth import against_gold, circuit_board, compiled, compiled_names, truth_board
from exegete.evaluate.truth.board import usual_methods
from exegete.methods.mechanisms.acdc import ACDC
from exegete.methods.mechanisms.node_patching import NodePatching

LEAN = {"n_draws": 1, "n_dropped": 1, "n_sizes": 2}


@cache
def found():
    gold = compiled("copy")
    return ACDC.build(LEAN)(gold.model, gold.pairs(4)), gold


def truth():
    f, gold = found()
    return np.array([(f.nodes[w], f.readers[r]) in gold.edges for w, r in f.edges])


def told(scores, kept=None):
    f, gold = found()
    kept = f.kept if kept is None else kept
    return {s.name: s for s in against_gold(f.model_copy(update={"scores": scores, "kept": kept}), gold)}


def test_a_right_order_scores_one_and_the_reverse_nothing():
    score = told(truth() * -2.0)["AUROC of edges"]  # the sign does not matter
    assert (score.value, score.chance) == (1.0, 0.5)
    assert score.interval == pytest.approx((0.025 ** (1 / 3), 1.0))  # three gold edges are no proof of all
    assert score.n == 110
    assert score.beats_chance
    assert score.beats_control
    reverse = told(np.where(truth(), 0.1, 1.0))["AUROC of edges"]
    assert reverse.value == 0.0
    assert not reverse.beats_chance


def test_guesses_score_one_half_and_hardly_ever_beat_the_control():
    rng = np.random.default_rng(0)
    scores = [told(rng.normal(size=110))["AUROC of edges"] for _ in range(20)]
    assert abs(np.mean([s.value for s in scores]) - 0.5) < 0.12
    assert sum(bool(s.beats_control) for s in scores) <= 1
    assert sum(bool(s.beats_chance) for s in scores) <= 1
    assert all(s.control > 0.7 for s in scores)  # 3 gold edges of 110: a lucky order looks good


def test_precision_and_recall_of_what_is_kept():
    kept = np.zeros(110, dtype=bool)
    kept[np.flatnonzero(truth())[:2]] = True
    kept[np.flatnonzero(~truth())[:6]] = True
    scores = told(np.ones(110), kept)
    assert scores["precision of kept edges"].value == 2 / 8
    assert scores["precision of kept edges"].chance == pytest.approx(3 / 110)
    assert scores["recall of gold edges"].value == pytest.approx(2 / 3)
    assert scores["recall of gold edges"].chance == pytest.approx(8 / 110)
    assert scores["precision of kept edges"].beats_chance and scores["recall of gold edges"].beats_chance
    nothing = told(np.ones(110), kept & False)
    none = nothing["precision of kept edges"]
    assert np.isnan(none.value) and (none.n, none.n_failed) == (0, 1)
    assert nothing["recall of gold edges"].value == 0.0


def test_one_lucky_edge_among_many_kept_does_not_beat_chance():
    """1 of 30 kept edges is gold, where 3 of 110 are: a higher share, which a third of all random sets has too."""
    kept = np.zeros(110, dtype=bool)
    kept[np.flatnonzero(truth())[:1]] = True
    kept[np.flatnonzero(~truth())[:29]] = True
    lucky = told(np.ones(110), kept)["precision of kept edges"]
    assert lucky.value > lucky.chance and not lucky.beats_chance


def test_a_finding_of_another_model_or_kind_is_refused():
    f, gold = found()
    with pytest.raises(UsageError, match="another model"):
        against_gold(f, compiled("comparison"))
    lens = xg.study("terrarium/decoder", "logit_lens", "the small dog saw a bird")
    with pytest.raises(UsageError, match="neither"):
        against_gold(lens, gold)
    with pytest.raises(UsageError, match="words of a text"):
        circuit_board({"occlusion": xg.Occlusion()}, ("copy",), 2)
    with pytest.raises(UnknownName, match="copy"):
        circuit_board({}, ("coppy",))


def test_a_board_of_two_methods_on_two_models(tmp_path):
    board = circuit_board({"ACDC": ACDC.build(LEAN), "nodes": NodePatching()}, ("copy", "comparison"), 6)
    assert np.array_equal(board.auroc, np.ones((2, 2)))
    assert np.array_equal(board.recall[0], [1.0, 1.0])
    assert np.isnan(board.recall[1]).all()
    assert (board.gold.tolist(), board.total.tolist()) == ([3, 5], [110, 110])
    assert board.trust.scores[0].name == "ACDC on copy: AUROC of edges"
    assert "ACDC 1.000 (least 1.000" in board.lede
    board.save(tmp_path / "board.xg")
    again = open_result(tmp_path / "board.xg")
    assert np.array_equal(again.auroc, board.auroc)
    assert [type(x).__name__ for x in again.figures()] == ["Grid", "Table"]
    xg.show(again)


def test_the_usual_methods_are_named_as_papers_name_them():
    assert list(usual_methods()) == ["EAP", "EAP-IG", "ACDC", "node patching"]
    assert len(compiled_names()) == 6


def test_a_method_of_circuits_that_fails_is_listed_and_the_board_goes_on(monkeypatch):
    calls = []

    def broken(self, lab, items, target):
        calls.append(1)
        if len(calls) % 2:
            raise ZeroDivisionError("planted")
        return real(self, lab, items, target)

    real = NodePatching.study
    monkeypatch.setattr(NodePatching, "study", broken)
    board = truth_board(["node_patching"])
    (row,) = board.rows
    assert (row.score.n, row.score.n_failed) == (3, 3)
    assert row.score.interval[0] <= row.score.value <= row.score.interval[1] <= 1
    told = {m: why for m, _, why in board.unscored}
    assert "planted" in told["node_patching"]
