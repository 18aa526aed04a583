"""Questions from files: own rows and published ones, with letters for what does not fit."""

import json

import pytest

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.read_questions import read_questions
from support.data import shared_data


def written(tmp_path, rows, name="q.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(map(json.dumps, rows)) if isinstance(rows, list) else json.dumps(rows))
    return str(path)


def test_own_rows(tmp_path):
    rows = [
        {
            "question": "is it?",
            "options": ["yes", "no"],
            "answer": "no",
            "steps": "one.\ntwo.",
            "parts": [["a?", "b"]],
        }
    ]
    (q,), skipped = read_questions(written(tmp_path, rows))
    assert q == Choice(
        question="is it?", options=("yes", "no"), answer="no", steps=("one.", "two."), parts=(("a?", "b"),)
    )
    assert skipped == ()


def test_published_forms_by_hand(tmp_path):
    listed = {"input": "Which?\nOptions:\n(A) one\n(B) two", "target": "(B)"}
    lost = {"input": "Which?\nOptions:\n(A) one\n(B) two", "target": "(C)"}
    found, skipped = read_questions(written(tmp_path, {"examples": [listed, lost]}, "b.json"))
    assert (found[0].options, found[0].answer) == (("(A)", "(B)"), "(B)")
    assert skipped == ("Example 2: its target '(C)' is none of its options",)
    gsm = {"question": "16 eggs, 3 eaten?", "answer": "She has 16 - 3 = <<16-3=13>>13 eggs.\n#### 13"}
    (q,), _ = read_questions(written(tmp_path, [gsm]))
    assert q.steps == ("She has 16 - 3 = 13 eggs.",)
    assert q.options == ("3", "13", "14", "16")  # its own numbers, then a neighbour


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "?", "options": ["a"]}, "Its options are"),
        ({"question": "", "options": ["a", "b"]}, "empty"),
        ({"question": "?", "options": ["a", "b"], "answer": "c"}, "none of its options"),
        ({"question": "?", "options": "a"}, "no list of options"),
        ({"what": "?"}, "no form known"),
    ],
)
def test_what_does_not_fit_is_a_letter(tmp_path, row, said):
    with pytest.raises(InputError, match=said):
        read_questions(written(tmp_path, [row]))


def test_real_files():
    folder = shared_data("reasoning")
    sums, out = read_questions(str(folder / "gsm8k_test.jsonl"))
    assert len(sums) == 1319
    assert out == ()
    assert sums[0].answer == "18"
    assert all(len(q.options) == 4 and q.steps for q in sums)
    yes, _ = read_questions(str(folder / "strategyqa_dev.json"))
    assert all(q.parts and q.steps for q in yes)
    for path in sorted((folder / "bbh").glob("*.json")):
        found, left = read_questions(str(path))
        assert len(found) > 150, path.name
        assert len(left) < 5, path.name
