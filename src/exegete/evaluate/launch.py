"""Starting a run: the model by reference, the folder (given, or in the cache), the engine.

Where no folder is given the run lies in the cache, under the hash of its plan and of the model's weights: it is found again by the same
call, and never by another model, revision or parameter, also where a folder of weights has changed under its name.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from exegete.core.errors import UsageError
from exegete.core.job import Job, ModelRef
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.reference import load_ref
from exegete.run.cache import root, shrink
from exegete.run.drive import Engine, drive, prepare
from exegete.run.folder import Folder, me
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
    if out is None:
        live = live or load_ref(ref)
        path = _cached(job, rows, live)
    else:
        path = Path(out)
        prepare(job, rows, path, told or {})
    folder = Folder(path)
    worker = None
    if live is not None and not folder.manifest.exists():
        worker = job.open(live)
    drive(folder, engine, job=job, worker=worker, allowed=allowed, progress=progress)
    return Run(path)


def reference(model: Any) -> tuple[ModelRef, Model | None]:
    """How a worker loads the model, and the model itself where it is loaded already."""
    if isinstance(model, ModelRef):
        return model, None
    if isinstance(model, (str, Path)):
        return ModelRef(source=str(model)), None
    live = load(model)
    dtype = str(live.dtype).removeprefix("torch.")
    return ModelRef(source=live.name, task=live.task, revision=live.revision or None, dtype=dtype), live


def _cached(job: Job, rows: Callable[[], Iterable[tuple[str, dict[str, Any]]]], model: Model) -> Path:
    """The place in the cache of this job with these weights, with its plan."""
    home = root("runs")
    if home is None:
        raise UsageError(
            "You asked to run a job and named no folder for what comes of it.",
            "Nothing is kept here (EXEGETE_CACHE=off).",
            "Name a folder: --out DIR",
        )
    home.mkdir(parents=True, exist_ok=True)
    part = home / f".{me()}.new"
    folder = prepare(job, rows, part, {})
    plan: Plan = read_plan(folder)
    key = hashlib.sha256(f"{plan.hash} {model.fingerprint}".encode()).hexdigest()[:32]
    path = home / key
    try:
        part.rename(path)
    except OSError:  # it is there already
        _clear(part)
    os.utime(path)
    shrink(home, key, "manifest.json")
    return path


def _clear(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)
