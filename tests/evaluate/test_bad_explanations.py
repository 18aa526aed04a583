"""What cannot be judged gets a letter that says which text, which word, which model; and never a number."""

import json

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.rationale import Rationale
from exegete.core.read_rationales import read_rationales
from exegete.core.request import Text
from exegete.evaluate.contract import Ranking, faithfulness_metrics, judging, plausibility_metrics
from exegete.evaluate.suite import evaluate
from exegete.evaluate.trust import judge
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.attribution.saliency import Saliency
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted import additive

TEXT = "the film was great"


@pytest.fixture(scope="module")
def model():
    return load(tiny("bert", "sequence"))


def test_an_explanation_of_another_model_is_refused(model):
    """Even where its text is cut into as many tokens."""
    other = additive()
    a = explain(Occlusion(), ask(other, TEXT), "word", False)
    with pytest.raises(InputError, match=r"made for other weights") as e:
        judge(ask(model, TEXT), a, Occlusion(), "fast")
    assert model.name in e.value.asked
    assert judge(ask(other, TEXT), a, Occlusion(), "fast").scores
    nameless = a.model_copy(update={"provenance": type(a.provenance)()})
    assert judge(ask(model, TEXT), nameless, Occlusion(), "fast").scores


def test_an_explanation_of_another_text_or_length_is_refused(model):
    a = explain(Saliency(), ask(model, TEXT + " people never sat"), "word", False)
    with pytest.raises(InputError, match="do not fit a text of"):
        judge(ask(model, "film"), a, Saliency(), "fast")
    short = a.model_copy(update={"total": a.total[:2]})
    with pytest.raises(InputError, match="with 2 scores"):
        judge(ask(model, TEXT + " people never sat"), short, Saliency(), "fast")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_never_judged(model, bad):
    with pytest.raises(InputError, match="1 of its scores are NaN or infinite"):
        Ranking.of(np.array([1.0, bad, 2.0]))
    a = explain(Saliency(), ask(model, TEXT), "word", False)
    spoilt = a.model_copy(update={"total": np.array([1.0, bad, 2.0, 0.0])})
    line = judge(ask(model, TEXT), spoilt, Saliency(), "fast")
    assert line.scores == () and "NaN or infinite" in line.notes[0]


def test_a_metric_without_gold_is_a_letter(model):
    q = judging(ask(model, TEXT))
    for metric in plausibility_metrics():
        with pytest.raises(InputError, match="Nobody marked what matters"):
            metric.ground(q, q.units("word"), None)
    assert faithfulness_metrics()[0].ground(q, q.units("word"), None).n == 4


def test_a_mark_that_meets_no_word_names_text_annotator_and_word(model):
    """The text is cut before the mark; the other text is scored, and the failure is counted."""
    long = "film " * 400 + "great"
    items = [
        Rationale(
            text=Text(text=long, truncate=True), marks=(((2000, 2005),),), annotators=("ann",), id="review 7"
        ),
        Rationale(text=Text(text=TEXT), marks=(((13, 18),),)),
    ]
    q = ask(model, items[0].text)
    with pytest.raises(InputError) as e:
        items[0].gold(q.units("word"))
    assert "by annotator ann (review 7)" in e.value.asked and "'great' (2000 to 2005)" in e.value.found
    table = evaluate(model, items, [Saliency()], ["token_f1"], trust="fast")
    score = table.trusts[0].scores[0]
    assert (score.n, score.n_failed) == (1, 1)
    assert any("'great' (2000 to 2005)" in f for f in table.failures)


def test_nothing_left_to_judge_on_is_a_letter(tmp_path):
    path = tmp_path / "empty.jsonl"
    rows = [{"text": "a b", "marks": []}, {"text": "c d", "marks": [[]]}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"None of its 2 rows can be used \(Line 1: nothing is marked\)"):
        read_rationales(str(path))
    with pytest.raises(InputError, match="There is no text"):
        evaluate(load(tiny("bert", "sequence")), [], [Saliency()], ["auprc"])
