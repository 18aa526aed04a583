"""Runs with real models: what the cache may find again, where models lie, which rows fail, and what is told of them."""

import copy
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

import exegete as xg
from exegete.core.embedded import embedded_path
from exegete.core.errors import BudgetError, ModelError, StoreError
from exegete.core.job import ModelRef, Output
from exegete.evaluate import judged_text
from exegete.evaluate.attributing import _Gathered
from exegete.evaluate.jobs import Wanted, job_for
from exegete.evaluate.launch import _files, launch
from exegete.models.reference import identity
from exegete.run.cache import shrink
from exegete.run.drive import Engine
from exegete.run.opened import Run

MODEL = "terrarium/sentiment"
TEXTS = [f"the food was {w} and the room was small" for w in ("good", "bad", "rude")]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXEGETE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "runs"


@pytest.fixture
def mine(tmp_path):
    """A folder of weights."""
    return shutil.copytree(embedded_path(MODEL), tmp_path / "models" / "mine")


def lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def explained(model, data, out=None, **options):
    return xg.run("saliency", model, data, out, trust="none", **options)


# --- the cache


def test_another_tokenizer_is_another_run(cache):
    model = xg.load(MODEL)
    twin = copy.deepcopy(model.tokenizer)
    pieces = [model.tokenizer.tokenize(t) for t in ("the food was good", "the food was rude")]
    one, two = (p[-1] for p in pieces)  # the same weights read other words
    told = json.loads(twin.backend_tokenizer.to_str())
    vocabulary = told["model"]["vocab"]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    twin._tokenizer = type(twin.backend_tokenizer).from_str(json.dumps(told))
    other = xg.load((model.module, twin))
    other.name = model.name
    before = explained(model, TEXTS)
    after = explained(other, TEXTS)
    assert before.folder.path != after.folder.path
    assert before["1"].predicted != after["1"].predicted
    assert explained(xg.load(MODEL), TEXTS).folder.path == before.folder.path


def test_padding_a_tokenizer_makes_it_no_other(cache):
    model = xg.load(MODEL)
    before = identity(model)
    model.tokenizer(TEXTS, padding=True, truncation=True, max_length=5)
    assert identity(model) == before == identity(xg.load(MODEL))


def test_a_file_that_a_parameter_names_is_part_of_the_key(tmp_path):
    path = tmp_path / "dictionary.safetensors"
    path.write_text("a")
    params = {"method": "word", "dictionary": str(path), "layers": [1]}
    before = _files(params)
    assert len(before) == 1
    path.write_text("b")
    assert _files(params) != before
    assert _files({"method": "x" * 5000, "other": "a\0b", "empty": ""}) == []


def test_edited_weights_are_not_explained_by_processes_that_load_others(cache, tmp_path):
    model = xg.load(MODEL)
    model.module.state_dict()["classifier.weight" if hasattr(model.module, "classifier") else next(iter(model.module.state_dict()))].mul_(-1)  # fmt: skip
    with pytest.raises(ModelError, match="not those it began with"):
        explained(model, TEXTS, str(tmp_path / "out"), engine="processes", workers=1)
    assert len(explained(model, TEXTS)) == 3


def test_what_is_cut_short_while_it_is_planned_is_in_nobodys_way(cache, monkeypatch):
    from exegete.evaluate import launch as launching

    with monkeypatch.context() as m:
        m.setattr(launching, "identity", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            explained(MODEL, TEXTS)
    assert not list(cache.iterdir())
    assert len(explained(MODEL, TEXTS[:2])) == 2


def test_two_threads_plan_two_runs_at_once(cache):
    model, found = xg.load(MODEL), {}
    meet = threading.Barrier(2, timeout=60)

    def rows(texts):
        meet.wait()  # both have begun their plan, neither has ended it
        for n, text in enumerate(texts):
            yield str(n), {"text": text}
        meet.wait()

    def work(name, texts):
        wanted = Wanted(trust="none")
        found[name] = launch(
            lambda ref: (job_for("saliency", ref, [], wanted)[0], lambda: rows(texts)), model, None, Engine()
        )

    threads = [threading.Thread(target=work, args=(n, TEXTS[n:])) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(len(run) for run in found.values()) == [2, 3]


def test_a_cache_that_cannot_be_written_is_a_letter(monkeypatch):
    monkeypatch.setenv("EXEGETE_CACHE", "/dev/null/cache")
    with pytest.raises(StoreError, match=r"cannot be kept in .*Not a directory(.|\n)*--out DIR"):
        explained(MODEL, TEXTS)


def test_a_run_that_is_worked_on_is_not_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setenv("EXEGETE_CACHE_GB", "0")
    long_ago = time.time() - 30 * 86400
    for name, at in (("old", long_ago), ("long", time.time())):
        shards = tmp_path / name / "shards"
        shards.mkdir(parents=True)
        (shards / "000000.parquet").write_text("x")
        os.utime(shards, (at, at))  # a shard was put here
        os.utime(tmp_path / name, (long_ago, long_ago))
    shrink(tmp_path, "new", "manifest.json")
    assert {p.name for p in tmp_path.iterdir()} == {"long"}


def test_activations_that_another_process_clears_away_are_read_again(tmp_path, monkeypatch):
    from exegete.models.kept import Kept

    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "done").write_text("1")
    assert Kept("key", tmp_path).open() is None  # the array is gone, the sign not yet


# --- where models lie


def test_a_run_goes_on_from_another_place(mine, tmp_path, monkeypatch):
    data = lines(tmp_path / "texts.jsonl", [{"text": t} for t in TEXTS])
    monkeypatch.chdir(tmp_path)
    command = [
        sys.executable,
        "-m",
        "exegete.cli",
        "run",
        "saliency",
        "--trust",
        "none",
        "--model",
        "models/mine",
    ]
    for name in ("ä run", "whole"):
        assert subprocess.run([*command, "--data", data, "--out", name], capture_output=True).returncode == 0
    run = Run(tmp_path / "ä run")
    for path in (run.folder.manifest, run.folder.result, run.folder.shard(0)):
        path.unlink()
    (tmp_path / "elsewhere").mkdir()
    resume = [sys.executable, "-m", "exegete.cli", "jobs", "resume", str(run.folder.path)]
    out = subprocess.run(resume, cwd=tmp_path / "elsewhere", capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    whole = Run(tmp_path / "whole")
    assert run.plan.hash == whole.plan.hash  # where the folder lies is no part of it
    assert run.folder.manifest.read_bytes() == whole.folder.manifest.read_bytes()


# --- rows


def test_a_target_column_that_is_not_there_is_no_silent_default(tmp_path):
    data = lines(tmp_path / "a.jsonl", [{"text": t, "label": "positive"} for t in TEXTS])
    with pytest.raises(BudgetError, match=r"no such column; its columns are (text, label|label, text)"):
        explained(MODEL, data, str(tmp_path / "typo"), target_column="labell")
    rows = [{"text": TEXTS[0], "label": None}, {"text": TEXTS[1], "label": "positive"}]
    run = explained(MODEL, lines(tmp_path / "b.jsonl", rows), str(tmp_path / "b"), target_column="label")
    assert run.n_failed == 0 and run["2"].target == "positive" and run["1"].target == run["1"].predicted


@pytest.mark.parametrize(
    ("method", "more"), [("saliency", {}), ("comprehensiveness", {"methods": ["saliency"]})]
)
def test_texts_in_memory_are_cut_as_those_of_files(tmp_path, method, more):
    long = " ".join(TEXTS * 60)
    kept = xg.run(method, MODEL, [long], str(tmp_path / "a"), trust="fast", truncate=True, **more)
    assert kept.n_failed == 0
    with pytest.raises(BudgetError):
        xg.run(method, MODEL, [long], str(tmp_path / "b"), trust="fast", **more)


def test_a_row_that_is_no_text_is_a_failed_row_of_a_judgement(tmp_path):
    rows = [{"text": TEXTS[0]}, {"text": TEXTS[1], "pair": 7}]
    run = xg.run(
        "comprehensiveness", MODEL, lines(tmp_path / "a.jsonl", rows), str(tmp_path / "out"), methods=["saliency"],
        trust="fast", max_error_rate=0.5,
    )  # fmt: skip
    assert run.n_failed == 1 and run.errors()[0][0] == "2" and "pair" in run.errors()[0][2]


def test_metrics_that_are_short_of_memory_are_scored_with_less_at_a_time(tmp_path, monkeypatch):
    real, budgets = judged_text._column, []

    def short(bench, *args):
        budgets.append(bench.what.model.token_budget)
        if bench.what.model.token_budget > 256:
            raise MemoryError
        return real(bench, *args)

    monkeypatch.setattr(judged_text, "_column", short)
    run = xg.run(
        "comprehensiveness", MODEL, TEXTS[:1], str(tmp_path / "out"), methods=["saliency"], trust="fast"
    )
    assert budgets == [1024, 512, 256] and run.n_failed == 0
    assert not run["1"].failures and np.isfinite(run.result.values).any()


# --- what harvesting tells


def test_marks_that_fail_are_counted_and_texts_that_are_cut_are_told(tmp_path):
    texts = [{"text": t, "marks": [{"label": "x", "spans": [[0, 3]]}]} for t in TEXTS]
    whole = " ".join(TEXTS * 60)
    marks = [{"label": "x", "spans": [[0, 3]]}, {"label": "y", "spans": [[5000, 5003]]}]
    beyond = {"text": whole, "marks": marks}
    run = xg.run("harvest", MODEL, lines(tmp_path / "a.jsonl", [*texts, beyond]), str(tmp_path / "a"), sites=["0.resid_post"], pool="last")  # fmt: skip
    assert sorted(run.table(("failed_marks",))["failed_marks"].to_pylist()) == [0, 0, 0, 1]
    assert run.result.rows[0][-1] == "1" and run.result.rows[0][2:4] == ("4", "4")
    path = tmp_path / "long.txt"
    path.write_text("\n".join([TEXTS[0], whole]))
    long = xg.run("harvest", MODEL, str(path), str(tmp_path / "b"), sites=["0.resid_post"])
    assert long.table(("cut",))["cut"].to_pylist() == [False, True]
    assert (
        "Of 1 texts only the beginning" in long.result.footer
        and "only the beginning" not in run.result.footer
    )


def test_a_reference_to_a_folder_says_where_it_lies(mine, monkeypatch, tmp_path):
    from exegete.models.reference import found_at, load_ref

    monkeypatch.chdir(tmp_path)
    ref = found_at(ModelRef(source="models/mine"))
    assert ref.folder == str(mine)
    monkeypatch.chdir("/")
    assert load_ref(ref).name == "models/mine"
    assert found_at(ModelRef(source="gpt2\0")).folder is None


def test_merging_keeps_numbers_of_a_row_and_no_objects():
    flat = {
        "forwards": 9, "backwards": 0, "checks_failed": 0, "predicted": "p", "target": "p",
        **{f"s{m}.{k}": v for m in range(3) for k, v in (("better", "higher"), ("skipped", ""), ("control_name", "c"))},
    }  # fmt: skip
    rng, gathered, n = np.random.default_rng(0), _Gathered(0), 2000
    tracemalloc.start()
    for _ in range(n):
        told = {
            f"s{m}{k}": float(rng.normal())
            for m in range(3)
            for k in ("", ".chance", ".control", ".percentile")
        }
        words = [f"w{i}" for i in rng.integers(0, 500, 20)]
        gathered.add(Output({}, {**flat, **told, "units": words, "scores": rng.normal(size=20).tolist()}))
    each = tracemalloc.get_traced_memory()[0] / n
    tracemalloc.stop()
    assert gathered.n == n and each < 1200
