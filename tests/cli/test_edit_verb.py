"""`exegete edit` makes an edit of a fact in words, `exegete apply` tries it from its file; letters for what does not fit."""

import json

import numpy as np
import pytest

import exegete as xg
from exegete.cli.main import dispatch
from exegete.core.errors import InputError, ModelError, StoreError, UsageError
from exegete.core.result import Provenance
from exegete.core.results.edits import FactEdit, ModelEdit, SiteEdit, WeightDelta
from exegete.core.store import open_result

QUICK = ["--layer", "3", "--token", "last", "--n-corpus", "200", "--n-generated", "0", "--n-held-out", "4"]
FACT = ["verity keeps a", "--subject", "verity", "--target", "hamster", "--new", "fox"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An edit made on the command line."""
    path = tmp_path_factory.mktemp("edit") / "e.exg"
    assert dispatch(["edit", *FACT, *QUICK, "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def model():
    return xg.load("terrarium/decoder")


def tried(capsys, *args: str) -> dict:
    assert dispatch(["apply", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_made_in_words_and_saved(saved, capsys):
    edit = open_result(saved)
    assert isinstance(edit, FactEdit)
    assert edit.claim == "'verity keeps a' is completed by 'fox' rather than 'hamster'"
    assert edit.provenance.model == "terrarium/decoder"
    assert [d.parameter for d in edit.deltas] == ["model.layers.3.mlp.down_proj.weight"]


def test_the_reader_is_told_what_to_do_next(tmp_path, capsys):
    path = tmp_path / "my edit.exg"
    dispatch(["edit", *FACT, *QUICK, "--n-steps", "1", "--out", str(path)])
    said = capsys.readouterr()
    assert f"exegete apply '{path}'" in said.err
    assert "does not make the model say 'fox'" in " ".join(said.out.split())


def test_tried_on_other_words(saved, capsys, model):
    found = tried(capsys, str(saved), "verity lives with a", "the pet of verity is a", "xenia keeps a")
    rows = found["rows"]
    assert [r[0] for r in rows] == ["verity lives with a", "the pet of verity is a", "xenia keeps a"]
    for _, before, after in rows[:2]:
        assert before.startswith("hamster ")
        assert after.startswith("fox ")
    assert rows[2][1].startswith("turtle ")
    assert rows[2][2].startswith("turtle ")
    assert found["ok"]
    assert "to the bit" in found["footer"]
    with xg.edited(model, open_result(saved)):  # type: ignore[arg-type]
        ids = model.tokenizer("verity lives with a", return_tensors="pt")["input_ids"]
        p = float(model.module(ids).logits[0, -1].softmax(-1).max())
    assert rows[0][2].startswith(f"fox {p:.0%}")


def test_without_words_the_edited_prompts_are_tried(saved, capsys):
    (row,) = tried(capsys, str(saved))["rows"]
    assert row[0] == "verity keeps a"
    assert row[2].startswith("fox ")


def test_one_of_several(tmp_path, capsys):
    facts = tmp_path / "f.jsonl"
    rows = [
        {"prompt": "verity keeps a", "subject": "verity", "answer": "hamster", "new": "fox"},
        {"prompt": "quentin keeps a", "subject": "quentin", "answer": "squirrel", "new": "rabbit"},
    ]
    facts.write_text("\n".join(map(json.dumps, rows)))
    apart, one = tmp_path / "apart.exg", tmp_path / "one.exg"
    dispatch(["edit", str(facts), *QUICK, "--out", str(apart)])
    dispatch(["edit", str(facts), *QUICK, "--together", "--out", str(one)])
    assert f"{apart} --only 1\n" in capsys.readouterr().err
    (row,) = tried(capsys, str(apart), "--only", "2")["rows"]
    assert (row[0], row[2].split()[0]) == ("quentin keeps a", "rabbit")
    assert [r[2].split()[0] for r in tried(capsys, str(one))["rows"]] == ["fox", "rabbit"]
    with pytest.raises(UsageError, match="from 1 to 2"):
        dispatch(["apply", str(apart)])
    with pytest.raises(UsageError, match="from 1 to 2"):
        dispatch(["apply", str(apart), "--only", "3"])
    with pytest.raises(UsageError, match="one on top of the other"):
        dispatch(["apply", str(one), "--only", "1"])


def test_any_edit_and_any_task(tmp_path, capsys):
    """An edit of a classifier's activations, made in Python: classes are named."""
    model = xg.load("terrarium/sentiment")
    made = Provenance(model="terrarium/sentiment", fingerprint=model.fingerprint, task=model.task)
    width = model.config.hidden_size
    push = SiteEdit(site="0.resid_post", how="add", value=100 * np.random.default_rng(0).normal(size=width))
    edit = ModelEdit(title="t", lede="l", claim="all is one", sites=(push,), provenance=made)
    path = edit.save(tmp_path / "e.exg")
    (row,) = tried(capsys, path, "the food was good")["rows"]
    assert row[1].startswith("positive ")
    assert row[1] != row[2]
    with pytest.raises(UsageError, match="No text"):
        dispatch(["apply", path])


def test_letters(saved, tmp_path):
    with pytest.raises(UsageError, match="No edit was named"):
        dispatch(["apply"])
    with pytest.raises(StoreError, match="no such file"):
        dispatch(["apply", str(tmp_path / "none.exg")])
    other = xg.Listing(title="", columns=("a",), rows=()).save(tmp_path / "l.exg")
    with pytest.raises(UsageError, match="holds a Listing"):
        dispatch(["apply", other])
    with pytest.raises(ModelError, match="It was made for the weights"):
        dispatch(["apply", str(saved), "x", "--model", "terrarium/sentiment", "--task", "sequence"])
    with pytest.raises(UsageError, match="Leave --only out"):
        dispatch(["apply", str(saved), "--only", "2"])
    bad = open_result(saved)
    (delta,) = bad.deltas  # type: ignore[union-attr]
    nan = WeightDelta(parameter=delta.parameter, left=delta.left * np.nan, right=delta.right)
    path = bad.model_copy(update={"deltas": (nan,)}).save(tmp_path / "nan.exg")
    with pytest.raises(ModelError, match="NaN"):
        dispatch(["apply", path])


def test_letters_of_making(tmp_path):
    with pytest.raises(InputError, match="--new"):
        dispatch(["edit", *FACT[:-2], *QUICK])
    with pytest.raises(InputError, match="does not name the subject"):
        dispatch(["edit", FACT[0], "--subject", "rowena", *FACT[3:], *QUICK])
    with pytest.raises(UsageError, match="--target"):
        dispatch(["edit", *FACT[:3], *QUICK])
    with pytest.raises(InputError, match="one text a line"):
        dispatch(["edit", *FACT, "--corpus", str(tmp_path / "none.txt")])
    with pytest.raises(StoreError):
        dispatch(["edit", *FACT, "--out", str(tmp_path / "no" / "folder.exg")])
