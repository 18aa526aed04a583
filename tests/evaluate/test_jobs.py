"""From a file to the items of a study: every kind is read, what is left out is told, what does not fit gets a letter."""

import json

import pytest

import exegete as xg
from exegete.core.errors import InputError
from support.studies import TREE


def lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_a_sweep_over_a_file_of_pairs_is_that_of_the_pairs(tmp_path):
    rows = [
        {"clean": f"mary and john went out . {a} gave a book to", "corrupt": f"mary and john went out . {b} gave a book to",
         "answer": b, "against": a}
        for a, b in (("mary", "john"), ("john", "mary"))
    ]  # fmt: skip
    found = xg.run(
        "activation_patching",
        "terrarium/decoder",
        lines(tmp_path / "pairs.jsonl", rows),
        str(tmp_path / "out"),
    )
    whole = xg.study("terrarium/decoder", "activation_patching", [xg.Pair.of(*r.values()) for r in rows])
    assert found.plan.rows["whole"] == "" and len(found) == 2
    for ours, theirs in zip(found.result.trust.scores, whole.trust.scores):
        assert ours.n == theirs.n and ours.value == pytest.approx(theirs.value, rel=1e-3)


def test_a_pair_without_a_clean_text_is_named(tmp_path):
    path = lines(tmp_path / "pairs.jsonl", [{"clean": "a b", "corrupt": "a c"}, {"corrupt": "a c"}])
    with pytest.raises(InputError, match=r"Line 2 has no field 'clean'; its fields are corrupt\."):
        xg.run("activation_patching", "terrarium/decoder", path, str(tmp_path / "out"))


def test_pairs_of_twice_the_same_sentence_are_told_in_the_finding(tmp_path):
    good = ["the cat sat on the mat", "john gave a book to mary", "we can do this"]
    rows = [{"good": g, "bad": " ".join(reversed(g.split()))} for g in good] + [
        {"good": good[0], "bad": good[0]}
    ]
    found = xg.run(
        "minimal_pairs", "terrarium/decoder", lines(tmp_path / "pairs.jsonl", rows), str(tmp_path / "out")
    )
    assert len(found) == 3
    assert any("1 pairs of twice the same sentence of the file are left out" in n for n in found.result.notes)


def test_parsed_sentences_are_rows_of_a_study_of_labelled_texts(tmp_path):
    from exegete.core.method import method_of
    from exegete.methods.contracts.study import Study

    study = method_of("layer_probe")
    assert isinstance(study, Study)
    row = json.loads(json.dumps(TREE.model_dump(mode="json", exclude_defaults=True)))
    assert study.item_of(row) == TREE


def test_stretches_share_one_randomised_copy_and_write_no_tables_beside_their_parts(tmp_path, monkeypatch):
    from exegete.core.method import method_of
    from exegete.core.target import Target
    from exegete.methods.contracts.studying import Student
    from exegete.models import randomise

    monkeypatch.setenv("EXEGETE_CACHE", str(tmp_path / "cache"))
    made, real = [], randomise.randomised
    monkeypatch.setattr(randomise, "randomised", lambda *args: made.append(args) or real(*args))
    study = method_of("layer_probe")
    student = Student(xg.load("terrarium/sentiment"), study, Target())
    rows = [{"text": f"the food was {w}", "marks": [{"label": w}]} for w in ("good", "bad", "rude", "kind")]
    kept = [o.value for low in (0, 2) for o in student.work(rows[low : low + 2])]
    assert all(part.twin and part.values for part in kept)
    assert len(made) == 1
    assert not (tmp_path / "cache").exists()
