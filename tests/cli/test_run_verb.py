"""`exegete run` and `exegete jobs` as a user has them: real models, real processes, every letter."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

import exegete as xg
from exegete.cli.main import dispatch as run
from exegete.core.errors import (
    BudgetError,
    ExegeteError,
    InputError,
    MissingExtra,
    StoreError,
    UnknownName,
    UsageError,
)
from exegete.core.job import ModelRef
from exegete.core.registry import METHODS
from exegete.evaluate.jobs import Wanted, job_for
from exegete.run.drive import prepare
from exegete.run.opened import Run
from support.data import shared_data

FAST = ["--trust", "none"]
WORDS = ("good", "rude", "clean", "small", "dirty", "kind", "bright", "slow")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [
        {"id": f"t{i}", "text": f"the food was {w} and the room was {v}"}
        for i, (w, v) in enumerate(itertools.pairwise(WORDS))
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_explaining_a_file_gives_what_explaining_each_text_gives(texts, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["run", "saliency", "--data", str(texts), "--out", str(out), *FAST]) == 0
    said = capsys.readouterr()
    assert "saliency over 7 rows" in said.out and "7 rows, 0 failed" in said.err
    found = xg.open(out)
    assert isinstance(found, Run) and found.finished
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    alone = xg.explain("terrarium/sentiment", [r["text"] for r in rows], "saliency", trust="none")
    for row, a in zip(rows, alone):
        np.testing.assert_allclose(found[row["id"]].total, a.total, rtol=1e-4, atol=1e-6)
    assert list(found.to_frame()["text"]) == [r["text"] for r in rows]
    assert (
        run(["run", "saliency", "--data", str(texts), "--out", str(out), *FAST]) == 0
    )  # it is there already
    assert run(["jobs", "status", str(out)]) == 0
    assert "finished" in capsys.readouterr().out
    assert run(["show", str(out), "--row", "t2"]) == 0
    assert "clean" in capsys.readouterr().out
    assert run(["jobs", "verify", str(out)]) == 0
    assert "the same bytes" in capsys.readouterr().out
    assert run(["jobs", "gc", str(out), "--all"]) == 0
    assert not list((out / "log").iterdir())


def test_two_processes_give_the_same_bytes_as_one(texts, tmp_path):
    args = ["run", "occlusion", "--data", str(texts), *FAST]
    assert run([*args, "--out", str(tmp_path / "a")]) == 0
    command = [sys.executable, "-m", "exegete.cli", *args, "--out", str(tmp_path / "b")]
    subprocess.run([*command, "--engine", "processes", "--workers", "2"], check=True, capture_output=True)
    one, two = (Run(tmp_path / name) for name in "ab")
    assert one.folder.manifest.read_text() == two.folder.manifest.read_text()
    assert one.folder.result.read_bytes() == two.folder.result.read_bytes()


def test_a_study_that_can_not_be_divided_runs_whole_and_says_so(texts, tmp_path, capsys):
    args = ["run", "logit_lens", "--data", str(texts), "--out", str(tmp_path / "out"), "--limit", "1"]
    assert run([*args, "--model", "terrarium/decoder"]) == 0
    assert "It ran in one piece: logit_lens" in capsys.readouterr().err


def test_metrics_judge_methods_and_harvest_keeps_activations(texts, tmp_path):
    args = ["--data", str(texts), "--out"]
    judged = ["run", "comprehensiveness", "--methods", "saliency,occlusion", "--trust", "fast"]
    assert run([*judged, *args, str(tmp_path / "judged")]) == 0
    table = xg.open(tmp_path / "judged").result
    assert table.methods == ("saliency", "occlusion", "random") and table.n_texts == 7
    assert run(["run", "harvest", "--sites", "0.resid_post,1.mlp_act", *args, str(tmp_path / "kept")]) == 0
    found = xg.open(tmp_path / "kept")
    ids, arrays = next(found.arrays("0.resid_post"))
    assert len(ids) == 7 and all(a.dtype == np.float32 for a in arrays)
    model = xg.load("terrarium/sentiment")
    import torch

    from exegete.models.capture import run as captured
    from exegete.models.encode import encode

    text = json.loads(texts.read_text().splitlines()[2])["text"]
    tokens = encode(model, xg.Text.of(text)).tokens
    read = captured(model, {"input_ids": torch.tensor([[t.id for t in tokens]])}, ["0.resid_post"])
    real = [i for i, t in enumerate(tokens) if not t.special]
    np.testing.assert_allclose(
        arrays[ids.index("t2")], read["0.resid_post"][0, real].numpy(), rtol=1e-4, atol=1e-5
    )


def test_without_a_folder_it_is_found_again_in_the_cache(texts, tmp_path, monkeypatch):
    monkeypatch.setenv("EXEGETE_CACHE", str(tmp_path / "cache"))
    first = xg.run("saliency", "terrarium/sentiment", str(texts), trust="none")
    again = xg.run("saliency", "terrarium/sentiment", str(texts), trust="none")
    other = xg.run("saliency", "terrarium/sentiment", str(texts), trust="none", target="positive")
    assert first.folder.path == again.folder.path != other.folder.path
    assert len(list((tmp_path / "cache" / "runs").iterdir())) == 2


def test_the_cache_never_gives_the_run_of_other_weights(texts, tmp_path, monkeypatch):
    import torch

    monkeypatch.setenv("EXEGETE_CACHE", str(tmp_path / "cache"))
    model = xg.load("terrarium/sentiment")
    first = xg.run("saliency", model, str(texts), trust="none")
    with torch.no_grad():
        next(model.module.parameters()).mul_(1.5)
    second = xg.run("saliency", model, str(texts), trust="none")
    assert first.folder.path != second.folder.path
    assert not np.allclose(first["t0"].total, second["t0"].total)


def test_texts_in_memory_and_their_ids(tmp_path):
    found = xg.run(
        "saliency",
        "terrarium/sentiment",
        ["the food was good", "the room was dirty"],
        str(tmp_path),
        trust="none",
    )
    assert [i for i, _ in found] == ["1", "2"]
    assert found["2"].text == "the room was dirty"


def test_each_row_may_have_its_own_target(tmp_path):
    rows = [{"text": "the food was good", "say": s} for s in ("negative", "positive", "nonsense")]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = xg.run(
        "saliency",
        "terrarium/sentiment",
        str(path),
        str(tmp_path / "out"),
        trust="none",
        target_column="say",
        max_error_rate=0.5,
    )
    assert [found[i].target for i in ("1", "2")] == ["negative", "positive"]
    assert [(e[0], "nonsense" in e[2]) for e in found.errors()] == [("3", True)]


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        (["saliensy"], UnknownName, "Did you mean saliency"),
        (["saliency", "--engine", "rey"], UnknownName, "ray"),
        (["saliency", "--engine", "ray", "--address", "127.0.0.1:1"], UsageError, "Nobody answers there"),
        (["saliency", "--workers", "2"], UsageError, "this process alone"),
        (["saliency", "--text-column", "body"], InputError, "no column 'body'"),
        (["saliency", "--n-steps", "3"], UsageError, "--n-steps"),
        (["comprehensiveness"], UsageError, "none is named"),
        (["harvest"], UsageError, "No place is named"),
        (["harvest", "--sites", "77.resid_post"], ExegeteError, "77"),
        (["weight_tables"], UsageError, "no rows"),
    ],
)
def test_what_does_not_fit_gets_a_letter(args, error, words, texts, tmp_path):
    with pytest.raises(error) as e:
        run(["run", *args, "--data", str(texts), "--out", str(tmp_path / "out")])
    assert words in str(e.value)


def test_other_letters(texts, tmp_path):
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match="is not JSON"):
        (tmp_path / "bad.jsonl").write_text('{"text": "one"}\n{"text": ')
        run(["run", "saliency", "--data", str(tmp_path / "bad.jsonl"), "--out", out])
    with pytest.raises(StoreError, match=r"no plan\.json"):
        run(["jobs", "status", str(tmp_path)])
    with pytest.raises(BudgetError, match="rows failed"):
        run(["run", "saliency", "--data", str(texts), "--out", out, "--target", "nonsense"])
    assert run(["run", "saliency", "--data", str(texts), "--out", str(tmp_path / "b"), *FAST]) == 0
    with pytest.raises(StoreError, match=r"(?s)\(unit: 'word' there, 'token' now\).*jobs resume"):
        run(["run", "saliency", "--data", str(texts), "--out", str(tmp_path / "b"), *FAST, "--unit", "token"])
    with pytest.raises(UsageError, match="It is finished"):
        run(["jobs", "cancel", str(tmp_path / "b")])


def test_a_wrong_name_leaves_the_folder_free(texts, tmp_path):
    out = tmp_path / "out"
    line = ["run", "saliency", "--data", str(texts), "--out", str(out), *FAST]
    for wrong in (["--model", "terrarium/sentimen"], ["--engine", "ray", "--address", "127.0.0.1:1"]):
        with pytest.raises(ExegeteError):
            run([*line, *wrong])
        assert not out.exists()
    assert run(line) == 0
    with pytest.raises(StoreError, match=r"model: 'terrarium/sentiment' there"):
        run([*line, "--model", "terrarium/sentimen"])
    assert run(["jobs", "verify", str(out)]) == 0  # what was finished is not taken back


def test_a_method_of_a_script_is_not_handed_to_other_processes(texts, tmp_path):
    class Order(type(METHODS.get("saliency")())):
        id = "order_of_a_script"

    METHODS.add("order_of_a_script", Order)
    try:
        for call in (
            {"method": "order_of_a_script"},
            {"method": "comprehensiveness", "methods": ("order_of_a_script",)},
        ):
            with pytest.raises(UsageError, match="only what is installed"):
                xg.run(
                    model="terrarium/sentiment",
                    data=str(texts),
                    out=str(tmp_path / "out"),
                    engine="processes",
                    **call,
                )
            assert not (tmp_path / "out").exists()
        done = xg.run(
            "order_of_a_script", "terrarium/sentiment", str(texts), str(tmp_path / "out"), trust="none"
        )
        assert len(done) == len(WORDS) - 1
    finally:
        METHODS._things.pop("order_of_a_script")


def test_a_run_is_read_before_its_first_shard(texts, tmp_path, capsys):
    job, rows = job_for("saliency", ModelRef(source="terrarium/sentiment"), str(texts), Wanted(trust="none"))
    place = prepare(job, rows, tmp_path / "out", {})
    assert run(["jobs", "status", str(place.path)]) == 0
    assert "not finished, and nobody works" in capsys.readouterr().out
    found = Run(place.path)
    assert found.errors() == [] and found.table().num_rows == 0
    with pytest.raises(StoreError, match="has not been computed yet"):
        found["t1"]
    with pytest.raises(UnknownName):
        found["t99"]


def test_items_that_do_not_fit_are_told_in_every_place(tmp_path, capsys):
    pairs = [{"clean": "mary gave john a book", "corrupt": "anna gave john a book", "answer": "mary"}] * 2
    pairs += [
        {"clean": "mary gave john a book", "corrupt": "anna gave john a book", "answer": "mary gave john"}
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps({"id": f"p{i}", **p}) for i, p in enumerate(pairs)))
    line = ["run", "activation_patching", "--data", str(file), "--model", "terrarium/decoder"]
    assert run([*line, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    shown = " ".join(said.out.split())
    assert "3 rows, 0 failed, 1 could not be used" in said.err
    assert "Of 3 pairs 2 could be patched" in shown
    table = Run(tmp_path / "out").table(("id", "unfit")).to_pylist()
    assert [bool(r["unfit"]) for r in table] == [False, False, True]


def test_real_sentences_from_a_table(tmp_path):
    data = shared_data("sst")
    found = sorted(data.rglob("*.tsv")) or sorted(data.rglob("*.csv")) or sorted(data.rglob("*.jsonl"))
    if not found:
        pytest.skip("no table of sentences there")
    assert (
        run(
            ["run", "saliency", "--data", str(found[0]), "--limit", "20", "--out", str(tmp_path / "o"), *FAST]
        )
        == 0
    )
    assert len(Run(tmp_path / "o")) == 20


def test_a_suite_is_made_by_two_processes_as_by_one(texts, tmp_path):
    args = ["evaluate", str(texts), "--methods", "saliency", "--metrics", "sufficiency", "--trust", "fast"]
    for name, more in (("a", []), ("b", ["--engine", "processes", "--workers", "2"])):
        command = [sys.executable, "-m", "exegete.cli", *args, "--out", str(tmp_path / name), *more]
        subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "a" / "manifest.json").read_text() == (tmp_path / "b" / "manifest.json").read_text()
    with pytest.raises(UsageError, match="none is named"):
        run([*args, "--engine", "processes"])


@pytest.mark.parametrize(("package", "extra"), [("ray", "scale"), ("duckdb", "query")])
def test_an_extra_that_is_missing_says_what_to_install(package, extra, texts, tmp_path, monkeypatch):
    found = xg.run("saliency", "terrarium/sentiment", str(texts), str(tmp_path / "a"), trust="none")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"exegete\[{extra}\]"):
        if package == "duckdb":
            found.sql("select 1")
        else:
            xg.run(
                "saliency", "terrarium/sentiment", str(texts), str(tmp_path / "b"), trust="none", engine="ray"
            )
