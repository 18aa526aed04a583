"""A job without a model, for tests of runs: quick to start, slow or deadly where a row says so. Also a worker and a driver as programs.

python -m support.toy_job work FOLDER NAME PARENT WHERE     as `python -m exegete.run.process`
python -m support.toy_job drive FOLDER N_ROWS N_WORKERS     plans and drives a run with toy workers
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from exegete.core.errors import InputError, ModelError
from exegete.core.job import KINDS, Job, ModelRef, Output, Worker
from exegete.core.result import Listing
from exegete.run import process
from exegete.run.drive import Engine, drive, prepare
from exegete.run.process import Processes

TESTS = Path(__file__).parents[1]


class Toy(Job):
    """Hashes the text of every row. `nap`: seconds a row takes."""

    kind: ClassVar[str] = "toy"
    shard_rows: ClassVar[int] = 8

    nap: float = 0.0
    room: int = 1000

    def open(self, model: Any = None) -> Worker:
        if self.model.device == "nowhere":
            raise ModelError("You asked for a device.", "It is not there.", "Name another.")
        return ToyWorker(self.nap, self.room)

    def merge(self, outputs, worker):
        found = sorted((row.n, row.id, "failed" if o.error else o.value["hash"]) for row, o in outputs)
        return Listing(
            title="toy", columns=("n", "id", "hash"), rows=tuple((str(n), i, h) for n, i, h in found)
        )


class ToyWorker(Worker):
    fingerprint = "toy"

    def __init__(self, nap: float, room: int) -> None:
        self.nap, self.room = nap, room

    def work(self, rows):
        if len(rows) > self.room:
            raise MemoryError
        return [self._one(row) for row in rows]

    def halve(self) -> bool:
        return False

    def _one(self, row):
        time.sleep(self.nap)
        text = row["text"]
        if text.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if text.startswith("fail"):
            return Output(error=InputError("You asked for a hash.", "The text fails.", "Change it."))
        made = hashlib.sha256(text.encode()).hexdigest()
        vector = np.frombuffer(made[:16].encode(), dtype=np.uint8).astype(np.float32)[None]
        return Output(
            {"hash": made}, {"text": text, "n_chars": len(text)}, {"vector": vector}, tokens=len(text.split())
        )


KINDS["toy"] = "support.toy_job:Toy"


def known() -> None:
    """Importing this file makes the toy known; what a cluster calls before it works."""


class ToyProcesses(Processes):
    """Workers that know the toy."""

    module = "support.toy_job"
    first = ("work",)


def toy(nap: float = 0.0, room: int = 1000) -> Toy:
    return Toy(model=ModelRef(source="toy"), nap=nap, room=room)


def rows_of(n: int, **other: str):
    """`n` rows; `other` maps "i5" to the text of row 5."""
    return lambda: (
        (f"r{i}", {"text": other.get(f"i{i}", f"text number {i} " + "word " * (i % 7))}) for i in range(n)
    )


class ToyEngine(Engine):
    """Processes that know the toy."""

    def crew(self) -> ToyProcesses:
        return ToyProcesses()


def environment() -> dict[str, str]:
    more = os.environ.get("PYTHONPATH", "")  # an empty entry would be the current folder
    path = [str(TESTS), str(TESTS.parent / "src"), *([more] if more else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def main(argv: list[str]) -> int:
    if argv[0] == "work":
        return process.main(argv[1:])
    folder, n, workers = argv[1], int(argv[2]), int(argv[3])
    place = prepare(toy(nap=0.01), rows_of(n), folder, {})
    drive(place, ToyEngine("processes", workers))
    return 0


if __name__ == "__main__":
    from support import toy_job  # the same module under the name that jobs are found by

    sys.exit(toy_job.main(sys.argv[1:]))
