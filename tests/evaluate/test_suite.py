"""`evaluate`: each cell against judging text by text, planted truth on top, the random row at chance, failures counted."""

from typing import ClassVar

import numpy as np
import pytest

from exegete.core.errors import UnknownName
from exegete.core.request import Text
from exegete.core.store import open_result
from exegete.core.target import Target
from exegete.evaluate.contract import FaithfulnessMetric, Ranking, faithfulness_metrics, judging, metric_of
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.suite import evaluate
from exegete.evaluate.trust import orders
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.randomise import Randomiser
from exegete.models.tiny import tiny
from support.planted import additive, some_ids

TEXTS = ["the food was not good but fine", "", "a long and slow evening", "fine"]


class Flat(Occlusion):
    """Gives every unit the same score."""

    id: ClassVar[str] = "flat"

    def attribute(self, q, units):
        return Scores(total=np.ones(len(units)))


class Upside(Occlusion):
    """Occlusion, turned over: wrong by construction."""

    id: ClassVar[str] = "upside"

    def attribute(self, q, units):
        return Scores(total=-super().attribute(q, units).total)


class NotANumber(Occlusion):
    """Gives no numbers."""

    id: ClassVar[str] = "nan"

    def attribute(self, q, units):
        return Scores(total=np.full(len(units), np.nan))


@pytest.fixture(scope="module")
def model():
    return load(tiny("bert", "sequence"))


def cell(table, method, metric):
    return next(s for s in table.trusts[table.methods.index(method)].scores if s.name == metric)


def test_planted_truth_beats_chance_by_every_metric_and_its_opposite_by_none():
    model = additive()
    texts = [Text(ids=some_ids(model, 9, s)) for s in range(12)]
    table = evaluate(model, texts, [Occlusion(), Upside()], target=Target(label="yes"), unit="token")
    assert table.methods == ("occlusion", "upside", "random")
    for metric in table.metrics:
        good, bad, guess = (cell(table, m, metric) for m in table.methods)
        # two of the texts say "no", which taking away what speaks for "yes" never turns: worse than a guess there
        assert (good.beats_chance or metric == "decision_flip_fraction") and good.percentile > 60, good
        assert not bad.beats_chance, bad
        assert guess.interval[0] <= guess.chance <= guess.interval[1] or abs(guess.percentile - 50) < 25, (
            guess
        )
        # two of the texts say "no": soft metrics are not defined where nothing says as much as the text
        assert (good.n, good.n_failed) == ((10, 2) if metric.startswith("soft_") else (12, 0))


def test_each_cell_is_the_mean_of_what_the_metric_says_text_by_text(model):
    metrics = faithfulness_metrics()
    table = evaluate(model, TEXTS, ["occlusion"], n_random=6, seed=4)
    maker = Randomiser(4)
    for metric in metrics:
        values, chances, controls = [], [], []
        for text in (t for t in TEXTS if t):
            q = ask(model, text)
            units, a = q.units("word"), Occlusion()(model, text)
            game = metric.game(judging(q), units)
            drawn = Ranking.random(a.total, orders(judging(q), units, 6, 4))
            values.append(metric.score(game, a.total))
            if np.isfinite(values[-1]):
                chances.append(np.mean(metric.score_orders(game, drawn)))
            twin = Occlusion()(maker(model), text, Target(label=q.target))
            controls.append(metric.score(game, twin.total))
        found = cell(table, "occlusion", metric.id)
        assert found.value == pytest.approx(np.nanmean(values), abs=1e-4), metric.id
        assert found.control == pytest.approx(np.nanmean(controls), abs=1e-4), metric.id
        assert found.chance == pytest.approx(np.mean(chances), abs=1e-4), metric.id
        assert found.n == np.isfinite(values).sum() and found.n + found.n_failed == len(TEXTS)


def test_failures_are_counted_and_listed(model):
    class Fails(Comprehensiveness):
        id: ClassVar[str] = "fails"

        def score_orders(self, game, ranking):
            raise ValueError("not today")

    table = evaluate(
        model,
        TEXTS,
        [Occlusion(), Flat(), NotANumber()],
        ["comprehensiveness", "correlation", Fails()],
        n_random=4,
    )
    listed = "\n".join(table.failures)
    assert "text 2 ('')" in listed and "fails on text 1" in listed and "not today" in listed
    assert (
        "nan on text 1" in listed
        and "flat: correlation is not defined on 3 of 4 texts (all scores are equal" in listed
    )
    assert (
        cell(table, "occlusion", "comprehensiveness").n,
        cell(table, "occlusion", "comprehensiveness").n_failed,
    ) == (3, 1)
    assert cell(table, "occlusion", "fails").n == 0 and np.isnan(cell(table, "occlusion", "fails").value)
    assert (cell(table, "nan", "comprehensiveness").n, cell(table, "nan", "comprehensiveness").n_failed) == (
        0,
        4,
    )
    assert cell(table, "flat", "correlation").n == 0


def test_passes_do_not_grow_with_methods_and_metrics_beyond_their_inputs(model):
    """Every metric at once costs at most what they cost alone, and a method scored twice costs no judging at all."""
    one = {
        m.id: evaluate(model, TEXTS[0], [Occlusion()], [m], trust="fast").cost for m in faithfulness_metrics()
    }
    base = Occlusion()(model, TEXTS[0]).cost.forwards
    together = evaluate(model, TEXTS[0], [Occlusion()], trust="fast").cost
    assert together.forwards - base < 0.6 * sum(c.forwards - base for c in one.values())
    again = evaluate(model, TEXTS[0], [Occlusion(), Occlusion(removal="mask")], trust="fast").cost
    assert again.forwards - together.forwards <= 2  # the second one's self-checks


def test_fast_leaves_the_control_out_and_says_so(model):
    table = evaluate(model, TEXTS[0], ["occlusion"], ["comprehensiveness"], trust="fast")
    assert cell(table, "occlusion", "comprehensiveness").control is None
    assert "fast" in cell(table, "occlusion", "comprehensiveness").skipped
    assert "no model" in cell(table, "random", "comprehensiveness").skipped
    with pytest.raises(UnknownName):
        evaluate(model, TEXTS[0], ["occlusion"], trust="none")


def test_metrics_of_one_kind_are_told_apart_by_their_parameters(model):
    both = [Comprehensiveness(removal="mask"), Comprehensiveness(removal="delete")]
    table = evaluate(model, TEXTS[0], ["occlusion"], both, trust="fast")
    assert table.metrics == ("comprehensiveness(removal=mask)", "comprehensiveness(removal=delete)")
    a, b = (cell(table, "occlusion", m).value for m in table.metrics)
    assert a != b and isinstance(metric_of("comprehensiveness"), FaithfulnessMetric)


def test_it_is_saved_and_opened_and_repeats(model, tmp_path):
    tables = [evaluate(model, TEXTS, ["occlusion"], ["sufficiency"], n_random=4) for _ in range(2)]
    assert [t.scores for t in tables[0].trusts] == [t.scores for t in tables[1].trusts]
    assert open_result(tables[0].save(str(tmp_path / "t.exg"))) == tables[0]
