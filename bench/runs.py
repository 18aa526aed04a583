"""Runs: what the layer costs over a bare loop, planning of 100,000 rows, and what a second worker brings.

overhead   the same worker on the same rows, in a run (plan, claims, shards flushed to disk, merged) and in a loop that keeps a list;
           for the default method with its fast trust line, and for the cheapest method there is without one
planning   seconds and growth of memory from 10,000 to 100,000 rows: the plan, and the whole run of a job that does next to nothing
workers    rows a second of one process and of two, one thread each, from the first shard on (`python bench/runs.py workers`: wants a
           quiet machine, which a goal in CPU seconds cannot see)
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import exegete as xg
from exegete.core.job import ModelRef
from exegete.core.method import method_of
from exegete.evaluate.attributing import Attributing
from exegete.run.drive import Engine, drive, prepare
from exegete.run.plan import read_plan
from exegete.run.rows import Rows
from exegete.run.worker import worked
from exegete.terrarium import corpora
from timing import compare, emit

CHILD = """
import json, resource, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from support.toy_job import rows_of, toy
from exegete.run.drive import Engine, drive, prepare
n = int(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with tempfile.TemporaryDirectory() as folder:
    job = toy(); type(job).shard_rows = 64
    t = time.perf_counter(); place = prepare(job, rows_of(n), folder, {{}}); planned = time.perf_counter() - t; a = peak()
    t = time.perf_counter(); drive(place, Engine()); print(json.dumps([planned, a, time.perf_counter() - t, peak()]))
"""


def explaining(method: str, trust: str, n: int) -> None:
    """A run against a bare loop of the same worker over the same shards."""
    model = xg.load("terrarium/sentiment")
    texts = [e.text for e in corpora.sentiment(n, "test")]
    job = Attributing(
        model=ModelRef(source="terrarium/sentiment"),
        method=method,
        params=method_of(method).params(),
        trust=trust,
    )
    worker = job.open(model)
    home = Path(tempfile.mkdtemp())

    def rows() -> Any:
        return ((str(i), {"text": t}) for i, t in enumerate(texts))

    place = prepare(job, rows, home / "plan", {})
    shards = Rows(read_plan(place).file(place))
    given = [shards.shard(k) for k in range(read_plan(place).n_shards)]

    def loop() -> None:
        for shard in given:
            list(worked(worker, shard))

    def run() -> None:
        folder = home / f"run{time.monotonic_ns()}"
        drive(prepare(job, rows, folder, {}), Engine(), job=job, worker=worker)
        shutil.rmtree(folder)

    compare(f"run, {method}, {n} rows", {"loop": loop, "run": run}, "loop", rounds=5, goal={"run": 1.03})
    shutil.rmtree(home)


def planning() -> None:
    """100,000 short rows against 10,000, each in a process of its own."""
    tests = str(Path(__file__).parents[1] / "tests")
    found = {}
    for n in (10_000, 100_000):
        out = subprocess.run(
            [sys.executable, "-c", CHILD.format(tests=tests), str(n)],
            capture_output=True,
            text=True,
            check=True,
        )
        found[n] = json.loads(out.stdout)
    (_, a0, _, b0), (seconds, a1, ran, b1) = found[10_000], found[100_000]
    emit("figure", bench="planning 100,000 rows, s", value=seconds, goal=30.0, reached=seconds < 30)
    emit("figure", bench="planning, MiB over 10,000 rows", value=a1 - a0, goal=50.0, reached=a1 - a0 < 50)
    emit("figure", bench="running, MiB over 10,000 rows", value=b1 - b0, goal=50.0, reached=b1 - b0 < 50)
    emit("figure", bench="running 100,000 rows of nothing, s", value=ran)


def workers(n: int = 512) -> None:
    """Rows a second with one worker and with two, from the first commit on."""
    texts = [e.text for e in corpora.sentiment(n, "test")]
    params = method_of("integrated_gradients").params()
    ref = ModelRef(source="terrarium/sentiment")
    rates = {}
    for k in (1, 2):
        job = Attributing(model=ref, method="integrated_gradients", params=params, trust="none")
        home = Path(tempfile.mkdtemp())
        place = prepare(job, lambda: ((str(i), {"text": t}) for i, t in enumerate(texts)), home, {})
        drive(place, Engine("processes", k))
        lines = [json.loads(line) for f in place.log.glob("*.jsonl") for line in f.read_text().splitlines()]
        shards = [e for e in lines if e["event"] == "shard"]
        began = max(e["at"] for e in lines if e["event"] == "begin")  # all workers have their model
        late = [e for e in shards if e["at"] - e["seconds"] >= began - 0.05]
        rates[k] = sum(e["rows"] for e in late) / (max(e["at"] for e in late) - began)
        emit("figure", bench=f"rows a second, {k} worker{'s' * (k > 1)}", value=rates[k])
        shutil.rmtree(home)
    ratio = rates[2] / rates[1]
    emit("figure", bench="1 -> 2 workers", value=ratio, goal=1.7, reached=ratio >= 1.7)


def main() -> None:
    """All parts, or one."""
    parts = {
        "overhead": lambda: (
            explaining("integrated_gradients", "fast", 64),
            explaining("saliency", "none", 512),
        ),
        "planning": planning,
        "workers": workers,
    }
    for name, part in parts.items():
        if len(sys.argv) < 2 or sys.argv[1] == name:
            part()


if __name__ == "__main__":
    main()
