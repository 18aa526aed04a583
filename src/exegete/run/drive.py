"""From a job to a finished run: plan, work, merge, manifest. The same call goes on where an earlier one was stopped or killed.

1. the plan is written, or found and compared (`run.plan`);
2. workers work off the folder: this process itself (`local`), processes of this machine, or actors of a Ray cluster;
3. meanwhile the driver watches: it stops all when more rows fail than is allowed, on a signal (each worker finishes its shard; a second
   signal ends at once), or when a letter says that nobody could go on;
4. when every shard is committed, their outputs are merged into one result, and the manifest is written, last.

Several drivers may work on one folder at once, on one machine or many: none needs to know of the others.
"""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from exegete.core.errors import BudgetError, ExegeteError, StoreError, UnknownName, UsageError
from exegete.core.job import Job, Output, Row, Worker
from exegete.core.store import pack
from exegete.run.crew import Crew, Watchman
from exegete.run.events import Log
from exegete.run.folder import Folder, me
from exegete.run.plan import Plan, make_plan, read_plan
from exegete.run.process import Processes
from exegete.run.rows import Rows
from exegete.run.shard import decode
from exegete.run.shard import told as said_by
from exegete.run.watch import Watch
from exegete.run.worker import Here, same_code, same_weights, work_off

ENGINES = ("local", "processes", "ray")
SOON = 100  # rows after which the share of failures among those done counts, and not only among all


@dataclass
class Engine:
    """Who works: `local`, `processes` or `ray`, how many, and with what. Raises `UsageError` for what does not go together."""

    name: str = "local"
    workers: int | None = None
    address: str | None = None
    gpus: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise UnknownName("engine", self.name, ENGINES)
        if self.workers is not None and self.workers < 1:
            raise UsageError(
                f"You asked for {self.workers} workers.", "Somebody has to work.", "Ask for one at least."
            )
        if self.name == "local" and self.workers not in (None, 1):
            raise UsageError(
                f"You asked for {self.workers} workers.",
                "The engine 'local' is this process alone.",
                "Add --engine processes (this machine) or --engine ray (a cluster).",
            )
        if self.name != "ray" and (self.address or self.gpus):
            raise UsageError(
                "You gave an address or GPUs a worker.",
                f"They are for the engine 'ray', and this is {self.name!r}.",
                "Add --engine ray, or leave them out.",
            )

    @property
    def n(self) -> int:
        """How many work."""
        return self.workers or (1 if self.name == "local" else os.cpu_count() or 1)

    def crew(self) -> Crew:
        """Those who start workers elsewhere."""
        if self.name == "processes":
            return Processes(self.threads)
        from exegete.run.cluster import RayCrew

        return RayCrew(self.address, self.gpus)


@dataclass
class Stopper:
    """Whether everybody is to stop, and why: a signal, too many failures."""

    watch: Watch
    allowed: float
    progress: Any = None
    words: str = ""
    why: str = ""
    shown: int = 0

    def __call__(self) -> bool:
        """Look at what happened, show it, and say whether to stop."""
        self.watch.poll()
        if self.progress is not None and self.watch.done > self.shown:
            if hasattr(self.progress, "tell"):
                self.progress.tell(f"{self.words}, {self.watch.pace()}")
            self.progress.advance(self.watch.done - self.shown)
            self.shown = self.watch.done
        w = self.watch
        if not self.why and (
            self._many(w.failed, w.total) or (w.done >= SOON and self._many(w.failed, w.done))
        ):
            self.why = "failures"
        return bool(self.why)

    def _many(self, failed: int, rows: int) -> bool:
        """Whether more than the share that is allowed failed; 29 of 100 are not more than 0.29, whatever 0.29 * 100 rounds to."""
        return failed > self.allowed * rows + 1e-9 * max(rows, 1)


def prepare(
    job: Job, rows: Callable[[], Iterable[tuple[str, dict[str, Any]]]], path: str | Path, told: dict[str, Any]
) -> Folder:
    """The folder of a job over rows, with its plan. Raises `StoreError` for a folder of another job."""
    folder = Folder.of(path)
    make_plan(job, rows, folder, told)
    return folder


def drive(
    folder: Folder, engine: Engine, *, job: Job | None = None, worker: Worker | None = None, allowed: float = 0.1,
    progress: Any = None,
) -> None:  # fmt: skip
    """Work until the run is finished. `job` and `worker` are made already where the caller has them (engine `local` uses them).

    Raises `BudgetError` when more than the share `allowed` of rows fail, `StoreError` when shards were given up, `Stopped` when it
    was told to stop, and the letter of a worker that could not go on. What was committed stays.
    """
    plan = read_plan(folder)
    if folder.manifest.exists():
        return
    folder.make()
    folder.unstop()
    same_code(folder, plan)
    if worker is not None:  # it will merge what others may work on
        same_weights(folder, worker)
    watch = Watch.of(folder, plan)
    job = job or plan.make_job()
    stop = Stopper(watch, allowed, progress, job.words)
    hand = _Hand(job, worker)
    if progress is not None:
        progress.start(
            watch.total, f"{job.words}: {_many(plan.n_rows, 'row')} in {_many(plan.n_shards, 'shard')}"
        )
    try:
        with _signals(stop):
            if len(folder.done()) < plan.n_shards:
                _work(folder, plan, engine, stop, hand)
            watch.settle()
            stop()
    finally:
        if progress is not None:
            progress.stop()
    _told(folder, plan, stop)
    if progress is not None:
        progress.start(1, "merging")
    try:
        _finish(folder, plan, hand)
    finally:
        if progress is not None:
            progress.stop()


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


@dataclass
class _Hand:
    """The job, and its worker in this process where there is one."""

    job: Job
    worker: Worker | None

    def open(self) -> Worker:
        """The worker, made once."""
        self.worker = self.worker or self.job.open()
        return self.worker


def _work(folder: Folder, plan: Plan, engine: Engine, stop: Stopper, hand: _Hand) -> None:
    if engine.name == "local":
        here = Here.of(folder.path, f"{me()}-w0", hand.job)
        work_off(here, hand.open(), stop)
        return
    log = Log(folder.log, f"{me()}-driver")
    n = min(engine.n, max(1, plan.n_shards - len(folder.done())))
    crew = engine.crew()
    crew.where = hand.job.model.where()
    watchman = Watchman(folder, crew, n, lambda: _unfinished(folder, plan) > 0, log)
    watchman.watch(lambda: stop() or bool(folder.stopped()))


def _unfinished(folder: Folder, plan: Plan) -> int:
    return plan.n_shards - len(folder.done() | folder.poisoned())


def _told(folder: Folder, plan: Plan, stop: Stopper) -> None:
    """Raise what kept the run from its end."""
    watch = stop.watch
    if stop.why == "failures":
        raise BudgetError(
            f"You asked to go on while at most {100 * stop.allowed:.4g}% of rows fail.",
            f"{watch.failed:,} of {watch.done:,} rows failed, the first so: {_first_failure(folder)}.",
            f"See them: `exegete jobs status {folder.path}`. The same command with a higher --max-error-rate goes on.",
        )
    said = folder.stopped()
    poison = sorted(folder.poisoned() - folder.done())
    if _unfinished(folder, plan) and (stop.why or said or not poison):
        said = said or "by another driver of this folder"
        raise Stopped(
            f"You asked for the run in {str(folder.path)!r}.",
            f"It was stopped ({stop.why or said}) at {watch.done:,} of {watch.total:,} rows.",
            "The same command, or `exegete jobs resume`, goes on.",
        )
    if poison:
        why = json.loads((folder.path / "poison" / f"{poison[0]:06}.json").read_text("utf-8"))["why"]
        raise StoreError(
            f"You asked for the run in {str(folder.path)!r}.",
            f"{len(poison)} of {plan.n_shards} shards were given up, the first of them ({poison[0]}): {why}.",
            "All others are committed. The same command tries these again.",
        )


class Stopped(ExegeteError):
    """A run was told to stop before its end."""

    exit_code = 130


def _first_failure(folder: Folder) -> str:
    for k in sorted(folder.done()):
        for row, output in decode(folder.shard(k), None, values=False):
            if output.error is not None:
                return f"row {row.id}: {output.error}"
    return "unknown"


def outputs_of(folder: Folder, plan: Plan, job: Job) -> Iterator[tuple[Row, Output]]:
    """All rows and outputs, shard by shard."""
    rows = Rows(plan.file(folder))
    for k in range(plan.n_shards):
        found = decode(folder.shard(k), job.part, values=not job.flat)
        yield from ((row, output) for row, (_, output) in zip(rows.shard(k), found, strict=True))


def _finish(folder: Folder, plan: Plan, hand: _Hand) -> None:
    """Merge, and write the manifest."""
    hashes, size = {}, 0
    for k in range(plan.n_shards):
        _ours(folder, plan, k)
        for kind in ("parquet", "safetensors"):
            path = folder.shard(k, kind)
            if path.exists():
                hashes[path.name] = hash_of(path)
                size += path.stat().st_size
    result = hand.job.merge(outputs_of(folder, plan, hand.job), hand.open)
    if result is not None:
        folder.commit(folder.result, pack(result, timeless=True))
    beside = {f.name: hash_of(f) for f in (plan.file(folder), folder.result) if f.exists()}
    told = {"plan": plan.hash, "rows": plan.n_rows, "shards": plan.n_shards, "bytes": size}
    told |= {"files": hashes, "beside": beside}
    folder.commit(folder.manifest, (json.dumps(told, indent=1) + "\n").encode())


def _ours(folder: Folder, plan: Plan, k: int) -> None:
    """Raises `StoreError` for a shard that was put there from another run."""
    said = said_by(folder.shard(k)).get("plan")
    if said != plan.hash:
        raise StoreError(
            f"You asked for the run in {str(folder.path)!r}.",
            f"Its shard {k} belongs to another one ({said} there, {plan.hash} here).",
            f"Remove {str(folder.shard(k))!r}; the same command makes it again.",
        )


def hash_of(path: Path) -> str:
    """The hash of a file, read in pieces."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _say(words: str) -> None:
    """One line to whoever sits there; nobody may."""
    try:
        os.write(
            2, f"{words}\n".encode()
        )  # from a signal: no lock of a stream that is being written may be waited for
    except OSError:
        return


@contextmanager
def _signals(stop: Stopper) -> Iterator[None]:
    """SIGTERM and Ctrl-C ask to stop; the second one stops at once. Only the main thread can be asked so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _: FrameType | None) -> None:
        if stop.why:
            raise KeyboardInterrupt
        stop.why = signal.Signals(number).name
        _say(
            f"{stop.why}: it stops after the shard at hand (again: at once, and that shard is done anew the next time)"
        )

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
