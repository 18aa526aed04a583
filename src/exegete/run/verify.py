"""Is a run what it says? Every row once, every file as it was written, and a sample computed again.

1. the ids of all shards are those of the rows, each once;
2. hashes of all files (rows, shards, result) are those of the manifest; each shard names this plan and these weights;
3. `sample` shards, drawn at random, are worked on again: the bytes must be the same. On another kind of machine numbers may differ by
   rounding: then values, columns and arrays are compared (`run.alike`), and the largest relative difference is told.

Cost: reading everything once, and the passes of the sample.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from exegete.core.errors import ExegeteError
from exegete.core.job import Output, Row, RowFailed, Worker
from exegete.core.result import Listing
from exegete.core.seed import generator
from exegete.core.store import in_order, pack_part, unpack
from exegete.run import shard
from exegete.run.alike import Alike
from exegete.run.drive import hash_of
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
    done = sorted(k for k in folder.done() if k < plan.n_shards)
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
        footer=f"{len(done)} of {plan.n_shards} shards, {plan.n_rows:,} rows; {len(drawn)} computed again.",
    )


_Line = tuple[str, bool, str]


def _ids(folder: Folder, plan: Plan, rows: Rows) -> _Line:
    """Every row once."""
    wrong, there = [], 0
    for k in sorted(folder.done()):
        try:
            found = shard.read(folder.shard(k), ("id",)).column(0).to_pylist()
        except ExegeteError:
            wrong.append(k)
            continue
        there += len(found)
        if k >= plan.n_shards or found != rows.ids(k):
            wrong.append(k)
    words = f"{there:,} of {plan.n_rows:,} rows are there, in their order"
    words += f"; shards with other rows: {wrong[:5]}" if wrong else ""
    return "every row once", not wrong and there == plan.n_rows, words


def _files(folder: Folder, plan: Plan) -> _Line:
    """Every file as it was written."""
    told: dict[Path, str] = {}
    if folder.manifest.exists():
        said = json.loads(folder.manifest.read_text("utf-8"))
        told = {folder.shard(0).with_name(name): h for name, h in said["files"].items()}
        told |= {folder.path / name: h for name, h in said.get("beside", {}).items()}
    weights: set[str] = set()
    wrong = [path.name for path, old in told.items() if not path.exists() or hash_of(path) != old]
    same = len(told) - len(wrong)
    for k in sorted(folder.done()):
        name = folder.shard(k).name
        try:
            said = shard.told(folder.shard(k))
        except ExegeteError:
            wrong.append(name)
            continue
        weights.add(said["weights"])
        if said["plan"] != plan.hash:
            wrong.append(name)
    wrong = list(dict.fromkeys(wrong))
    words = (
        f"{same} of {len(told)} files have the hashes of the manifest"
        if told
        else "there is no manifest: it is not finished"
    )
    words += f"; changed: {', '.join(wrong[:5])}" if wrong else ""
    words += f"; {len(weights)} different weights" if len(weights) > 1 else ""
    return "every file as written", bool(told) and not wrong and len(weights) < 2, words


def _failed(folder: Folder) -> _Line:
    """How many rows failed, and how many shards were given up."""
    failed = 0
    for k in folder.done():
        try:
            failed += int(shard.told(folder.shard(k))["failed"])
        except ExegeteError:  # told of among the files
            continue
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
    there = beside.read_bytes() if beside.exists() else None
    if table == folder.shard(k).read_bytes() and there == (dense and in_order(dense)):
        return name, True, f"{len(given)} rows, the same bytes"
    try:
        alike = _compared(given, outputs, folder, plan, k)
    except ExegeteError as e:
        return name, False, e.found
    if not alike.same:
        return name, False, "other rows, columns, values or failures"
    words = f"{len(given)} rows; numbers differ by {alike.gap:.1e} at most, relative to the largest"
    return name, alike.gap <= ROUNDING, words


def _compared(given: list[Row], outputs: Sequence[Output], folder: Folder, plan: Plan, k: int) -> Alike:
    """What was computed again against what is there."""
    part, found = plan.make_job().part, Alike()
    old = shard.decode(folder.shard(k), part)
    arrays = shard.arrays(folder.shard(k, "safetensors"))
    found.same = [row.id for row, _ in old] == [row.id for row in given]
    if not found.same:
        return found
    for i, (new, (_, was)) in enumerate(zip(outputs, old)):
        found.add(_kind(new), _kind(was))
        if new.error is None and was.error is None:
            found.add(unpack(pack_part(new.value), part), was.value, "value")
        found.add({n: new.flat.get(n) for n in was.flat}, dict(was.flat), "flat")
        found.add(sorted(n for n in new.flat if n not in was.flat), [])
        for name in {**arrays, **new.arrays}:
            here, there = new.arrays.get(name), arrays[name][i] if name in arrays else None
            if here is None and there is not None and not len(there):  # a row that failed
                continue
            found.add(here, there, f"arrays.{name}")
    return found


def _kind(output: Output) -> str:
    """The kind of error of a row."""
    return output.error.kind if isinstance(output.error, RowFailed) else type(output.error).__name__
