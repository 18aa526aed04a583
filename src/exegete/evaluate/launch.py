"""Starting a run: the model by reference, the folder (given, or in the cache), the engine.

Where no folder is given the run lies in the cache, under the hash of its plan, of the model's weights and tokenizer, and of the files that
its parameters name: it is found again by the same call, and never by another model, revision or parameter, also where a file or a
folder of weights has changed under its name.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from exegete.core.errors import ExegeteError, StoreError, UsageError
from exegete.core.job import Job, ModelRef
from exegete.core.registry import METHODS, METRICS
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.reference import found_at, identity, load_ref
from exegete.run.cache import root, shrink
from exegete.run.drive import Engine, drive, hash_of, prepare
from exegete.run.folder import Folder
from exegete.run.opened import Run
from exegete.run.plan import Plan, read_plan

Made = tuple[Job, Callable[[], Iterable[tuple[str, dict[str, Any]]]]]


def launch(
    make: Callable[[ModelRef], Made], model: Any, out: str | None, engine: Engine, *, allowed: float = 0.1,
    told: dict[str, Any] | None = None, progress: Any = None,
) -> Run:  # fmt: skip
    """Run the job that `make` gives for the model's reference. Raises the letters of `run.drive`."""
    ref, live = reference(model)
    job, rows = make(ref)
    _known_there(job, engine)
    if out is None:
        live = live or load_ref(ref)
        path = _cached(job, rows, live)
        fresh = False
    else:
        path = Path(out)
        fresh = not Folder(path).plan.exists()
        prepare(job, rows, path, told or {})
    folder = Folder(path)
    worker = None
    try:
        if live is not None and not folder.manifest.exists():
            worker = job.open(live)
        drive(folder, engine, job=job, worker=worker, allowed=allowed, progress=progress)
    except ExegeteError:
        # a name that is wrong may be written rightly the next time, in the same folder
        if fresh and not folder.begun:
            folder.forget()
        raise
    return Run(path)


def _known_there(job: Job, engine: Engine) -> None:
    """Other processes know what is installed, and nothing that a script has registered. Raises `UsageError`."""
    if engine.name == "local":
        return
    homes = {"exegete", *(e.module.split(".")[0] for e in entry_points(group="exegete.plugins"))}
    for book in (METHODS, METRICS):
        for name in _names(job.model_dump(exclude={"model"})):
            home = getattr(book.known(name), "__module__", "exegete")
            if home.split(".")[0] not in homes:
                raise UsageError(
                    f"You asked for {name!r} by workers of the engine {engine.name!r}.",
                    f"It is registered in {home!r} of this process, and other processes know only what is installed.",
                    "Leave the engine out (this process alone), or install it as a plugin: an entry point of the group exegete.plugins.",
                )


def _names(told: Any) -> Iterator[str]:
    """The names that stand in a job, wherever they do."""
    if isinstance(told, str):
        yield told
    for inner in told.values() if isinstance(told, dict) else told if isinstance(told, (list, tuple)) else ():
        yield from _names(inner)


def reference(model: Any) -> tuple[ModelRef, Model | None]:
    """How a worker loads the model, and the model itself where it is loaded already."""
    if isinstance(model, ModelRef):
        return found_at(model), None
    if isinstance(model, (str, Path)):
        return found_at(ModelRef(source=str(model))), None
    live = load(model)
    dtype = str(live.dtype).removeprefix("torch.")
    ref = ModelRef(source=live.name, task=live.task, revision=live.revision or None, dtype=dtype)
    return found_at(ref), live


def _cached(job: Job, rows: Callable[[], Iterable[tuple[str, dict[str, Any]]]], model: Model) -> Path:
    """The place in the cache of this job with these weights, with its plan."""
    home = root("runs")
    if home is None:
        raise UsageError(
            "You asked to run a job and named no folder for what comes of it.",
            "Nothing is kept here (EXEGETE_CACHE=off).",
            "Name a folder: --out DIR",
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".", suffix=".new", dir=home, ignore_cleanup_errors=True
        ) as new:
            folder = prepare(job, rows, Path(new) / "run", {})
            plan: Plan = read_plan(folder)
            named = [plan.job.get(name) for name in ("params", "methods", "metrics")]
            told = [plan.hash, identity(model), _files(named)]
            key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
            path = home / key
            if not path.exists():
                _put(folder.path, path)
        os.utime(path)
        shrink(home, key, "manifest.json")
    except OSError as e:
        raise StoreError(
            "You asked to run a job and named no folder for what comes of it.",
            f"It cannot be kept in {str(home)!r} ({e.strerror or e}).",
            "Name a folder (--out DIR), or another cache: EXEGETE_CACHE=/path",
        ) from e
    return path


def _put(new: Path, path: Path) -> None:
    """Give a folder its name, unless another was faster."""
    try:
        new.rename(path)
    except OSError:
        if not path.exists():
            raise


def _files(value: Any) -> list[str]:
    """Hashes of the files that are named somewhere in parameters (dictionaries, scores), in order; of folders what is in them, how
    large and how old.
    """
    if isinstance(value, dict):
        return [h for k in sorted(value) for h in _files(value[k])]
    if isinstance(value, (list, tuple)):
        return [h for v in value for h in _files(v)]
    if not isinstance(value, str) or not value.strip():
        return []
    try:
        place = Path(value).expanduser()
        if place.is_file():
            return [hash_of(place)]
        inside = sorted(place.rglob("*")) if place.is_dir() else []
        return [f"{p} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in inside if p.is_file()]
    except (OSError, ValueError, RuntimeError):  # no path: a word
        return []
