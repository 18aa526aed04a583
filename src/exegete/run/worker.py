"""One worker: it works off a folder, shard by shard, until nothing is left, and needs nobody to tell it which.

1. read the plan, make the job, load the model once; the weights must be those of every other worker of this run;
2. take the first shard that is neither done nor held by another (those that workers died of come last), claim it, work on its rows;
3. commit the outputs (exactly one of those who made a shard succeeds; the bytes are the same), give the claim back, tell the log;
4. where memory is wanting: take less at a time (`Worker.halve`), then the shard by halves, down to a row, which then is an error row;
5. when others hold all that is left, wait for them: their claims run out when they die.

It stops after a shard when told to (a signal, `stop.json`, its parent's death). Whatever kills it, what was committed stays.
"""

import gc
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exegete.core.errors import ModelError, StoreError
from exegete.core.job import Job, Output, Row, Worker, out_of_memory
from exegete.core.store import in_order
from exegete.run.events import Log
from exegete.run.folder import LEASE, Folder
from exegete.run.plan import Plan, code, read_plan
from exegete.run.rows import Rows
from exegete.run.shard import encode

POLL = 0.2  # seconds between looks at what others hold


@dataclass
class Here:
    """What a worker has at hand: the folder, its plan and rows, the job, and who it is."""

    folder: Folder
    plan: Plan
    job: Job
    rows: Rows
    name: str
    log: Log

    @classmethod
    def of(
        cls, path: Path, name: str, job: Job | None = None, where: Mapping[str, Any] | None = None
    ) -> "Here":
        """All that stands in a folder. `job` is one that is made already; `where` is told in place of what the plan says."""
        folder = Folder(path)
        plan = read_plan(folder)
        same_code(folder, plan)
        return cls(
            folder, plan, job or plan.make_job(where), Rows(plan.file(folder)), name, Log(folder.log, name)
        )


def same_code(folder: Folder, plan: Plan) -> None:
    """Raises `StoreError` where a run was begun by other code than this."""
    if plan.code != code():
        raise StoreError(
            f"You asked to go on with the run in {str(folder.path)!r}.",
            f"It was begun by other code ({_code(plan.code)} there, {_code(code())} now), and halves by two versions do not fit.",
            "Go on with the version that began it, or begin in another folder.",
        )


def _code(told: dict[str, str]) -> str:
    return " ".join(f"{name} {version}" for name, version in told.items())


def work_off(here: Here, worker: Worker, stop: Callable[[], bool]) -> None:
    """Work until every shard is done or given up, or `stop()`. Raises what the folder or the model make impossible."""
    same_weights(here.folder, worker)
    here.log.tell("begin")
    while not _over(here, stop):
        left = _left(here)
        if not left:
            break
        took = False
        for k in left:
            if _over(here, stop):
                break
            took |= _one(here, worker, k)
        if not took:
            time.sleep(POLL)
    here.log.tell("end")


def _over(here: Here, stop: Callable[[], bool]) -> bool:
    return stop() or bool(here.folder.stopped())


def _left(here: Here) -> list[int]:
    gone = here.folder.done() | here.folder.poisoned()
    deaths = here.folder.deaths()
    return sorted(
        (k for k in range(here.plan.n_shards) if k not in gone), key=lambda k: (deaths.get(k, 0), k)
    )


def _one(here: Here, worker: Worker, k: int) -> bool:
    """Work on shard k, unless another holds it or has done it. Whether it was worked on."""
    folder = here.folder
    if folder.shard(k).exists() or not folder.claim(k, here.name):
        return False
    try:
        if folder.shard(k).exists():
            return False
        started = time.perf_counter()
        with _held(folder, k):
            rows = here.rows.shard(k)
            outputs = worked(worker, rows, here.log)
        told = {"plan": here.plan.hash, "weights": worker.fingerprint}
        table, dense = encode(rows, outputs, told)
        _beside(folder, k, dense and in_order(dense))
        fresh = folder.commit(folder.shard(k), table)
        what: dict[str, Any] = {
            "shard": k,
            "rows": len(rows),
            "failed": sum(o.error is not None for o in outputs),
        }
        what |= {"tokens": sum(o.tokens for o in outputs), "seconds": round(time.perf_counter() - started, 4)}
        here.log.tell("shard" if fresh else "lost", what)
        return True
    finally:
        folder.release(k)


def _beside(folder: Folder, k: int, dense: bytes | None) -> None:
    """Put the arrays of shard k beside where its table will be. One who died before its table may have left arrays of other rows: a row that
    there was no memory for has none, and the table that comes now may have it.
    """
    path = folder.shard(k, "safetensors")
    if dense is None:
        if not folder.shard(k).exists():
            path.unlink(missing_ok=True)
    elif not folder.commit(path, dense) and not folder.shard(k).exists() and path.read_bytes() != dense:
        folder.commit(path, dense, over=True)


def worked(worker: Worker, rows: Sequence[Row], log: Log | None = None) -> Sequence[Output]:
    """An output a row. Where memory is wanting: less at a time, then fewer rows, then the row is an error."""
    try:
        return worker.work([r.data for r in rows])
    except Exception as e:
        if not out_of_memory(e):
            raise
        found = _bare(e)
    gc.collect()
    if log is not None:
        log.tell("memory", {"rows": len(rows)})
    if worker.halve():
        return worked(worker, rows, log)
    if len(rows) == 1:
        return [Output(error=found)]
    half = len(rows) // 2
    return [*worked(worker, rows[:half], log), *worked(worker, rows[half:], log)]


def _bare(error: Exception) -> Exception:
    """The error without its frames, which would hold what was computed while less is tried."""
    at: BaseException | None = error
    while at is not None:
        at.__traceback__ = None
        at = at.__cause__ or at.__context__
    return error


@contextmanager
def _held(folder: Folder, k: int) -> Any:
    """Keep the claim of shard k fresh while it is worked on."""
    over = threading.Event()

    def touch() -> None:
        while not over.wait(LEASE / 6):
            folder.touch(k)

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def same_weights(folder: Folder, worker: Worker) -> None:
    """The first worker writes down which weights and tokenizer it has; others must have the same. Raises `ModelError`."""
    path, mine = folder.path / "weights.txt", worker.identity
    if not path.exists():
        folder.commit(path, mine.encode())
    first = path.read_text("utf-8")
    if first != mine:
        raise ModelError(
            f"A worker was to go on with the run in {str(folder.path)!r}.",
            f"The model's weights or tokenizer are not those it began with ({mine} now, {first} then).",
            "Give the model it began with, or begin in another folder.",
        )
