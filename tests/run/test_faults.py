"""What may go wrong around a run, each shown once: dead workers, threads, folders and files of others, memory, numbers that are told."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from exegete.cli.commands import jobs
from exegete.core.errors import BudgetError, ModelError, StoreError, UnknownName
from exegete.core.job import ModelRef, Output, Row
from exegete.run import drive as driving
from exegete.run.crew import PATIENCE, TRIES, Crew, Ended, Watchman
from exegete.run.drive import Engine, Stopped, drive, prepare
from exegete.run.events import Log, Reader
from exegete.run.folder import Folder, me
from exegete.run.opened import Run
from exegete.run.plan import read_plan
from exegete.run.process import told_letter
from exegete.run.rows import Rows, write_rows
from exegete.run.watch import Watch
from exegete.run.worker import Here, worked
from support.toy_job import Toy, ToyEngine, ToyProcesses, ToyWorker, environment, rows_of, toy

N = 50
LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


def made(path: Path, n: int = N, **other: str) -> Run:
    drive(prepare(toy(), rows_of(n, **other), path, {}), Engine(), allowed=1.0)
    return Run(path)


def dead() -> str:
    """A process of this machine that is no more."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return f"{me().rsplit('-', 2)[0]}-{child.pid}-1"


# --- plans and rows


class Wide(Toy):
    """The same rows in other shards."""

    shard_rows = 32


def test_rows_that_were_cut_for_another_job_are_not_taken(tmp_path, monkeypatch):
    commit = Folder.commit
    with monkeypatch.context() as m:  # the first driver dies between its rows and its plan
        m.setattr(Folder, "commit", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(Wide(model=ModelRef(source="toy")), rows_of(N), tmp_path, {})
    assert Folder.commit is commit and list(tmp_path.glob("rows-*"))
    run = made(tmp_path)
    assert len(run) == N and {i for i, _ in run} == {i for i, _ in rows_of(N)()}


def test_a_job_in_one_piece_has_one_shard_however_many_rows(tmp_path, monkeypatch):
    write = pq.ParquetWriter.write_table

    def soon(
        self, table, row_group_size=None
    ):  # Parquet begins another row group after 1,048,576 rows when it is not told
        write(self, table, row_group_size or 100)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", soon)
    cut = write_rows(tmp_path / "rows.parquet", ((str(i), {}) for i in range(250)), 8, 8, whole=True)
    assert cut.shards == 1 and Rows(tmp_path / "rows.parquet").sizes() == [250]


def test_rows_that_were_lost_are_written_again_by_the_same_call(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    next(tmp_path.glob("rows-*")).unlink()
    assert len(made(tmp_path)) == N and place.manifest.exists()


def test_a_path_that_is_no_unicode_can_be_told(tmp_path):
    told = {"data": os.fsdecode(b"bad\xff.jsonl")}
    place = prepare(toy(), rows_of(N), tmp_path, told)
    assert read_plan(place).told["data"] == told["data"]


def test_a_driver_that_is_faster_is_no_other_thing(tmp_path, monkeypatch):
    place, strange = Folder.of(tmp_path), Folder._strange

    def meanwhile(self):
        self.plan.write_text("{}")
        return strange(self)

    monkeypatch.setattr(Folder, "_strange", meanwhile)
    place.make()
    assert (tmp_path / "shards").is_dir()


def test_shards_whose_plan_is_gone_are_not_adopted(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    drive(place, Engine())
    place.plan.unlink()
    place.manifest.unlink()
    place.result.unlink()
    with pytest.raises(StoreError, match="shards of a run whose plan is gone"):
        made(tmp_path, i3="another text")


def test_a_shard_of_another_run_is_not_merged(tmp_path):
    there = made(tmp_path / "there", i0="another text")
    place = prepare(toy(), rows_of(N), tmp_path / "here", {})
    place.shard(0).write_bytes(there.folder.shard(0).read_bytes())
    with pytest.raises(StoreError, match="shard 0 belongs to another one"):
        drive(place, Engine())
    place.shard(0).unlink()
    drive(place, Engine())
    assert len(Run(place.path)) == N


def test_the_last_step_is_refused_to_other_code_too(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    drive(place, Engine())
    place.manifest.unlink()
    plan = json.loads(place.plan.read_text())
    plan["code"]["torch"] = "1.0"
    place.plan.write_text(json.dumps(plan))
    with pytest.raises(StoreError, match="begun by other code"):
        drive(place, Engine())


# --- commits and claims


def test_two_threads_that_commit_one_file_do_not_write_into_each_other(tmp_path, monkeypatch):
    place, found = Folder.of(tmp_path), {}
    place.make()
    written = {"a": threading.Event(), "b": threading.Event()}
    go = {"a": threading.Event(), "b": threading.Event()}

    def fsync(_: int) -> None:
        if (name := threading.current_thread().name) in go:
            written[name].set()
            go[name].wait(10)

    monkeypatch.setattr(os, "fsync", fsync)

    def commit(name: str) -> None:
        found[name] = place.commit(place.shard(0), name.encode() * 9)

    threads = {name: threading.Thread(target=commit, args=(name,), name=name) for name in "ab"}
    for name in "ab":  # both have written before the first is linked
        threads[name].start()
        assert written[name].wait(10)
    for name in "ab":
        go[name].set()
        threads[name].join(10)
    assert found == {"a": True, "b": False} and place.shard(0).read_bytes() == b"a" * 9


def test_a_file_system_without_links_never_overwrites_either(tmp_path, monkeypatch):
    def no(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no)
    place = Folder.of(tmp_path)
    place.make()
    assert place.commit(place.shard(0), b"first") and not place.commit(place.shard(0), b"second")
    assert place.shard(0).read_bytes() == b"first"


@LINUX
def test_a_zombie_holds_nothing(tmp_path):
    place = Folder.of(tmp_path)
    place.make()
    code = "import sys; from exegete.run.folder import Folder; print(Folder.of(sys.argv[1]).claim(0, 'x'), flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"True\n"
    assert not place.claim(0, "y") and set(place.working()) == {0}
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked after it
    assert set(place.held()) == {0} and not place.working()
    assert place.claim(0, "y")
    child.communicate()


def test_a_death_counts_also_where_another_took_the_shard(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    watchman = Watchman(place, ToyProcesses(), 1, lambda: True, Log(place.log, "d"))
    (tmp_path / "claims" / "000002.json").write_text(json.dumps({"worker": "w0", "by": dead()}))
    assert place.claim(2, "thief")
    watchman._died("w0", "SIGKILL", False)
    assert watchman.tries == {2: 1} and place.deaths() == {2: 1} and watchman.idle == 0
    assert place.held()[2]["worker"] == "thief"


def test_workers_that_never_start_end_it_at_once_and_those_of_a_run_that_gets_on_later(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})

    def deaths(watchman: Watchman) -> int:
        for n in range(1, 100):
            try:
                watchman._died("nobody", "SIGKILL", False)
            except ModelError:
                return n
        return 0

    assert deaths(Watchman(place, ToyProcesses(), 1, lambda: True, Log(place.log, "d"))) == TRIES
    watchman = Watchman(place, ToyProcesses(), 1, lambda: True, Log(place.log, "d"))
    place.commit(place.shard(0), b"x")
    assert deaths(watchman) == 1 + PATIENCE


def test_watching_ends_when_nobody_works_any_more(tmp_path, monkeypatch, capsys):
    prepare(toy(), rows_of(N), tmp_path, {})
    monkeypatch.setattr(jobs, "QUIET", 0.05)
    monkeypatch.setattr(jobs, "EVERY", 0.02)
    assert jobs.watch(str(tmp_path)) == 1
    assert "nobody has worked on it" in capsys.readouterr().out


# --- workers


class Deaf(Crew):
    """Workers that a signal reaches before they can listen."""

    def __init__(self):
        self.told: set[str] = set()

    def start(self, folder, name):
        pass

    def ended(self, name):
        return Ended(died="SIGTERM") if name in self.told else None

    def stop(self, name):
        self.told.add(name)

    def kill(self, name):
        pass

    def close(self):
        pass


def test_workers_that_are_stopped_while_they_start_are_no_failure(tmp_path):
    place = prepare(toy(), rows_of(N), tmp_path, {})
    Watchman(place, Deaf(), 4, lambda: True, Log(place.log, "d")).watch(lambda: True)


@LINUX
def test_dead_workers_leave_no_open_files(tmp_path):
    place, crew = prepare(toy(), rows_of(N), tmp_path, {}), ToyProcesses()
    crew.module = "support.no_such_module"
    before = len(os.listdir("/proc/self/fd"))
    for name in "abc":
        crew.start(place, name)
        crew.running[name].wait()
        assert "no_such_module" in crew.ended(name).died
    assert len(os.listdir("/proc/self/fd")) == before
    crew.close()


def test_a_letter_fits_into_the_pipe():
    letter = told_letter(StoreError("ä" * 10**6, "🙂" * 10**6, "c" * 10**6))
    assert len(json.dumps(letter)) < 1 << 16


def test_files_of_the_current_folder_stand_in_for_no_package(tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    command = [sys.executable, "-P", "-m", "support.toy_job", "drive", str(tmp_path / "run"), "20", "1"]
    out = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr


def test_weights_that_only_this_process_has_are_not_mixed_with_others(tmp_path):
    class Edited(ToyWorker):
        fingerprint = "edited"

    place = prepare(toy(), rows_of(N), tmp_path, {})
    with pytest.raises(ModelError, match="not those it began with"):
        drive(place, ToyEngine("processes", 1), worker=Edited(0, 1000))
    assert not place.done()


def test_each_driver_says_where_its_workers_load(tmp_path):
    far = Toy(model=ModelRef(source="toy", device="nowhere"))
    place = prepare(far, rows_of(N), tmp_path, {})
    with pytest.raises(ModelError, match="It is not there"):
        drive(place, ToyEngine("processes", 1))
    drive(prepare(toy(), rows_of(N), tmp_path, {}), ToyEngine("processes", 1), job=toy())
    assert len(Run(tmp_path)) == N
    assert Here.of(tmp_path, "x", where={"device": "cuda:1"}).job.model.device == "cuda:1"


def test_what_a_failed_pass_held_is_gone_when_less_is_tried():
    class Held:
        pass

    class Short(ToyWorker):
        seen: weakref.ref | None = None

        def work(self, rows):
            if len(rows) > 1:
                held = Held()
                self.seen = weakref.ref(held)
                raise MemoryError
            assert self.seen() is None
            return [Output({}) for _ in rows]

    found = worked(Short(0, 0), [Row(str(i), i, {}) for i in range(4)])
    assert [o.error for o in found] == [None] * 4


# --- what is told


def test_failures_count_whose_worker_was_killed_before_it_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Log, "tell", lambda *_: None)
    bad = {f"i{i}": f"fail {i}" for i in range(0, N, 2)}
    with pytest.raises(BudgetError, match="25 of 50 rows failed"):
        drive(prepare(toy(), rows_of(N, **bad), tmp_path, {}), Engine(), allowed=0.4)


@pytest.mark.parametrize(("share", "bad"), [(0.29, 29), (0.57, 57), (0.07, 7)])
def test_the_share_that_may_fail_may_fail(tmp_path, share, bad):
    texts = {f"i{i}": f"fail {i}" for i in range(bad)}
    place = prepare(toy(), rows_of(100, **texts), tmp_path, {})
    place.make()
    watch = Watch.of(place, read_plan(place))
    watch.done, watch.failed = 100, bad
    assert not driving.Stopper(watch, share)()
    watch.failed += 1
    assert driving.Stopper(watch, share)()


@pytest.mark.parametrize("seconds", [5.0, 20.0, 45.0, 600.0])
def test_rates_of_shards_that_take_long(tmp_path, seconds):
    place = prepare(toy(), rows_of(200), tmp_path, {})
    watch = Watch(place, read_plan(place), Reader(place.log))
    now = time.time()
    for k in range(6):  # one worker without a pause: the last shard was committed just now
        place.shard(k).touch()
        event = {"event": "shard", "shard": k, "rows": 8, "tokens": 80, "failed": 0, "seconds": seconds}
        watch._hear(event | {"at": now - (5 - k) * seconds}, now)
    rows, tokens = watch.rates()
    assert rows == pytest.approx(8 / seconds, rel=0.2) and tokens == pytest.approx(10 * rows)


def test_the_rate_after_one_shard_is_that_of_the_shard(tmp_path):
    place = prepare(toy(), rows_of(200), tmp_path, {})
    watch, now = Watch(place, read_plan(place), Reader(place.log)), time.time()
    place.shard(0).touch()
    event = {"event": "shard", "shard": 0, "rows": 8, "tokens": 80, "failed": 0, "seconds": 20.0, "at": now}
    watch._hear(event, now)
    assert watch.rates()[0] == pytest.approx(8 / 20, rel=0.05)


def test_a_driver_whose_work_others_stopped_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(driving, "_work", lambda *_: None)  # told to stop, which a third has taken back since
    with pytest.raises(Stopped, match="0 of 50 rows"):
        drive(prepare(toy(), rows_of(N), tmp_path, {}), Engine())


# --- reading


def test_a_shard_of_failed_rows_keeps_nobody_from_reading_the_others(tmp_path):
    bad = {f"i{i}": "fail" for i in range(8)}  # the shortest texts: the whole first shard
    run = made(tmp_path, **bad)
    assert run.n_failed == 8
    table = run.table(("id", "n_chars"), where=pc.field("n_chars") > 0)
    assert table["id"].to_pylist() == [f"r{i}" for i in range(8, N)]
    vectors = {i: v for ids, arrays in run.arrays("vector") for i, v in zip(ids, arrays)}
    assert len(vectors) == N
    assert all(vectors[f"r{i}"].shape == ((0 if i < 8 else 1), 16) for i in range(N))
    assert vectors["r0"].dtype == np.float32
    with pytest.raises(UnknownName, match="vectr"):
        next(run.arrays("vectr"))
