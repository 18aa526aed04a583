"""One way of removal for a whole suite: which metrics take it, what is said, and what is refused before any work."""

import numpy as np
import pytest

from exegete.core.errors import ModelError, UnknownName, UsageError
from exegete.evaluate.contract import Ranking, faithfulness_metrics, judging, plausibility_metrics
from exegete.evaluate.faithfulness.comprehensiveness import Comprehensiveness
from exegete.evaluate.faithfulness.soft_comprehensiveness import SoftComprehensiveness
from exegete.evaluate.removals import removing
from exegete.evaluate.suite import evaluate
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny

TEXT = "the food was not good"


@pytest.fixture(scope="module")
def classifier():
    return load("terrarium/sentiment")


def test_every_metric_that_can_takes_it_and_others_are_named(classifier):
    metrics = (*faithfulness_metrics(), *plausibility_metrics())
    chosen, notes = removing(classifier, metrics, "delete", None)
    assert (
        notes[0] == "Units are removed by delete." and "soft_comprehensiveness, soft_sufficiency" in notes[1]
    )
    for old, new in zip(metrics, chosen):
        if "delete" in getattr(old, "removals", ()):
            assert new.removal == "delete" and new.model_copy(update={"removal": "auto"}) == old
        else:
            assert new == old
    assert removing(classifier, metrics, None, None) == (metrics, ())


def test_an_infiller_alone_means_infill_and_is_told(classifier):
    chosen, notes = removing(classifier, (Comprehensiveness(),), None, "terrarium/encoder")
    assert (chosen[0].removal, chosen[0].infiller) == ("infill", "terrarium/encoder")
    assert "terrarium/encoder draws" in notes[0]
    assert "terrarium/encoder draws" in removing(classifier, (Comprehensiveness(),), "infill", None)[1][0]


def test_the_suite_scores_what_the_game_gives(classifier):
    table = evaluate(
        classifier,
        [TEXT],
        [Occlusion()],
        ["comprehensiveness", "soft_comprehensiveness"],
        removal="infill",
        trust="fast",
        n_random=2,
    )
    q = ask(classifier, TEXT)
    metric = Comprehensiveness(removal="infill")
    scores = Occlusion().attribute(q, q.units("word")).total
    by_hand = metric.score_orders(metric.game(judging(q), q.units("word")), Ranking.of(scores))[0]
    assert table.trusts[0].scores[0].value == pytest.approx(by_hand, abs=1e-6)
    assert any("infill" in n for n in table.notes)
    mask = evaluate(classifier, [TEXT], [Occlusion()], ["comprehensiveness"], trust="fast", n_random=2)
    assert not np.isclose(mask.trusts[0].scores[0].value, by_hand)


def test_what_cannot_be_is_refused_before_any_work(classifier):
    one = (Comprehensiveness(),)
    with pytest.raises(UnknownName):
        removing(classifier, one, "erase", None)
    with pytest.raises(UsageError, match="Nothing is filled in then"):
        removing(classifier, one, "mask", "terrarium/encoder")
    with pytest.raises(UsageError, match="None of the metrics does"):
        removing(classifier, (*plausibility_metrics(), SoftComprehensiveness()), "delete", None)
    with pytest.raises(ModelError, match="no language model was named"):
        removing(load(tiny("bert", "sequence")), one, "infill", None)
    with pytest.raises(ModelError, match="does not predict words"):
        removing(classifier, one, "infill", "terrarium/sentiment")
