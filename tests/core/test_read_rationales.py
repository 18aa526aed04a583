"""Every published form, written by hand, gives the marks a person sees; what does not fit names its line."""

import json

import pytest

from exegete.core.errors import InputError
from exegete.core.read_rationales import changed, read_rationales
from support.data import shared_data


def write(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return str(path)


def seen(rationale):
    """What each annotator marked, in words."""
    return [[rationale.whole[s:e] for s, e in row] for row in rationale.marks]


def test_characters_of_one_or_several_annotators(tmp_path):
    rows = [
        {"text": "a bad film", "label": "negative", "marks": [[2, 5]]},
        {"text": "it is fine", "pair": "so so", "marks": [[[6, 10]], [[11, 13]]], "id": "x"},
        {"text": "nothing here", "marks": []},
    ]
    task = read_rationales(write(tmp_path, rows))
    assert [seen(r) for r in task.items] == [[["bad"]], [["fine"], ["so"]]]
    assert task.items[1].text.pair == "so so"
    assert task.skipped == ("Line 3: nothing is marked",)


def test_tokens_with_a_mark_each(tmp_path):
    rows = [
        {"tokens": ["no", "good"], "rationale": [0, 1]},
        {"tokens": ["no", "good"], "rationale": [[1, 1], [0, 1]]},
    ]
    one, two = read_rationales(write(tmp_path, rows)).items
    assert seen(one) == [["good"]]
    assert seen(two) == [["no", "good"], ["good"]]


def test_hatexplain(tmp_path):
    rows = [
        {"id": "7", "annotators": {"label": [2, 0, 2]}, "rationales": [[1, 0, 0], [1, 0, 1], [0, 0, 0]],
         "post_tokens": ["you", "are", "it"]},
        {"id": "8", "annotators": [{"label": 1}, {"label": 1}], "rationales": [], "post_tokens": ["hello"]},
    ]  # fmt: skip
    task = read_rationales(write(tmp_path, rows))
    assert seen(task.items[0]) == [["you"], ["you", "it"], []]
    assert task.items[0].label == 2
    assert task.skipped == ("Line 2: nothing is marked",)


def test_esnli_marks_both_sentences(tmp_path):
    table = (
        "gold_label,Sentence1,Sentence2,Sentence1_marked_1,Sentence2_marked_1,Sentence1_marked_2,Sentence2_marked_2\n"
        "contradiction,A man sleeps.,A man runs far.,A man *sleeps.*,A man *runs* *far.*,A *man* sleeps.,A man *runs* far.\n"
        "neutral,A dog.,A cat.,A *bird.*,A cat.,A dog.,A *cat.*\n"
    )
    task = read_rationales(write(tmp_path, [table], "esnli.csv"))
    assert seen(task.items[0]) == [["sleeps.", "runs", "far."], ["man", "runs"]]
    assert (task.items[0].text.pair, task.items[0].label) == ("A man runs far.", "contradiction")
    assert "annotator 1" in task.skipped[0]


def test_cose_finds_what_was_selected_in_the_question(tmp_path):
    asked = {"id": "q", "answerKey": "B", "question": {"stem": "Where does A fox live?",
             "choices": [{"label": "A", "text": "sea"}, {"label": "B", "text": "den"}]}}  # fmt: skip
    write(tmp_path, [asked, {**asked, "id": "r"}], "dev_rand_split.jsonl")
    rows = [
        {"id": "q", "explanation": {"selected": "a FOX live", "open-ended": "foxes have dens"}},
        {"id": "r", "explanation": {"selected": "wolves", "open-ended": ""}},
        {"id": "s", "explanation": {"selected": "fox", "open-ended": ""}},
    ]
    task = read_rationales(write(tmp_path, rows, "cose_dev.jsonl"))
    assert (seen(task.items[0]), task.items[0].label) == ([["A fox live"]], "den")
    assert len(task.skipped) == 2
    with pytest.raises(InputError, match="not beside it"):
        read_rationales(write(tmp_path / "..", rows, "cose_train.jsonl"))


def test_revised_and_minimal_pairs_mark_what_differs(tmp_path):
    rows = [
        "Sentiment\tText\tbatch_id",
        "Negative\tsuch a bad film\t4",
        "Positive\tsuch a truly good film\t4",
    ]
    task = read_rationales(write(tmp_path, rows, "pairs.tsv"))
    assert [seen(r) for r in task.items] == [[["bad"]], [["truly good"]]]
    assert [r.label for r in task.items] == ["negative", "positive"]
    rows = [{"sentence_good": "The cats annoy Tim.", "sentence_bad": "The cats annoys Tim.", "pairID": "0"}]
    assert seen(read_rationales(write(tmp_path, rows)).items[0]) == [["annoy"]]
    assert changed("a b c", "a c") == (((2, 3),), ())


def test_phrase_trees_mark_the_words_that_lean_as_the_whole(tmp_path):
    trees = ["(4 (2 A) (4 (3 lovely) (2 (1 sad) (2 film))))", "(2 (2 So) (2 so))", "(0 (0 Awful) (3 fun))"]
    task = read_rationales(write(tmp_path, trees, "dev.txt"))
    assert [seen(r) for r in task.items] == [[["lovely"]], [["Awful"]]]
    assert task.skipped == ("Line 2: the sentence is neutral",)
    with pytest.raises(InputError, match="Line 1 is no tree"):
        read_rationales(write(tmp_path, ["(4 (2 A)"], "dev.txt"))


def test_an_eraser_folder(tmp_path):
    home = tmp_path / "movies"
    (home / "docs").mkdir(parents=True)
    (home / "docs" / "m1").write_text("the plot is thin .\nbut the cast is great .")
    (home / "docs" / "p").write_text("a man sleeps")
    (home / "docs" / "h").write_text("a man runs")
    span = {"docid": "m1", "start_token": 7, "end_token": 10}
    rows = [
        {"annotation_id": "m1", "classification": "POS", "evidences": [[span]], "query": "good ?"},
        {"annotation_id": "e", "classification": "no", "docids": ["p", "h"], "query": None,
         "evidences": [[{"docid": "p", "start_token": 2, "end_token": 3}, {"docid": "h", "start_token": 2, "end_token": 3}]]},
        {"annotation_id": "gone", "classification": "POS", "evidences": [], "query": ""},
    ]  # fmt: skip
    write(home, rows, "val.jsonl")
    task = read_rationales(str(home))
    assert [seen(r) for r in task.items] == [[["cast is great"]], [["sleeps", "runs"]]]
    assert [r.text.pair for r in task.items] == ["good ?", "a man runs"]
    assert task.skipped == ("Line 3: document 'gone' is missing",)
    write(home, [{**rows[0], "evidences": [[{**span, "end_token": 99}]]}], "val.jsonl")
    with pytest.raises(InputError, match="Line 1 marks the tokens 7 to 99"):
        read_rationales(str(home))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"text": "a", "marks": [[0, 9]]}], "Line 1 does not fit"),
        ([{"text": "a", "marks": "0-1"}], "Line 1 has"),
        ([{"text": " ", "marks": [[0, 1]]}], "Line 1 has no text"),
        ([{"tokens": ["a", "b"], "rationale": [1]}], "2 tokens and 1 marks of annotator 1"),
        ([{"tokens": "ab", "rationale": [1]}], "no list of words"),
        ([{"question": "a"}], "no form known"),
        ([{"text": "a", "marks": []}], "None of its 1 rows"),
    ],
)
def test_letters(tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        read_rationales(write(tmp_path, rows))


@pytest.mark.parametrize(
    ("name", "least"),
    [("hatexplain/hatexplain_val.jsonl", 1100), ("cose/v1.0/cose_dev_v1.0.jsonl", 800), ("sst/trees/dev.txt", 700),
     ("counterfactual/sentiment_combined_paired_dev_paired.tsv", 480)],
)  # fmt: skip
def test_published_files(name, least):
    task = read_rationales(str(shared_data(name)))
    assert len(task.items) >= least
    assert all(r.marks for r in task.items)
