"""The plan of a run: what is to be done, written once; its hash is the run's identity.

    job        kind, method and all parameters, model id + revision + dtype, seed
    rows       how many, in how many shards, cut how, and the hash of their content in the order of the input
    code       version of the package, hash of its source, versions of torch and transformers

Nothing of it depends on who works, on how many workers or where. The ids of a shard's rows stand in `rows-HASH.parquet`, a row group
a shard, so that the plan of a hundred million rows is a page long; their content hash stands here. What is only told (where the
input lay, the device) is no part of the identity.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from exegete.core.errors import StoreError
from exegete.core.job import Job, job_of
from exegete.core.value import Value
from exegete.run.folder import Folder, flush
from exegete.run.rows import write_rows

FORMAT = 1


class Plan(Value):
    """What a run does. `told` is for people and for `resume`, and no part of `hash`."""

    format: int = FORMAT
    job: dict[str, Any]
    rows: dict[str, Any]
    code: dict[str, str]
    told: dict[str, Any] = {}

    @property
    def hash(self) -> str:
        """The run's identity."""
        plain = self.model_dump(exclude={"told"})
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def n_rows(self) -> int:
        """Rows of all shards."""
        return int(self.rows["n"])

    @property
    def n_shards(self) -> int:
        """Shards, from 0 on."""
        return int(self.rows["shards"])

    def file(self, folder: Folder) -> Path:
        """Where its rows are; named by their content, so that they can be no others."""
        return folder.path / f"rows-{self.rows['digest'][:16]}.parquet"

    def make_job(self, where: Mapping[str, Any] | None = None) -> Job:
        """The job, as a worker makes it: where it runs (as is told here, or there) added to what it is."""
        job = dict(self.job)
        job["model"] = job["model"] | (self.told.get("where", {}) if where is None else where)
        return job_of(job)

    def differences(self, other: "Plan") -> list[str]:
        """What differs, as lines "name: this here, that there"."""
        mine, theirs = _leaves(self.model_dump(exclude={"told"})), _leaves(other.model_dump(exclude={"told"}))
        names = [n for n in {**mine, **theirs} if mine.get(n, "nothing") != theirs.get(n, "nothing")]
        return [
            f"{_plain(n)}: {mine.get(n, 'nothing')!r:.60} there, {theirs.get(n, 'nothing')!r:.60} now"
            for n in names
        ]


def read_plan(folder: Folder) -> Plan:
    """The plan of a folder. Raises `StoreError` where there is none that can be read."""
    try:
        plan = Plan(**json.loads(folder.plan.read_text("utf-8")))
    except FileNotFoundError:
        raise StoreError(
            f"You asked for the run in {str(folder.path)!r}.", "There is no plan.json.", "Check the path."
        ) from None
    except (OSError, ValueError, TypeError) as e:
        raise StoreError(
            f"You asked for the run in {str(folder.path)!r}.",
            f"Its plan cannot be read ({str(e).splitlines()[0]}).",
            "Choose another folder.",
        ) from e
    if plan.format != FORMAT:
        raise StoreError(
            f"You asked for the run in {str(folder.path)!r}.",
            f"Its plan has format {plan.format}, and this version reads {FORMAT}.",
            "Go on with the version that began it, or begin in another folder.",
        )
    return plan


def make_plan(
    job: Job, rows: Callable[[], Iterable[tuple[str, dict[str, Any]]]], folder: Folder, told: dict[str, Any]
) -> Plan:
    """The plan of `job` over `rows`, in the folder: written, or found there. Raises `StoreError` for that of another job."""
    folder.make()
    part = folder.part(folder.path / "rows")
    try:
        tokens, many = job.shard
        cut = write_rows(part, rows(), tokens, many, whole=bool(job.whole))
        shape = {"n": cut.rows, "shards": cut.shards, "tokens": cut.tokens, "digest": cut.digest}
        shape |= {"shard_tokens": tokens, "shard_rows": many, "whole": job.whole}
        told = {"where": job.model.where()} | told
        plan = Plan(job=job.identity(), rows=shape, code=code(), told=told)
        if not folder.plan.exists():
            _once(part, plan.file(folder))
            folder.commit(folder.plan, (json.dumps(plan.model_dump(), indent=1) + "\n").encode())
        found = read_plan(folder)
        if found.hash == plan.hash and not plan.file(folder).exists():
            _once(part, plan.file(folder))
    finally:
        part.unlink(missing_ok=True)
    if found.hash != plan.hash:
        lines = found.differences(plan)
        other = found.code != plan.code
        raise StoreError(
            f"You asked to run a job in {str(folder.path)!r}.",
            f"It belongs to another one ({'; '.join(lines[:4])}).",
            "Choose another folder"
            + (
                "; that one can only be gone on with by the code that began it."
                if other
                else ", or go on with that one: `exegete jobs resume`."
            ),
        )
    return found


def _once(part: Path, path: Path) -> None:
    """Link the rows to their name; another driver of the same rows may have been faster."""
    try:
        os.link(part, path)
    except FileExistsError:
        return
    except OSError:
        os.replace(part, path)
    flush(path.parent)


@cache
def code() -> dict[str, str]:
    """What computes: versions, and a hash of this package's source."""
    home = Path(__file__).parents[1]
    h = hashlib.sha256()
    for file in sorted(home.rglob("*.py")):
        h.update(str(file.relative_to(home)).encode() + b"\0" + file.read_bytes())
    versions = {name: _version(name) for name in ("exegete", "torch", "transformers")}
    return versions | {"source": h.hexdigest()[:16]}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _plain(name: str) -> str:
    """What people call a place in a plan."""
    known = {"job.model.source": "model", "code.source": "source of exegete", "rows.digest": "rows"}
    return known.get(name) or name.removeprefix("job.params.").removeprefix("job.model.").removeprefix("job.")


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """What stands where in nested data."""
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for k, v in value.items():
            found |= _leaves(v, f"{name}.{k}" if name else str(k))
        return found
    return {name: value}
