"""Contrast sets and tests of capabilities: forms and their letters, rates counted by hand on a planted classifier, controls by
enumeration."""

import json
from itertools import permutations

import numpy as np
import pytest

from exegete.cli.main import dispatch as run
from exegete.core.behaviour import BehaviourCase, BehaviourTest, ContrastSet, Expectation
from exegete.core.errors import ExegeteError, InputError, ModelError, UsageError
from exegete.core.read_behaviour import is_behaviour, read_behaviour
from exegete.core.request import Text
from exegete.core.store import open_result
from exegete.evaluate.behaviour import behaviour, has_tests
from exegete.evaluate.capabilities import failure_rates
from exegete.evaluate.contrast import contrast_consistency
from exegete.evaluate.tasks import task_of
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.show.render import page
from support.data import shared_data
from support.planted import additive


@pytest.fixture(scope="module")
def model():
    """Says yes by +3 for "great", -4 for "never" and +1 for "film"; everything else weighs nothing (and so says no)."""
    tokenizer = tiny("bert", "sequence")[1]
    weights = dict.fromkeys(range(len(tokenizer)), 0.0)
    weights |= {
        tokenizer.convert_tokens_to_ids(w): x for w, x in (("great", 3.0), ("never", -4.0), ("film", 1.0))
    }
    return additive(weights=weights)


def texts(*said):
    return tuple(Text(text=t) for t in said)


def sets():
    return (
        ContrastSet(texts=texts("this film", "never this film"), labels=("yes", "no"), id="right"),
        ContrastSet(texts=texts("great story", "this story", "never this story"), labels=("yes", "yes", "no"), id="wrong"),
        ContrastSet(texts=texts("great", "never"), labels=("Yes", "0"), id="by case and number"),
        ContrastSet(texts=texts("people", "great people"), labels=("no", "maybe"), id="unknown label"),
    )  # fmt: skip


def test_sets_are_right_as_counted_by_hand(model, tmp_path):
    found = contrast_consistency(model, sets())
    whole, own, near, fall = found.trust.scores
    assert np.array_equal(found.consistent, [1, 0, 1, np.nan], equal_nan=True)
    assert (whole.value, own.value, near.value, fall.value) == pytest.approx(
        (2 / 3, 1, (1 + 0.5 + 1) / 3, 1 / 6)
    )
    assert [(s.n, s.n_failed) for s in found.trust.scores] == [(3, 1)] * 4
    assert whole.chance == pytest.approx((1 / 4 + 1 / 8 + 1 / 4) / 3)
    assert found.right == ((1, 1), (1, 0, 1), (1, 1), (1, -1))
    assert found.said[1] == ("yes", "no", "no")
    assert "'maybe'" in found.failures[0]
    assert open_result(found.save(tmp_path / "c.exg")) == found
    assert "Contrast sets" in page(found)


def test_the_control_is_that_of_every_way_to_deal_the_answers_out(model):
    three = sets()[:2]
    gold, said = np.array([1, 0, 1, 1, 0]), [1, 0, 1, 0, 0]
    every = [
        np.mean([(d[:2] == gold[:2]).all(), (d[2:] == gold[2:]).all()])
        for d in map(np.array, permutations(said))
    ]
    found = contrast_consistency(model, three).trust.scores[0]
    assert found.control == pytest.approx(np.mean(every), abs=0.08)
    assert found.control_name == "shuffled answers"


def test_the_same_answer_to_everything_is_never_consistent(model):
    """Sets whose labels differ; accuracy alone would say one half."""
    same = [
        ContrastSet(texts=texts(w, f"{w} story"), labels=("no", "yes")) for w in ("people", "this", "staff")
    ]
    whole, own, near, _ = contrast_consistency(model, same).trust.scores
    assert (whole.value, own.value, near.value) == (0, 1, 0)


def near(first, *others):
    """Twelve sets of an original and perturbed texts, (text, label) each; a people more in every set."""
    told = (first, *others)
    return [
        ContrastSet(texts=texts(*(f"{t}{' people' * i}" for t, _ in told)), labels=tuple(x for _, x in told))
        for i in range(12)
    ]


def test_a_model_that_is_right_on_all_is_to_be_trusted(model):
    """It does not fall, and nothing is held against it."""
    found = contrast_consistency(model, near(("great film", "yes"), ("never film", "no"), ("never", "no")))
    whole, own, others, fall = found.trust.scores
    assert (whole.value, own.value, others.value, fall.value) == (1, 1, 1, 0)
    assert fall.chance == pytest.approx(1 - 1 / 2) and fall.control == pytest.approx(1 - others.control)
    assert all(s.beats_chance and s.beats_control for s in found.trust.scores)
    assert "Read with care" not in page(found) and "told apart" not in found.lede
    # of twelve falls, all 0, a share of 1 - 0.025^(1/12) may be anything
    assert fall.interval == pytest.approx((-(1 - 0.025 ** (1 / 12)), 1 - 0.025 ** (1 / 12)))


def test_a_model_that_falls_to_a_guess_or_always_says_the_same_is_not(model):
    """Right on the originals, wrong on what stays close; and one that says no whatever is asked, right where that is so."""
    falls = contrast_consistency(model, near(("great film", "yes"), ("great", "no")))
    fall = falls.trust.scores[3]
    assert fall.value == 1 and not fall.beats_chance and not fall.beats_control
    assert "a fall that is told apart from none" in falls.lede
    same = contrast_consistency(model, near(("people", "yes"), ("staff", "no"), ("never", "no")))
    fall = same.trust.scores[3]
    assert (fall.value, fall.control) == (-1, pytest.approx(-1))
    assert fall.beats_chance and not fall.beats_control


def suite():
    return (
        BehaviourTest(
            name="single words", capability="vocabulary", kind="MFT",
            cases=(
                BehaviourCase(texts=texts("great"), label="yes"),
                BehaviourCase(texts=texts("never"), label="yes"),
                BehaviourCase(texts=texts("film"), label="no", negated=True),
                BehaviourCase(texts=texts("great film"), label="yes", negated=True),
            ),
        ),
        BehaviourTest(
            name="more people", capability="robustness", kind="INV",
            cases=(
                BehaviourCase(texts=texts("great film", "great film people", "people great film")),
                BehaviourCase(texts=texts("great film", "great film people", "never great film")),
            ),
        ),
        *(
            BehaviourTest(
                name=change, capability="direction", kind="DIR", expect=Expectation(change=change, label="yes"),
                cases=tuple(BehaviourCase(texts=texts("film", w)) for w in ("great film", "film people", "never film")),
            )
            for change in ("up", "down", "not up", "not down")
        ),
    )  # fmt: skip


def test_cases_fail_as_counted_by_hand(model, tmp_path):
    found = failure_rates(model, suite())
    assert found.names == ("single words", "more people", "up", "down", "not up", "not down")
    # up, nothing and down: what rises, stays and falls by more than a tenth
    assert found.rate == pytest.approx([2 / 4, 1 / 2, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    by_name = {s.name: s for s in found.trust.scores}
    assert by_name["DIR failures"].value == pytest.approx(0.5)
    assert by_name["DIR failures"].chance is None
    assert by_name["MFT failures: vocabulary"].chance == pytest.approx(1 / 2)
    assert by_name["INV failures: robustness"].chance == pytest.approx(1 - 1 / 4)
    # answers yes no yes yes dealt out: three of four say yes, so that the cases fail by 1/4, 1/4, 1/4 and 3/4
    assert by_name["MFT failures"].control == pytest.approx((1 / 4 + 1 / 4 + 1 / 4 + 3 / 4) / 4)
    # each original beside the other's perturbed texts: the same failures, changed about
    assert by_name["INV failures"].control == pytest.approx(1 / 2)
    assert all(s.better == "lower" and s.interval is not None for s in found.trust.scores)
    assert ("more people", "great film | great film people | never great film") in {
        c[:2] for c in found.cases
    }
    assert open_result(found.save(tmp_path / "t.exg")) == found
    assert "always says the same" in page(found)


def test_originals_beside_the_perturbed_texts_of_other_cases(model):
    """Two cases, so that each meets the other: both stay as they are, and neither is what the other becomes."""
    cases = tuple(BehaviourCase(texts=texts(a, f"{a} people")) for a in ("great film", "never film"))
    moves = tuple(
        BehaviourCase(texts=texts(a, b)) for a, b in (("film", "great film"), ("great", "great great"))
    )
    found = failure_rates(
        model,
        [
            BehaviourTest(name="i", capability="c", kind="INV", cases=cases),
            BehaviourTest(
                name="d",
                capability="c",
                kind="DIR",
                cases=moves,
                expect=Expectation(change="up", label="yes", by=0.03),
            ),
        ],
    )
    assert found.rate.tolist() == [0, 0]
    assert found.control[0] == 1.0
    rise = lambda a, b: 1 / (1 + np.exp(-b)) - 1 / (1 + np.exp(-a))  # noqa: E731
    assert rise(1, 4) > 0.03 and rise(3, 6) > 0.03 and rise(1, 6) > 0.03 > rise(3, 4)
    assert found.control[1] == 0.5


def test_every_original_meets_every_other_case_alike(model):
    """Of three cases one stands alone: by counting, originals held against the perturbed texts of the two others fail 4 times of 6."""
    said = ("great film", "great", "never film")
    test = BehaviourTest(
        name="i",
        capability="c",
        kind="INV",
        cases=tuple(BehaviourCase(texts=texts(a, f"{a} people")) for a in said),
    )
    found = failure_rates(model, [test])
    assert found.rate[0] == 0 and found.control[0] == pytest.approx(4 / 6, abs=1e-9)


def test_a_direction_of_a_class_that_the_model_does_not_have_is_not_asked(model):
    case = BehaviourCase(texts=texts("film", "never film"))
    known, strange = (
        BehaviourTest(
            name=x, capability="c", kind="DIR", cases=(case,) * 2, expect=Expectation(change="down", label=x)
        )
        for x in ("yes", "maybe")
    )
    lone = BehaviourTest(
        name="m", capability="c", kind="MFT", cases=(BehaviourCase(texts=texts("great"), label="perhaps"),)
    )
    found = failure_rates(model, [known, strange, lone])
    assert found.n.tolist() == [2, 0, 0] and found.n_failed.tolist() == [0, 2, 1]
    assert "'maybe' is none of the model's classes" in " ".join(found.failures)
    assert "'perhaps' is none of the model's classes" in " ".join(found.failures)


def test_a_direction_without_a_label_is_that_of_the_original(model):
    case = BehaviourCase(texts=texts("never", "never film"))  # of no, which falls
    test = BehaviourTest(
        name="t",
        capability="c",
        kind="DIR",
        cases=(case, case),
        expect=Expectation(change="not down", by=0.01),
    )
    assert failure_rates(model, [test]).rate[0] == 1
    several = BehaviourCase(texts=texts("film", "great film", "never film"))  # one of them falls
    rising = test.model_copy(
        update={"cases": (several,), "expect": Expectation(change="not down", label="yes")}
    )
    assert failure_rates(model, [rising]).rate[0] == 1
    kept = test.model_copy(update={"expect": Expectation(change="not down", by=0.5)})
    assert failure_rates(model, [kept]).rate[0] == 0


def test_what_cannot_be_asked_is_counted(model):
    long = " ".join(["film"] * 400)
    case = (BehaviourCase(texts=texts("great"), label="yes"), BehaviourCase(texts=texts(long), label="yes"))
    found = failure_rates(model, [BehaviourTest(name="t", capability="c", kind="MFT", cases=case)])
    score = found.trust.scores[0]
    if found.failures:  # the planted model itself has no limit; its tokenizer has
        assert (score.n, score.n_failed) == (1, 1) and found.n_failed.tolist() == [1]
    one = (ContrastSet(texts=texts("great", long), labels=("yes", "yes")), *sets()[:1])
    whole = contrast_consistency(model, one).trust.scores[0]
    assert whole.n + whole.n_failed == 2


def test_letters_of_models_and_labels(model):
    with pytest.raises(ModelError, match="masked model with 0 classes"):
        contrast_consistency(load(tiny("bert", "masked")), sets())
    strange = [ContrastSet(texts=texts("great", "never"), labels=("positive", "negative"))]
    with pytest.raises(InputError, match=r"\(negative, positive\) are none of its classes \(no, yes\)"):
        contrast_consistency(model, strange)


ORIGINAL = {"text": "great film", "label": "yes"}
MFT = {
    "name": "n",
    "capability": "c",
    "type": "MFT",
    "label": "yes",
    "examples": ["great", {"text": "never", "label": "no"}],
}
INV = {
    "name": "i",
    "capability": "c",
    "type": "inv",
    "examples": [["a film", "the film"], {"original": "a", "contrast": ["b"]}],
}
DIR = {
    "name": "d",
    "capability": "c",
    "type": "DIR",
    "expect": {"change": "not up"},
    "examples": [["a", {"text": "b"}]],
}


def written(path, rows):
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), encoding="utf-8")
    return str(path)


def test_forms_are_told_by_their_fields(tmp_path):
    nested = written(
        tmp_path / "a.jsonl",
        [{"id": "s", "original": ORIGINAL, "contrast": [{"text": "never", "pair": "x", "label": "no"}]}],
    )
    flat = written(
        tmp_path / "b.tsv",
        [
            "set\ttext\tlabel\toriginal",
            "1\tnever film\tno\tfalse",
            "1\tgreat film\tyes\ttrue",
            "2\talone\tno\ttrue",
        ],
    )
    for path, place in ((nested, ()), (flat, ("Line 4: set 2 has a single text",))):
        assert is_behaviour(path)
        (one,), skipped = read_behaviour(path)
        assert one.texts[0].text == "great film" and one.labels == ("yes", "no") and skipped == place
    lines = written(tmp_path / "c.jsonl", [MFT, INV, DIR])
    whole = tmp_path / "d.json"
    whole.write_text(json.dumps({"tests": [MFT, INV, DIR]}))
    for path in (lines, str(whole)):
        assert is_behaviour(path)
        found, _ = read_behaviour(path)
        assert [t.kind for t in found] == ["MFT", "INV", "DIR"]
        assert [c.label for c in found[0].cases] == ["yes", "no"]
        assert [len(c.texts) for c in found[1].cases] == [2, 2]
        assert found[2].expect == Expectation(change="not up")
    marks = written(tmp_path / "e.jsonl", [{"text": "a b", "marks": [[0, 1]]}])
    both = written(tmp_path / "f.jsonl", [{"set": "1", "text": "a b", "label": "yes", "marks": [[0, 1]]}])
    assert not is_behaviour(marks) and not is_behaviour(both) and not has_tests("terrarium")


@pytest.mark.parametrize(
    ("rows", "place", "words"),
    [
        ([{"original": ORIGINAL, "contrast": "x"}], "Line 1", "no list of texts"),
        ([{"original": ORIGINAL, "contrast": [ORIGINAL]}, {"original": ORIGINAL, "contrast": [{"text": "a"}]}], "Line 2", "without a label"),
        ([{"original": {"text": " ", "label": "yes"}, "contrast": [ORIGINAL]}], "Line 1", "has no text"),
        ([{"original": ORIGINAL, "contrast": []}], "Line 1", "single text"),
        ([MFT, MFT | {"type": "ABC"}], "Line 2", "the type 'ABC'"),
        ([MFT, MFT | {"capability": ""}], "Line 2", "no 'capability'"),
        ([MFT | {"examples": []}], "Line 1", "no list of examples"),
        ([{k: v for k, v in MFT.items() if k != "label"}], "Line 1", "Example 1 has no label"),
        ([MFT | {"examples": ["a", 7]}], "Line 1, example 2", "has no text (7)"),
        ([INV | {"examples": [["a", "b"], ["a"]]}], "Line 1", "Example 2 has 1 texts"),
        ([INV | {"examples": [["a", "b"], "a"]}], "Line 1, example 2", "no list of an original"),
        ([INV | {"expect": {"change": "up"}}], "Line 1", "Only DIR tests"),
        ([{k: v for k, v in DIR.items() if k != "expect"}], "Line 1", "which way"),
        ([DIR | {"expect": {"change": "sideways"}}], "Line 1", "does not fit"),
        ([DIR | {"expect": "up"}], "Line 1", "expects 'up'"),
        ([MFT, "{"], "Line 2", "is not JSON"),
        ([{"a": 1}], "fields a", "no form known"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_letter_that_names_file_and_line(tmp_path, rows, place, words):
    path = written(tmp_path / "wrong.jsonl", rows)
    with pytest.raises(ExegeteError) as e:
        read_behaviour(path)
    assert repr(path) in e.value.asked
    assert place in e.value.found and words in e.value.found
    assert e.value.do


def test_revised_pairs_are_rationales_and_on_demand_contrast_sets(tmp_path):
    path = shared_data("counterfactual/sentiment_combined_paired_dev_paired.tsv")
    assert not is_behaviour(str(path)) and has_tests(f"contrast:{path}")
    found, skipped = read_behaviour(str(path))
    assert len(found) + len(skipped) > 200 and all(set(s.labels) == {"positive", "negative"} for s in found)
    assert {t.text.text for t in task_of(str(path)).items} >= {s.texts[0].text for s in found[:20]}


def test_the_command_line_tells_the_form(tmp_path):
    path = written(
        tmp_path / "sets.jsonl",
        [
            {"original": {"text": f"the {w} was good", "label": "positive"}, "contrast": [{"text": f"the {w} was bad", "label": "negative"}]}
            for w in ("food", "room", "staff")
        ],
    )  # fmt: skip
    out = str(tmp_path / "run")
    assert run(["evaluate", "--task", path, "--model", "terrarium/sentiment", "--out", out]) == 0
    found = open_result(tmp_path / "run" / "result.exg")
    assert found.trust.scores[0].name == "contrast consistency" and found.trust.scores[0].n == 3
    assert found.provenance.params["path"] == path
    with pytest.raises(UsageError, match="look at the answers of a model"):
        run(["evaluate", "--task", path, "--methods", "occlusion"])


def test_a_sample_is_the_same_for_the_same_seed(model, tmp_path):
    rows = [
        {"id": str(i), "original": ORIGINAL, "contrast": [{"text": "never", "label": "no"}]} for i in range(9)
    ]
    path = written(tmp_path / "many.jsonl", rows)
    names = [behaviour(model, path, 4, seed).names for seed in (0, 0, 1)]
    assert len(names[0]) == 4 and names[0] == names[1] != names[2]
