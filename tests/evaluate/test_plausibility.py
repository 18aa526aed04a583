"""Plausibility in the suite: planted marks on top, the random row at chance, people beside it, missing marks counted."""

import numpy as np
import pytest

from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.contract import Ranking, faithfulness_metrics, plausibility_metrics
from exegete.evaluate.plausibility.auprc import Auprc
from exegete.evaluate.plausibility.iou_f1 import IouF1
from exegete.evaluate.plausibility.token_f1 import TokenF1, TokenPrecision, TokenRecall
from exegete.evaluate.suite import evaluate
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.load import load
from exegete.models.tiny import tiny

GOLD = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)


class Marks(Occlusion):
    """Scores a unit by its length: long words are marked below."""

    id = "marks"

    def attribute(self, q, units):
        return Scores(total=np.array([float(len(u.text)) for u in units]))


class Shorts(Marks):
    """The opposite."""

    id = "shorts"

    def attribute(self, q, units):
        return Scores(total=-super().attribute(q, units).total)


def told(text, *annotators):
    """A rationale of words: each annotator's list of words of the text."""
    marks = tuple(tuple((text.index(w), text.index(w) + len(w)) for w in words) for words in annotators)
    return Rationale(text=Text(text=text), marks=marks)


TEXTS = [
    told("we can do extraordinary work", ["extraordinary"], ["extraordinary", "work"]),
    told("the wonderful cat sat on it", ["wonderful"], ["wonderful"]),
    told("go to an elaborate party", ["elaborate"], ["elaborate", "party"]),
    told("he is at a magnificent lake", ["magnificent"], []),
    told("a horrible old hat is here", ["horrible"], ["horrible"]),
    told("it was in the beautiful city", ["beautiful"], ["beautiful", "city"]),
]


@pytest.fixture(scope="module")
def table():
    return evaluate(
        load(tiny("bert", "sequence")), TEXTS, [Marks(), Shorts()], target=Target(label=0), seed=3
    )


def cell(table, method, metric):
    return table.trusts[table.methods.index(method)].scores[table.metrics.index(metric)]


def test_planted_marks_win_and_their_opposite_loses(table):
    assert table.methods == ("marks", "shorts", "rationale", "random")
    for m in plausibility_metrics():
        good, bad, guess = (cell(table, name, m.id) for name in ("marks", "shorts", "random"))
        assert good.beats_chance, good
        assert not bad.beats_chance, bad
        assert abs(guess.percentile - 50) < 30
        assert good.n == 6
    assert cell(table, "marks", "pointing_game").value == 1


def test_people_are_held_against_each_other_and_those_without_a_second_are_undefined(table):
    told = cell(table, "rationale", "token_f1")
    assert (told.n, told.n_failed) == (5, 1)  # one text has one annotator who marked something
    same, nested = 1.0, 2 / 3  # one word against that and another: all of one, half of the other
    assert told.value == pytest.approx(np.mean([same, same, nested, nested, nested]))
    assert cell(table, "rationale", "comprehensiveness").n == 6


def test_people_choose_what_they_marked_and_no_word_more():
    """Filled up in the order of the text to as many as the other marked, the first words would be theirs as well."""
    gold = np.array([[0, 0, 0, 1, 0, 0], [1, 1, 0, 1, 0, 0]], dtype=bool)
    assert TokenF1().ceiling(gold) == pytest.approx(2 / 4)
    assert TokenPrecision().ceiling(gold) == pytest.approx(np.mean([1, 1 / 3]))
    assert TokenRecall().ceiling(gold) == pytest.approx(np.mean([1 / 3, 1]))
    assert IouF1().ceiling(gold) == pytest.approx(np.mean([2 * 1 * 0.5 / 1.5] * 2))
    assert np.isnan(TokenF1().ceiling(gold[:1]))


def test_by_hand():
    one = Ranking.of(np.array([[0.9, 0.1, 0.5, 0.0, 0.0]]))  # first, third, second
    assert TokenF1().score_orders(GOLD, one) == pytest.approx(np.mean([1 / 2, 1.0]))
    assert TokenPrecision(share=0.4).score_orders(GOLD, one) == pytest.approx(np.mean([1 / 2, 1 / 2]))
    assert TokenRecall(share=0.4).score_orders(GOLD, one) == pytest.approx(np.mean([1 / 2, 1.0]))
    # first row: recall 0 at 1, 1/2 at 1, 1/2 at 1/2, 1 at 2/3; second row: found at once
    area = 0.5 * 1 + 0.5 * (1 / 2 + 2 / 3) / 2
    assert Auprc().score_orders(GOLD, one) == pytest.approx(np.mean([area, 1.0]))
    assert np.isnan(Auprc().score_orders(GOLD[2:], one))


def test_texts_without_marks_are_failures_that_are_listed():
    model = load(tiny("bert", "sequence"))
    table = evaluate(
        model, [TEXTS[0], "no marks here at all"], [Marks()], ["token_f1"], target=Target(label=0)
    )
    assert (cell(table, "marks", "token_f1").n, cell(table, "marks", "token_f1").n_failed) == (1, 1)
    assert any("Nobody marked" in f for f in table.failures)


def test_whole_tables_say_which_metrics_tell_and_which_methods_differ(table):
    told_apart = {s.name: s for s in table.diagnosticity}
    assert len(told_apart) == len(faithfulness_metrics()) + len(plausibility_metrics())
    # one method is right and one is its opposite: together they stand at chance, and so does the random row
    assert told_apart["diagnosticity of auprc"].value == pytest.approx(0.5, abs=0.1)
    gap = next(d for d in table.differences if d.metric == "auprc")
    assert (gap.first, gap.second) == ("marks", "shorts")
    assert gap.mean > 0.3
    assert gap.p < 0.05
    i = table.metrics.index("auprc")
    np.testing.assert_allclose(table.values[0, i].mean(), cell(table, "marks", "auprc").value)


def test_a_rationale_without_a_second_one_is_no_failure():
    table = evaluate(
        load(tiny("bert", "sequence")), [told("a horrible old hat is here", ["horrible"])] * 2, [Marks()], ["auprc"],
        Target(label=0),
    )  # fmt: skip
    alone = cell(table, "rationale", "auprc")
    assert (alone.n, alone.n_failed) == (0, 0)
    assert "no other's rationale" in alone.verdict
    assert table.failures == ()
    plain = evaluate(
        load(tiny("bert", "sequence")), ["no marks", TEXTS[0]], [Marks()], ["auprc", "seed_stability"], Target(label=0)
    )  # fmt: skip
    once = cell(plain, "rationale", "seed_stability")
    assert (once.n, once.n_failed) == (0, 0)
    assert "once" in once.verdict
    none = evaluate(load(tiny("bert", "sequence")), ["no marks"], [Marks()], ["auprc"], Target(label=0))
    missing = cell(none, "random", "auprc")
    assert (missing.n, missing.n_failed) == (0, 1)  # a random row that cannot be scored is one
