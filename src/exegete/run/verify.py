"""Is a run what it says? Every row once, every file as it was written, and a sample computed again.

1. the ids of all shards are those of the rows, each once;
2. hashes of all files are those of the manifest; each shard names this plan and these weights;
3. `sample` shards, drawn at random, are worked on again: the bytes must be the same. On another kind of machine numbers may differ by
   rounding: then values are compared, and the largest relative difference is told.

Cost: reading everything once, and the passes of the sample.
"""

import hashlib
import json
from typing import Any

import numpy as np

from exegete.core.errors import ExegeteError
from exegete.core.job import Output, Row, Worker
from exegete.core.result import Listing
from exegete.core.seed import generator
from exegete.core.store import in_order
from exegete.run import shard
from exegete.run.folder import Folder
from exegete.run.plan import Plan, read_plan
from exegete.run.rows import Rows
from exegete.run.worker import worked

ROUNDING = 1e-4  # largest relative difference that another machine's rounding explains


def verify(folder: Folder, sample: int = 1, seed: int = 0, worker: Worker | None = None) -> Listing:
    """The checks as a table; `ok` when all hold. `worker`: one that is open already."""
    plan = read_plan(folder)
    rows = Rows(plan.file(folder))
    lines = [_ids(folder, plan, rows), _files(folder, plan), _failed(folder)]
    done = sorted(folder.done())
    drawn = (
        sorted(generator(seed, "verify").choice(done, min(sample, len(done)), replace=False).tolist())
        if done
        else []
    )
    if drawn:
        worker = worker or plan.make_job().open()
        lines += [_again(folder, plan, rows, worker, int(k)) for k in drawn]
    return Listing(
        title=f"Run {plan.hash} in {folder.path}",
        columns=("check", "result", "what was found"),
        rows=tuple((name, "ok" if ok else "FAILED", words) for name, ok, words in lines),
        ok=all(ok for _, ok, _ in lines),
        footer=f"{len(done)} of {plan.n_shards} shards, {plan.n_rows:,} rows; {len(drawn)} shards computed again.",
    )


_Line = tuple[str, bool, str]


def _ids(folder: Folder, plan: Plan, rows: Rows) -> _Line:
    """Every row once."""
    wrong, there = [], 0
    for k in sorted(folder.done()):
        found = shard.read(folder.shard(k), ("id",)).column(0).to_pylist()
        there += len(found)
        if found != rows.ids(k):
            wrong.append(k)
    missing = plan.n_rows - there
    words = f"{there:,} of {plan.n_rows:,} rows are there, in their order"
    words += f"; shards with other rows: {wrong[:5]}" if wrong else ""
    return "every row once", not wrong and not missing, words


def _files(folder: Folder, plan: Plan) -> _Line:
    """Every file as it was written."""
    told: dict[str, str] = {}
    if folder.manifest.exists():
        told = json.loads(folder.manifest.read_text())["files"]
    wrong, weights = [], set()
    for k in sorted(folder.done()):
        for kind in ("parquet", "safetensors"):
            path = folder.shard(k, kind)
            if path.name in told and (
                not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != told[path.name]
            ):
                wrong.append(path.name)
        try:
            said = shard.told(folder.shard(k))
        except ExegeteError:
            wrong.append(folder.shard(k).name)
            continue
        weights.add(said["weights"])
        if said["plan"] != plan.hash:
            wrong.append(folder.shard(k).name)
    words = (
        f"{len(told)} files have the hashes of the manifest"
        if told
        else "there is no manifest: it is not finished"
    )
    words += f"; changed: {', '.join(wrong[:5])}" if wrong else ""
    words += f"; {len(weights)} different weights" if len(weights) > 1 else ""
    return "every file as written", bool(told) and not wrong and len(weights) < 2, words


def _failed(folder: Folder) -> _Line:
    """How many rows failed, and how many shards were given up."""
    failed = sum(int(shard.told(folder.shard(k))["failed"]) for k in folder.done())
    poison = sorted(folder.poisoned() - folder.done())
    return "shards given up", not poison, f"{len(poison)} given up; {failed:,} rows failed and say why"


def _again(folder: Folder, plan: Plan, rows: Rows, worker: Worker, k: int) -> _Line:
    """One shard computed again."""
    given = rows.shard(k)
    outputs = worked(worker, given)
    told = {"plan": plan.hash, "weights": worker.fingerprint}
    table, dense = shard.encode(given, outputs, told)
    name = f"shard {k} again"
    beside = folder.shard(k, "safetensors")
    same = table == folder.shard(k).read_bytes() and (dense is None or in_order(dense) == beside.read_bytes())
    if same:
        return name, True, f"{len(given)} rows, the same bytes"
    gap = _gap(given, outputs, folder, k)
    if gap is None:
        return name, False, "other rows, columns, or failures"
    return (
        name,
        gap <= ROUNDING,
        f"{len(given)} rows; numbers differ by {gap:.1e} at most, relative to the largest",
    )


def _gap(given: list[Row], outputs: Any, folder: Folder, k: int) -> float | None:
    """The largest difference of numbers, relative to the largest of their kind; None where something else differs."""
    old = [o for _, o in shard.decode(folder.shard(k), None, values=False)]
    arrays = shard.arrays(folder.shard(k, "safetensors"))
    worst = 0.0
    for i, (new, was) in enumerate(zip(outputs, old, strict=True)):
        if (new.error is None) != (was.error is None):
            return None
        for a, b in _pairs(new, was, {n: v[i] for n, v in arrays.items()}):
            if a.shape != b.shape:
                return None
            far = np.abs(a - b)[~(np.isnan(a) & np.isnan(b))]
            if len(far):
                worst = max(worst, float(far.max()) / max(float(np.nanmax(np.abs(b))), 1e-9))
    return worst


def _pairs(new: Output, was: Output, arrays: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    both = [(v, was.flat.get(n)) for n, v in new.flat.items()] + [
        (v, arrays.get(n)) for n, v in new.arrays.items()
    ]
    return [
        (np.asarray(a, dtype=float), np.asarray(b, dtype=float)) for a, b in both if _number(a) and _number(b)
    ]


def _number(x: Any) -> bool:
    return not isinstance(x, (str, bool)) and x is not None and np.asarray(x).dtype.kind in "fiu"
