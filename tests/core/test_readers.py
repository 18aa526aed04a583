"""Readers of labelled texts, minimal pairs and facts: what is written is read, and every fault is named with its line."""

import gzip
import json

import pytest

from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked, Minimal
from exegete.core.read_marked import read_marked
from exegete.core.read_pairs import read_facts, read_minimal
from support.data import shared_data


def lines(path, *rows) -> str:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return str(path)


SAID = "the old cat sat on a mat"


def targets(*marks, **more):
    return {"text": SAID, "targets": [dict(zip(("span1", "label", "span2"), m)) for m in marks], **more}


# ---- labelled texts ----------------------------------------------------------------------------------------------------


def test_spans_in_words_and_in_characters_are_the_same_stretches(tmp_path):
    want = Marked(
        text=SAID,
        marks=(Mark(label="det", spans=((0, 3), (8, 11))), Mark(label="x", spans=((12, 18), (19, 24)))),
    )
    words = lines(tmp_path / "w.jsonl", targets(([0, 1], "det", [2, 3]), ([3, 5], "x", [5, 7])))
    assert read_marked(words) == (want,)
    chars = lines(tmp_path / "c.jsonl", targets(([0, 3], "det", [8, 11]), ([12, 18], "x", [19, 24])))
    assert read_marked(chars) == (want,)
    assert read_marked(chars, unit="character") == (want,)


def test_spans_that_could_be_both_are_refused_unless_it_is_said(tmp_path):
    both = {"text": "a b c", "targets": [{"span1": [0, 1], "label": "x"}]}
    path = lines(tmp_path / "b.jsonl", both)
    with pytest.raises(InputError, match="as words and as characters"):
        read_marked(path)
    assert read_marked(path, unit="word")[0].marks[0].spans == ((0, 1),)
    named = lines(
        tmp_path / "n.jsonl", {**both, "targets": [{"span1": [1, 2], "label": "x"}], "unit": "word"}
    )
    assert read_marked(named)[0].words == ("b",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"text": ', "Line 2 is not JSON"),
        ("[1]", "Line 2 is a list"),
        ({"text": 3, "targets": []}, "Line 2 has no text"),
        ({"text": " ", "targets": [1]}, "Line 2 has an empty text"),
        ({"text": SAID}, "Line 2 has no list of targets"),
        (targets(([0, 1],)), "Line 2 has a target without 'label'"),
        ({"text": SAID, "targets": [{"label": "x"}]}, "Line 2 has a target without span1"),
        (targets(("0-1", "x")), "no \\[start, end\\]"),
        (targets(([0, 1, 2], "x")), "no \\[start, end\\]"),
        (targets(([0, 99], "x"), unit="word"), "Line 2 marks \\[0, 99\\] in a text of 7 words"),
        (targets(([3, 3], "x"), unit="character"), "Line 2 marks"),
        (targets(([0, 3], "x"), unit="line"), "counts spans in 'line'"),
        (targets(([2, 6], "x"), ([6, 9], "x")), "lies outside its words"),
        (targets(([0, 1], None)), "Line 2 has no label"),
        (targets(([0, 1], {"a": 1})), "no name"),
    ],
)
def test_malformed_lines_of_spans_are_named(tmp_path, row, said):
    good = targets(([0, 1], "x"), unit="word")
    with pytest.raises(InputError, match=said):
        read_marked(lines(tmp_path / "a.jsonl", good, row))


def test_whole_texts_from_tables_of_every_kind(tmp_path):
    want = (Marked.of("it was good, really", "pos"), Marked.of("bad", "neg"))
    (tmp_path / "a.csv").write_text('text,label\n"it was good, really",pos\n\nbad,neg\n')
    (tmp_path / "a.tsv").write_text("label\tsentence\npos\tit was good, really\nneg\tbad\n")
    (tmp_path / "b.csv").write_text("review;sentiment\nit was good, really;pos\nbad;neg\n")
    rows = [{"text": m.text, "label": m.labels[0]} for m in want]
    lines(tmp_path / "a.jsonl", *rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with gzip.open(tmp_path / "g.jsonl.gz", "wt") as f:
        f.write("\n".join(map(json.dumps, rows)))
    for name in ("a.csv", "a.tsv", "b.csv", "a.jsonl", "a.json", "g.jsonl.gz"):
        assert read_marked(str(tmp_path / name)) == want, name


def test_texts_that_belong_together_say_so(tmp_path):
    (tmp_path / "a.csv").write_text(
        "text,label,group\nparis is in france,1,paris\nparis is in spain,0,paris\nhm,0,\n"
    )
    found = read_marked(str(tmp_path / "a.csv"))
    assert [m.group for m in found] == ["paris", "paris", ""]
    assert set(found[0].ties) & set(found[1].ties) and not set(found[0].ties) & set(found[2].ties)
    city = lines(tmp_path / "a.jsonl", targets(([1, 3], "cat"), city="rome"), targets(([4, 5], "on")))
    assert [m.group for m in read_marked(city, group="city")] == ["rome", ""]
    assert [m.group for m in read_marked(city)] == ["", ""]
    with pytest.raises(InputError, match="no column 'town'"):
        read_marked(city, group="town")
    (tmp_path / "b.csv").write_text("text,group\nparis,city\nrhine,river\n")
    assert [(m.labels, m.group) for m in read_marked(str(tmp_path / "b.csv"), label="group")] == [
        (("city",), ""),
        (("river",), ""),
    ]


def test_parquet(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["a b", "c"], "label": [1, 0]}).to_parquet(path)
    assert read_marked(str(path)) == (Marked.of("a b", "1"), Marked.of("c", "0"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="cannot be read"):
        read_marked(str(tmp_path / "b.parquet"))


def test_labels_become_numbers_only_where_they_are(tmp_path):
    whole = lines(tmp_path / "a.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": 2})
    assert [m.labels[0] for m in read_marked(whole)] == ["1", "2"]
    assert [m.labels[0] for m in read_marked(whole, numbers=True)] == [1.0, 2.0]
    (tmp_path / "a.csv").write_text("text,label\na,0.5\nb,2\n")
    assert [m.labels[0] for m in read_marked(str(tmp_path / "a.csv"))] == [0.5, 2.0]
    place = lines(
        tmp_path / "p.jsonl", {"text": "paris", "label": [48.9, 2.4]}, {"text": "rome", "label": [41.9, 12.5]}
    )
    assert read_marked(place)[0].labels == ((48.9, 2.4),)
    mixed = lines(
        tmp_path / "m.jsonl", {"text": "paris", "label": [48.9, 2.4]}, {"text": "rome", "label": "x"}
    )
    with pytest.raises(InputError, match="Line 2 has the labels"):
        read_marked(mixed)
    (tmp_path / "n.csv").write_text("text,label\na,1\nb,two\n")
    with pytest.raises(InputError, match="Line 3 has the label 'two', where numbers"):
        read_marked(str(tmp_path / "n.csv"), numbers=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no row"),
        ("text,label\n", "holds no row"),
        ("a,b\nx,y\n", "No column is called 'text'; its columns are a, b"),
        ("sentence,review,label\nx,y,z\n", "Several columns may hold the text: sentence, review"),
        ("text,text,label\nx,y,z\n", "names the column 'text' twice"),
        ("text,label\nx\n", "Line 2 has 1 cells"),
        ("text,label\nx,y\nz,\n", "Line 3 has no label"),
        ("text,label\n ,y\n", "Line 2 has an empty text"),
        ("text,label\nx,\0y\n", "zero byte"),
    ],
)
def test_malformed_tables_are_named(tmp_path, text, said):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_marked(str(path))


def test_columns_may_be_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("q,r,kind\nx,y,z\n")
    assert read_marked(str(path), text="r", label="kind") == (Marked.of("y", "z"),)
    with pytest.raises(InputError, match="no column 's'"):
        read_marked(str(path), text="s", label="kind")


def test_tagged_tokens(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- -X- O\n\nJohn NNP B-PER\nran VBD O\n\n\nin\tO\nNew\tB-LOC\nYork\tI-LOC\n")
    first, second = read_marked(str(path))
    assert (first.text, first.labels, first.words) == ("John ran", ("B-PER", "O"), ("John", "ran"))
    assert (second.text, second.labels) == ("in New York", ("O", "B-LOC", "I-LOC"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("John B-PER\nran\n", "Line 2 has 1 columns"),
        ("John PERSON\n", "tag 'PERSON'"),
        ("\n\n", "holds no sentence"),
    ],
)
def test_malformed_tags_are_named(tmp_path, text, said):
    path = tmp_path / "a.conll"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_marked(str(path))


def test_files_that_are_no_such_thing(tmp_path):
    with pytest.raises(InputError, match="Check the path"):
        read_marked(str(tmp_path / "none.csv"))
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(InputError, match="does not say what it holds"):
        read_marked(str(tmp_path / "a.doc"))
    (tmp_path / "a.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match="unpacked"):
        read_marked(str(tmp_path / "a.jsonl.gz"))
    (tmp_path / "b.csv").write_bytes(b"text,label\ncaf\xe9,x\n")
    with pytest.raises(InputError, match="Line 2 is not valid UTF-8"):
        read_marked(str(tmp_path / "b.csv"))


# ---- minimal pairs -----------------------------------------------------------------------------------------------------


def test_minimal_pairs_of_both_names(tmp_path):
    blimp = {
        "sentence_good": "a b", "sentence_bad": "b a", "field": "syntax", "linguistics_term": "islands", "UID": "wh", "pairID": 3,
    }  # fmt: skip
    own = {"good": "a b", "bad": "b a", "phenomenon": "order"}
    found = read_minimal(lines(tmp_path / "a.jsonl", blimp, own, {"good": "c", "bad": "d"}))
    assert found == (
        Minimal(good="a b", bad="b a", phenomenon="syntax/islands/wh", id="3"),
        Minimal(good="a b", bad="b a", phenomenon="order"),
        Minimal(good="c", bad="d"),
    )
    (tmp_path / "a.csv").write_text("good,bad\na b,b a\n")
    assert read_minimal(str(tmp_path / "a.csv")) == (Minimal(good="a b", bad="b a"),)


def test_pairs_of_twice_the_same_are_refused_or_left_out_and_named(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"good": "a", "bad": "b"}, {"good": "a", "bad": "a"})
    with pytest.raises(InputError, match="Line 2 does not fit: Both are the same"):
        read_minimal(path)
    alike: list[str] = []
    assert len(read_minimal(path, alike)) == 1
    assert alike == ["Line 2"]
    with pytest.raises(InputError, match="every pair"):
        read_minimal(lines(tmp_path / "b.jsonl", {"good": "a", "bad": "a"}), [])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"good": "a"}, "Line 2 has the fields good"),
        ({"good": "a", "bad": 1}, "no sentence in 'bad'"),
        ({"good": "a", "bad": " "}, "One of them is empty"),
    ],
)
def test_malformed_pairs_are_named(tmp_path, row, said):
    with pytest.raises(InputError, match=said):
        read_minimal(lines(tmp_path / "a.jsonl", {"good": "a", "bad": "b"}, row))


# ---- facts -------------------------------------------------------------------------------------------------------------

LAMA = {
    "sub_label": "Dante",
    "obj_label": "Florence",
    "predicate_id": "P19",
    "template": "[X] was born in [Y] .",
}


def test_facts_in_the_manner_of_lama(tmp_path):
    path = lines(tmp_path / "a.jsonl", LAMA)
    (fact,) = read_facts(path)
    assert (fact.prompt, fact.subject, fact.answer, fact.relation) == (
        *("Dante was born in [MASK] .", "Dante", "Florence"),
        "P19",
    )
    assert read_facts(path, blank=False)[0].prompt == "Dante was born in"
    said = {
        "sub_label": "Dante",
        "obj_label": "Florence",
        "masked_sentences": ["Dante was a poet.", "Dante lived in [MASK]."],
    }
    assert (
        read_facts(lines(tmp_path / "b.jsonl", said))[0].prompt == "Dante was a poet. Dante lived in [MASK]."
    )


def test_facts_with_our_names(tmp_path):
    row = {
        "prompt": "Dante was born in",
        "subject": "Dante",
        "attribute": "Florence",
        "relation_id": "P19",
        "more": 1,
    }
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (fact,) = read_facts(str(tmp_path / "a.json"))
    assert (fact.answer, fact.relation) == ("Florence", "P19")


@pytest.mark.parametrize(
    ("row", "blank", "said"),
    [
        ({"sub_label": "x"}, True, "Line 2 has no field"),
        ({"sub_label": "x", "obj_label": "y"}, True, "Line 2 has no field 'template'"),
        (
            {**LAMA, "template": "it was in [Y]"},
            True,
            "Line 2 does not fit: The prompt does not name the subject",
        ),
        (
            {"prompt": "it is", "answer": "x"},
            True,
            "Line 2 has no field 'subject'; its fields are prompt, answer",
        ),
        ({"prompt": "it is", "subject": "it", "answer": 5}, False, "Line 2 has 5 in 'answer', where a text"),
        (
            {"prompt": "it is", "subject": "it", "answer": "x", "paraphrases": "it was"},
            False,
            "Line 2 has \"it was\" in 'paraphrases', where a list of texts",
        ),
        ({**LAMA, "template": "[X] in [Y] was born"}, False, "goes on after the answer"),
    ],
)
def test_malformed_facts_are_named(tmp_path, row, blank, said):
    with pytest.raises(InputError, match=said):
        read_facts(lines(tmp_path / "a.jsonl", LAMA, row), blank)


# ---- real files --------------------------------------------------------------------------------------------------------


def test_published_files_are_read():
    wnut = read_marked(str(shared_data("ner/emerging.dev.conll")))
    assert len(wnut) == 1009
    assert {label[0] for m in wnut for label in map(str, m.labels)} == set("OBI")
    cities = read_marked(str(shared_data("truth/cities.csv")))
    assert len(cities) == 1496
    assert {m.labels[0] for m in cities} == {"0", "1"}
    assert len(read_facts(str(shared_data("facts/known_1000.json")))) == 1209


# ---- cloze diagnostics --------------------------------------------------------------------------------------------------

NEGATION = "item\tcontext_aff\tcontext_neg\ttarget_aff\ttarget_neg\n0\tA trout is (a|an)\tA trout is not (a|an)\tfish\tinsect\n"
ROLES = (
    "item\tcontext\texpected\ttarget\n1-b\tshe knew which cook the lord had \tchosen|hired\tserved\n"
    "1-a\tshe knew which lord the cook had \tserved\tserved\n2-b\tshe knew which cat the dog had \tseen|bitten\tbitten\n"
    "2-a\tshe knew which dog the cat had \tseen\tseen\n"
)
COMMON = (
    "item\tcontext_s1\tcontext_s2\texpected\twithin_category\tbetween_category\tconstraint\n"
    "0\tHe scored a touchdown.\tHe enjoyed a game of\tfootball\tbaseball\tmonopoly\tH\n"
)


def test_negation_is_two_facts_with_the_article_that_the_answer_wants(tmp_path):
    (tmp_path / "a.tsv").write_text(NEGATION)
    facts = read_facts(str(tmp_path / "a.tsv"))
    assert [(f.prompt, f.subject, f.answer, f.relation) for f in facts] == [
        ("A trout is a", "A trout", "fish", "negation/affirmative"),
        ("A trout is not an", "A trout", "insect", "negation/negative"),
    ]
    pairs = read_minimal(str(tmp_path / "a.tsv"))
    assert [(p.good, p.bad) for p in pairs] == [
        ("A trout is a fish.", "A trout is an insect."),
        ("A trout is not an insect.", "A trout is not a fish."),
    ]


def test_roles_are_facts_and_pairs_with_the_verb_of_the_reversal(tmp_path):
    (tmp_path / "a.tsv").write_text(ROLES)
    facts = read_facts(str(tmp_path / "a.tsv"), blank=False)
    assert [(f.prompt, f.subject, f.answer) for f in facts[:2]] == [
        ("she knew which cook the lord had", "cook the lord", "chosen"),
        ("she knew which lord the cook had", "lord the cook", "served"),
    ]
    assert [(p.good, p.bad) for p in read_minimal(str(tmp_path / "a.tsv"))] == [  # 2 is said of both
        ("she knew which cook the lord had chosen.", "she knew which cook the lord had served."),
        ("she knew which lord the cook had served.", "she knew which lord the cook had chosen."),
    ]


def test_commonsense_is_a_fact_and_two_pairs(tmp_path):
    (tmp_path / "a.tsv").write_text(COMMON)
    (fact,) = read_facts(str(tmp_path / "a.tsv"))
    assert (fact.subject, fact.answer) == ("He scored a touchdown.", "football")
    assert fact.prompt == "He scored a touchdown. He enjoyed a game of"
    assert [(p.bad.split()[-1], p.phenomenon) for p in read_minimal(str(tmp_path / "a.tsv"))] == [
        ("baseball.", "commonsense/high constraint/same category"),
        ("monopoly.", "commonsense/high constraint/other category"),
    ]


def test_malformed_diagnostics_are_named(tmp_path):
    (tmp_path / "a.tsv").write_text(NEGATION + "1\tA pine is (a|an)\t\ttree\ttool\n")
    with pytest.raises(InputError, match="Line 3 has nothing in 'context_neg'"):
        read_facts(str(tmp_path / "a.tsv"))


@pytest.mark.parametrize(
    ("name", "n_facts", "n_pairs"), [("NEG-136-SIMP", 36, 36), ("ROLE-88", 88, 84), ("CPRAG-102", 34, 68)]
)
def test_published_diagnostics_are_read(name, n_facts, n_pairs):
    path = str(shared_data(f"cloze/{name}.tsv"))
    assert len(read_facts(path)) == n_facts
    pairs = read_minimal(path)
    assert len(pairs) == n_pairs
    if name == "ROLE-88":  # every verb is right as often as it is wrong
        last = [sorted(s.split(" had ")[1] for s in side) for side in zip(*((p.good, p.bad) for p in pairs))]
        assert last[0] == last[1]


@pytest.mark.parametrize("code", ["utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path, code):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"good": "a", "bad": "b"}\n'.encode(code))
    with pytest.raises(InputError) as told:
        read_minimal(str(path))
    letter = told.value.letter()
    assert (
        f"written in {code.upper()}" in letter
        and f"iconv -f {code} -t utf-8" in letter
        and "latin1" not in letter
    )
