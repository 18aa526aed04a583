"""A run from plan to manifest: the same bytes whoever works, rows that fail, shards that kill, memory that is short, folders of others."""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from exegete.core.errors import BudgetError, InputError, ModelError, StoreError, UnknownName, UsageError
from exegete.core.job import RowFailed
from exegete.run import folder as folders
from exegete.run.drive import Engine, Stopped, drive, prepare
from exegete.run.folder import Folder, me
from exegete.run.opened import Run
from exegete.run.plan import read_plan
from exegete.run.verify import verify
from support.toy_job import ToyEngine, ToyWorker, environment, rows_of, toy

N = 50


def made(path: Path, n: int = N, engine: Engine | None = None, job=None, **other: str) -> Run:
    place = prepare(job or toy(), rows_of(n, **other), path, {"data": "toys"})
    drive(place, engine or Engine(), allowed=0.5)
    return Run(path)


def content(path: Path) -> dict[str, str]:
    """Hashes of everything that a run made, its logs left out."""
    files = [f for f in path.rglob("*") if f.is_file() and "log" not in f.parts]
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    made(path)
    return path


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


def test_every_row_is_there_once_with_what_was_worked_out(whole):
    run = Run(whole)
    assert run.finished and len(run) == N and run.n_failed == 0
    texts = dict(rows_of(N)())
    found = dict(run)
    assert {i: v["hash"] for i, v in found.items()} == {
        i: hashlib.sha256(d["text"].encode()).hexdigest() for i, d in texts.items()
    }
    assert [r[1] for r in run.result.rows] == list(texts)  # merged in the order of the input


def test_processes_make_the_same_bytes(whole, tmp_path):
    made(tmp_path / "b", engine=ToyEngine("processes", 2))
    assert content(tmp_path / "b") == content(whole)


def test_shards_are_of_like_length_and_within_their_bounds(whole):
    run = Run(whole)
    plan = read_plan(run.folder)
    assert plan.n_shards == 7 and plan.n_rows == N
    lengths = [[len(d["text"]) for _, d in part] for part in _shards(run)]
    assert all(max(a) <= min(b) for a, b in itertools.pairwise(lengths))


def _shards(run):
    from exegete.run.rows import Rows

    rows = Rows(run.plan.file(run.folder))
    return [[(r.id, r.data) for r in rows.shard(k)] for k in range(run.plan.n_shards)]


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(whole, tmp_path):
    class Tired(ToyWorker):
        def work(self, rows):
            if len(list((tmp_path / "a" / "shards").glob("*.parquet"))) == 3:
                raise KeyboardInterrupt
            return super().work(rows)

    place = prepare(toy(), rows_of(N), tmp_path / "a", {"data": "toys"})
    with pytest.raises(KeyboardInterrupt):
        drive(place, Engine(), worker=Tired(0, 1000))
    assert len(place.done()) == 3 and not place.manifest.exists()
    before = {k: place.shard(k).stat().st_mtime_ns for k in place.done()}
    drive(place, Engine())
    assert content(tmp_path / "a") == content(whole)
    assert {k: place.shard(k).stat().st_mtime_ns for k in before} == before  # not made again


def test_rows_that_fail_are_told_and_the_others_go_on(tmp_path):
    run = made(tmp_path, i3="fail here", i17="fail there")
    assert len(run) == N and run.n_failed == 2
    assert [e[:2] for e in run.errors()] == [("r3", "InputError"), ("r17", "InputError")]
    assert run.errors()[0][2] == "You asked for a hash. The text fails. Change it."
    with pytest.raises(RowFailed, match="The text fails"):
        run["r3"]
    assert run.result.rows[3][2] == "failed"


def test_too_many_failures_end_it_and_a_higher_rate_goes_on(tmp_path):
    bad = {f"i{i}": f"fail {i}" for i in range(0, N, 2)}
    place = prepare(toy(), rows_of(N, **bad), tmp_path, {})
    with pytest.raises(
        BudgetError,
        match=r"at most 10% of rows(.|\n)*rows failed, the first so: row r\d+: You asked for a hash. The text fails",
    ):
        drive(place, Engine(), allowed=0.1)
    assert len(place.done()) < 7
    drive(place, Engine(), allowed=0.6)
    assert Run(tmp_path).n_failed == 25


def test_a_shard_that_kills_three_workers_is_given_up_and_the_rest_is_done(tmp_path):
    place = prepare(toy(), rows_of(N, i4="die of this"), tmp_path, {})
    with pytest.raises(StoreError, match=r"1 of 7 shards were given up(.|\n)*SIGKILL"):
        drive(place, ToyEngine("processes", 2))
    assert len(place.done()) == 6 and not place.manifest.exists()
    events = [
        json.loads(line)["event"]
        for f in place.log.glob("*driver.jsonl")
        for line in f.read_text().splitlines()
    ]
    assert events.count("died") == 3 and events.count("poison") == 1


def test_a_worker_that_cannot_begin_ends_it_with_its_last_words(tmp_path):
    class Broken(ToyEngine):
        def crew(self):
            crew = super().crew()
            crew.module = "support.no_such_module"
            return crew

    place = prepare(toy(), rows_of(N), tmp_path, {})
    with pytest.raises(ModelError, match=r"died before they had anything to do(.|\n)*no_such_module"):
        drive(place, Broken("processes", 1))


def test_memory_that_is_short_halves_the_work(whole, tmp_path):
    job = toy(room=3)
    place = prepare(job, rows_of(N), tmp_path, {})
    drive(place, Engine())
    ours = dict(Run(tmp_path))
    assert ours == dict(Run(whole))
    events = [json.loads(line) for f in place.log.glob("*.jsonl") for line in f.read_text().splitlines()]
    assert sum(e["event"] == "memory" for e in events) >= 7


def test_a_row_that_is_too_large_by_itself_is_an_error_row(tmp_path):
    place = prepare(toy(room=0), rows_of(3), tmp_path, {})
    drive(place, Engine(), allowed=1.0)
    run = Run(tmp_path)
    assert [e[1] for e in run.errors()] == ["MemoryError"] * 3


@pytest.mark.parametrize("change", [{"n": N - 1}, {"i3": "another text"}, {"job": toy(nap=0.001)}])
def test_the_folder_of_another_job_is_refused_with_the_difference(whole, change):
    with pytest.raises(StoreError, match=r"another one \(.* there, .* now"):
        made(whole, **change)


def test_the_plan_does_not_depend_on_workers_or_place(whole, tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path / "c", {"data": "elsewhere"})
    drive(place, ToyEngine("processes", 1))
    assert Run(tmp_path / "c").plan.hash == Run(whole).plan.hash


def test_two_drivers_in_one_folder_make_every_row_once(whole, tmp_path):
    command = [sys.executable, "-m", "support.toy_job", "drive", str(tmp_path), str(N), "2"]
    both = [subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) for _ in range(2)]
    for driver in both:
        _, said = driver.communicate(timeout=120)
        assert driver.returncode == 0, said.decode()
    run = Run(tmp_path)
    assert len(run) == N
    assert dict(run) == dict(Run(whole))
    assert verify(run.folder, sample=0).ok


def test_a_signal_stops_after_the_shard_and_the_same_call_goes_on(tmp_path):
    command = [sys.executable, "-m", "support.toy_job", "drive", str(tmp_path), "200", "1"]
    driver = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)
    place = Folder.of(tmp_path)
    while not (tmp_path / "shards").exists() or not place.done():
        assert driver.poll() is None, driver.stderr.read().decode()
        time.sleep(0.05)
    driver.terminate()
    _, said = driver.communicate(timeout=60)
    assert driver.returncode != 0 and b"It was stopped (SIGTERM)" in said
    assert b"SIGTERM: it stops after the shard at hand" in said
    assert place.done() and not place.held() and not list(tmp_path.rglob("*.part"))
    assert subprocess.run(command, env=environment(), timeout=120).returncode == 0
    assert len(Run(tmp_path)) == 200


def test_a_signal_when_all_is_done_keeps_nothing_from_its_end(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})

    class Late(ToyWorker):
        def work(self, rows):
            if len(place.done()) == read_plan(place).n_shards - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().work(rows)

    drive(place, Engine(), worker=Late(0.0, 1000))
    assert place.manifest.exists() and len(Run(tmp_path)) == N


def test_a_plan_by_other_code_is_not_offered_to_be_resumed(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    plan = json.loads(place.plan.read_text())
    plan["code"]["source"] = "another"
    place.plan.write_text(json.dumps(plan))
    with pytest.raises(StoreError, match="source of exegete: 'another' there") as e:
        prepare(toy(), rows_of(N), tmp_path, {})
    assert "resume" not in e.value.do


def test_cancel_stops_those_who_work_and_resume_goes_on(tmp_path):
    place = prepare(toy(nap=0.01), rows_of(200), tmp_path, {})
    caught = []

    def work():
        try:
            drive(place, Engine())
        except Stopped as e:
            caught.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    while not place.done():
        time.sleep(0.02)
    place.write_stop("it was cancelled")
    thread.join(60)
    assert "it was cancelled" in caught[0].found and 0 < len(place.done()) < read_plan(place).n_shards
    drive(place, Engine())
    assert len(Run(tmp_path)) == 200


def test_workers_with_other_weights_are_refused(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    (tmp_path / "weights.txt").write_text("other weights")
    with pytest.raises(ModelError, match="not those it began with"):
        drive(place, Engine())


def test_a_folder_with_other_things_is_refused_and_one_of_a_failed_plan_is_not(tmp_path):
    def broken():
        yield "a", {"text": "one"}
        raise InputError("You asked to read rows.", "Line 2 is broken.", "Mend it.")

    with pytest.raises(InputError):
        prepare(toy(), broken, tmp_path / "a", {})
    assert len(made(tmp_path / "a")) == N
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"holds other things \(thesis\.tex\)"):
        made(tmp_path / "b")


def test_halves_by_two_versions_are_refused(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    plan = json.loads(place.plan.read_text())
    plan["code"]["torch"] = "1.0"
    place.plan.write_text(json.dumps(plan))
    with pytest.raises(StoreError, match=r"begun by other code \(.* torch 1\.0"):
        drive(place, Engine())


def test_a_claim_holds_until_its_holder_dies_or_falls_silent(tmp_path, monkeypatch):
    place = Folder.of(tmp_path)
    place.make()
    assert place.claim(0, "one") and not place.claim(0, "two")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead = f"{me().rsplit('-', 2)[0]}-{child.pid}-1"
    (tmp_path / "claims" / "000001.json").write_text(json.dumps({"worker": "x", "by": dead}))
    assert place.claim(1, "two")  # the holder is dead
    (tmp_path / "claims" / "000002.json").write_text(json.dumps({"worker": "x", "by": "elsewhere-12-99"}))
    assert not place.claim(2, "two")  # on another machine, and not silent for long
    monkeypatch.setattr(folders, "LEASE", 0.05)
    time.sleep(0.1)
    assert place.claim(2, "two")
    assert not place.claim(0, "two")  # silent, but its process lives


def test_a_commit_is_whole_or_nothing_and_never_overwrites(tmp_path):
    place = Folder.of(tmp_path)
    place.make()
    assert place.commit(place.shard(0), b"first")
    assert not place.commit(place.shard(0), b"second")
    assert place.shard(0).read_bytes() == b"first"
    assert not list(tmp_path.rglob("*.part"))


def test_what_the_dead_left_is_found_and_what_the_living_hold_is_not(tmp_path):
    place = Folder.of(tmp_path)
    place.make()
    host = me().rsplit("-", 2)[0]
    dead = tmp_path / "shards" / f".000001.parquet.{host}-4194000-1.part"
    mine = tmp_path / "shards" / f".000002.parquet.{me()}.part"
    dead.write_text("x")
    mine.write_text("x")
    assert place.leftovers() == [dead]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_stops_clean_and_room_lets_it_go_on(whole, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=72k", "tmpfs", str(small)], capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        place = prepare(toy(), rows_of(N), small / "run", {"data": "toys"})
        with pytest.raises(StoreError, match=r"No space left on device(.|\n)*same command then goes on"):
            drive(place, Engine())
        done = len(place.done())
        assert 0 < done < 7
        subprocess.run(["mount", "-o", "remount,size=2m", str(small)], check=True)
        drive(place, Engine())
        assert content(small / "run") == content(whole)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_tables_filters_sql_and_arrays(whole):
    import pyarrow.compute as pc

    run = Run(whole)
    table = run.table(("id", "n_chars"), where=pc.field("n_chars") > 40)
    texts = dict(rows_of(N)())
    assert table["id"].to_pylist() == [i for i, d in texts.items() if len(d["text"]) > 40]
    assert list(run.to_frame()["text"]) == [d["text"] for d in texts.values()]
    with pytest.raises(UnknownName, match="n_chars"):
        run.table(("n_char",))
    duckdb = pytest.importorskip("duckdb")
    found = run.sql("select count(*) as n, max(n_chars) as most from rows").to_pylist()
    assert found == [{"n": N, "most": max(len(d["text"]) for d in texts.values())}] and duckdb
    vectors = {i: v for ids, arrays in run.arrays("vector") for i, v in zip(ids, arrays)}
    np.testing.assert_array_equal(vectors["r7"][0], [ord(c) for c in run["r7"]["hash"][:16]])


@pytest.mark.parametrize("harm", ["lost", "changed", "swapped"])
def test_verify_sees_what_is_wrong(tmp_path, harm):
    run = made(tmp_path)
    assert verify(run.folder, sample=2).ok
    one, two = run.folder.shard(1), run.folder.shard(2)
    if harm == "lost":
        one.unlink()
    elif harm == "changed":
        one.write_bytes(one.read_bytes()[:-1] + b"x")
    else:
        kept = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(kept)
    try:
        found = verify(run.folder, sample=0)
        assert not found.ok
        rows = {name: words for name, _, words in found.rows}
        same, _, n, *_ = rows["every file as written"].split()
        assert int(n) - int(same) == (2 if harm == "swapped" else 1)
    except StoreError as e:
        assert harm == "changed" and "Delete that file" in e.do


def test_verify_computes_a_sample_again(tmp_path):
    run = made(tmp_path)

    class Other(ToyWorker):
        def _one(self, row):
            found = super()._one(row)
            return type(found)(found.value, {**found.flat, "n_chars": 1}, found.arrays, found.tokens)

    assert verify(run.folder, worker=ToyWorker(0, 1000)).ok
    bad = verify(run.folder, worker=Other(0, 1000))
    assert not bad.ok and bad.rows[-1][1] == "FAILED"


@pytest.mark.parametrize(
    "how",
    [
        {"name": "cloud"},
        {"workers": 2},
        {"name": "processes", "workers": 0},
        {"name": "processes", "address": "auto"},
    ],
)
def test_engines_that_do_not_fit_are_refused(how):
    with pytest.raises(UsageError):
        Engine(**how)
