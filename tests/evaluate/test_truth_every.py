"""The truth board: every method is scored, or listed with the reason; noise is judged beside them."""

import json

import numpy as np
import pytest

import exegete as xg
from exegete.cli.main import dispatch as run
from exegete.core.errors import UnknownName, UsageError
from exegete.core.figure import Grid
from exegete.core.method import Method
from exegete.core.registry import METHODS
from exegete.core.results.truth import WORDS_ON_TOP, TruthBoard
from exegete.core.store import open_result
from exegete.evaluate.truth import truth_board
from exegete.evaluate.truth.attributions import NOISE
from exegete.evaluate.truth.marked_texts import marked
from exegete.evaluate.truth.planted import planted
from exegete.evaluate.truth.study_truths import STUDY_TRUTHS
from exegete.evaluate.truth.wanted import BY_VERB, wanted
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.methods.contracts.study import Study


class Steps:
    """Progress that counts."""

    def __init__(self):
        self.total, self.done = 0, 0

    def start(self, total, words):
        self.total += total

    def advance(self, n=1):
        self.done += n

    def stop(self):
        pass


def test_a_board_holds_every_method_once_and_opens_again(tmp_path):
    steps = Steps()
    board = truth_board(
        ["occlusion", "raw_attention", "source_share", "biased_context"], ["additive", "token in context"], 6, progress=steps
    )  # fmt: skip
    scored = {r.method for r in board.rows}
    assert scored == {"occlusion", "raw_attention", NOISE}
    assert {m for m, _, _ in board.unscored} == {"source_share", "biased_context"}
    why = {m: w for m, _, w in board.unscored}
    assert "causal" in why["source_share"]
    assert steps.done > 0 and steps.total >= steps.done
    own = {(r.method, r.truth): r for r in board.rows if r.score.name == WORDS_ON_TOP}
    assert own["occlusion", "additive"].score.value == 1.0
    assert own["occlusion", "additive"].passes > 10
    assert not own["raw_attention", "additive"].score.beats_control
    assert "2 of 4 methods" in board.lede
    assert "raw_attention" in board.lede
    assert all(c.passed for c in board.checks) and len(board.checks) == 2
    board.save(tmp_path / "board.exg")
    again = open_result(tmp_path / "board.exg")
    assert isinstance(again, TruthBoard)
    grid = again.figures()[0]
    assert isinstance(grid, Grid)
    assert grid.rows[0] == "occlusion"
    assert grid.columns == ("additive", "token in context")
    assert np.array_equal(grid.values[0], [1.0, 1.0])
    assert (0, 0) in grid.marked and (0, 1) in grid.marked
    xg.show(again)


def test_every_registered_method_has_a_truth_or_a_word_about_the_one_it_needs():
    for _, cls in METHODS:
        assert issubclass(cls, Method)
        if not issubclass(cls, AttributionMethod) and cls.id not in STUDY_TRUTHS:
            assert wanted(cls()).startswith("not scored here: ")
            assert "of its own kind" not in wanted(cls())
    verbs = {c.verb for _, c in METHODS if issubclass(c, Study)}
    assert {"probe", "neurons", "features", "concept", "edit"} <= verbs & set(BY_VERB)


def test_shuffled_labels_are_the_same_texts_and_as_many_of_each_class():
    what = planted("additive")
    own, other = marked(what, 1, False), marked(what, 1, True)
    assert [m.text for m in own] == [m.text for m in other]
    assert sorted(m.labels[0] for m in own) == sorted(m.labels[0] for m in other)
    assert [m.labels[0] for m in own] != [m.labels[0] for m in other]


def test_letters():
    with pytest.raises(UsageError, match="no interval"):
        truth_board(["occlusion"], n_texts=1)
    with pytest.raises(UnknownName, match="occlusion"):
        truth_board(["oclusion"])
    with pytest.raises(UnknownName, match="additive"):
        truth_board(["occlusion"], ["aditive"])


def test_the_command_line(capsys):
    assert run(["evaluate", "--truth", "--methods", "biased_context", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unscored"][0][0] == "biased_context"
    with pytest.raises(UsageError, match="its own models"):
        run(["evaluate", "--truth", "the film was good"])
