"""Scores from a file: a method's own scores, written and read, are judged as the method itself; what does not fit is told."""

import json

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.target import Target
from exegete.core.text import Unit
from exegete.evaluate.given_scores import GivenScores
from exegete.evaluate.suite import evaluate
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny

TEXTS = ["we can do this", "the cat sat on the mat, or so", "he is not here"]


def write(tmp_path, rows, name="mine.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_what_a_method_says_is_judged_the_same_from_a_file(tmp_path):
    model, target = load(tiny("bert", "sequence")), Target(label=0)
    rows = []
    for text in TEXTS:
        a = Occlusion()(model, text, target)
        rows.append({"text": text, "tokens": [u.text for u in a.units], "scores": a.total.tolist()})
    (mine,) = GivenScores.read(write(tmp_path, rows))
    table = evaluate(model, TEXTS, [Occlusion(), mine], target=target, n_random=6)
    assert table.methods == ("occlusion", "mine", "random")
    np.testing.assert_allclose(table.values[0], table.values[1])
    for s in table.trusts[1].scores:
        assert s.control is None
        assert "from a file" in s.skipped
    assert table.trusts[1].scores[0].chance == pytest.approx(table.trusts[0].scores[0].chance)


def test_pieces_of_words_are_summed_into_units_and_wide_tokens_shared(tmp_path):
    q = ask(load(tiny("bert", "sequence")), "unable to go on", Target(label=0))
    rows = [
        {
            "text": "unable to go on",
            "tokens": ["un", "##able", "to", "Go on"],
            "scores": [1.0, 2.0, -1.0, 5.0],
        }
    ]
    (mine,) = GivenScores.read(write(tmp_path, rows))
    units = tuple(
        Unit(w, (i,), s, e)
        for i, (w, s, e) in enumerate([("unable", 0, 6), ("to", 7, 9), ("go", 10, 12), ("on", 13, 15)])
    )
    np.testing.assert_allclose(mine.attribute(q, units).total, [3, -1, 2.5, 2.5])


def test_a_text_without_a_row_is_a_failure_that_is_counted(tmp_path):
    model = load(tiny("bert", "sequence"))
    (mine,) = GivenScores.read(write(tmp_path, [{"text": TEXTS[0], "tokens": ["can"], "scores": [1]}]))
    table = evaluate(model, TEXTS[:2], [mine], ["comprehensiveness"], Target(label=0), n_random=6)
    assert (table.trusts[0].scores[0].n, table.trusts[0].scores[0].n_failed) == (1, 1)
    assert any("no row for this text" in f for f in table.failures)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "a b", "tokens": ["a"], "scores": [1, 2]}, "1 tokens and 2 scores"),
        ({"text": "a b", "tokens": ["a", "b"], "scores": [1, float("nan")]}, "no finite number"),
        ({"text": "a b", "tokens": ["b", "a"], "scores": [1, 2]}, "'a', which does not stand"),
        ({"text": "a b", "tokens": "ab", "scores": [1]}, "no lists"),
        ({"tokens": ["a"], "scores": [1]}, "no text"),
    ],
)
def test_letters(tmp_path, row, words):
    with pytest.raises(InputError, match=words):
        GivenScores.read(write(tmp_path, [row]))


def test_the_same_text_twice_is_told(tmp_path):
    row = {"text": "a b", "tokens": ["a"], "scores": [1], "method": "x"}
    with pytest.raises(InputError, match="again for 'x'"):
        GivenScores.read(write(tmp_path, [row, row]))
    assert [m.row for m in GivenScores.read(write(tmp_path, [row, row | {"method": "y"}]))] == ["x", "y"]
