"""`exegete jobs VERB DIR`: how far a run is, going on with it, checking it, stopping it, clearing up after it.

status   how far, how fast, what failed              watch    the same, until it is over
resume   go on, from the plan alone                  cancel   every worker stops after its shard
verify   every row once, files unchanged, a sample computed again
gc       remove what the dead left behind, and (--all) the logs
"""

import time
from typing import Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output, say
from exegete.core.errors import UsageError

jobs = typer.Typer(name="jobs", help="Runs: how far they are, going on, checking, stopping, clearing up.")
Dir = Annotated[str, typer.Argument(metavar="DIR", help="The folder of a run.")]
EVERY = 2.0
QUIET = 300.0  # seconds without anybody at work, after which a run is over: models may be loading


@jobs.command("status")
def status(folder: Dir, as_json: o.Json = False) -> int:
    """How far a run is, and what failed in it."""
    from exegete.core.result import Listing
    from exegete.run.folder import Folder
    from exegete.run.opened import Run
    from exegete.run.watch import Watch

    found = Run(folder)
    watch = Watch.of(Folder(found.folder.path), found.plan)
    held = found.folder.working()
    idle = (
        "every row is there; being merged, or to be merged by `exegete jobs resume`"
        if len(watch.seen) == found.plan.n_shards
        else "not finished, and nobody works"
    )
    state = "finished" if found.finished else found.folder.stopped() or ("running" if held else idle)
    rows = [
        ("state", state),
        ("rows", watch.line()),
        ("shards", f"{len(watch.seen):,} of {found.plan.n_shards:,}" + _given_up(found)),
        ("workers", ", ".join(sorted(str(h.get("worker", "?")) for h in held.values())) or "none"),
        (
            "job",
            f"{found.plan.job['kind']} {found.plan.job.get('method', '')} on {found.plan.job['model']['source']}",
        ),
        ("data", str(found.plan.told.get("data", ""))),
        ("identity", found.plan.hash),
    ]
    rows += [("could not be used", f"{found.n_unfit:,} rows")] if found.n_unfit else []
    rows += [(f"failed: {name}", f"{kind}: {said}") for name, kind, said in found.errors()[:10]]
    Output(json=as_json).emit(
        [
            Listing(
                title=f"Run in {folder}",
                columns=("what", "how it stands"),
                rows=tuple(rows),
                ok=not watch.failed,
            )
        ]
    )
    return 0


def _given_up(found) -> str:
    poison = len(found.folder.poisoned() - found.folder.done())
    return f", {poison} given up" if poison else ""


@jobs.command("watch")
def watch(folder: Dir) -> int:
    """Show how far a run is, until it is over."""
    from exegete.run.folder import Folder
    from exegete.run.plan import read_plan
    from exegete.run.watch import Watch

    place = Folder.of(folder)
    seen = Watch.of(place, read_plan(place))
    last, quiet = "", time.monotonic()
    while True:
        seen.poll()
        if seen.line() != last:
            last = seen.line()
            print(last, flush=True)
        if place.working():
            quiet = time.monotonic()
        if place.manifest.exists() or place.stopped():
            print("finished" if place.manifest.exists() else f"stopped: {place.stopped()}")
            return 0
        if time.monotonic() - quiet > QUIET:
            print(f"not finished, and nobody has worked on it for {QUIET:.0f} s; exegete jobs resume goes on")
            return 1
        time.sleep(EVERY)


@jobs.command("resume")
def resume(
    folder: Dir,
    engine: Annotated[str, typer.Option("--engine", help="local, processes or ray.")] = "local",
    workers: Annotated[int | None, typer.Option("--workers", help="How many; else one a core.")] = None,
    address: Annotated[str | None, typer.Option("--address", help="The Ray cluster.")] = None,
    gpus: Annotated[float, typer.Option("--gpus-per-worker", min=0, help="GPUs for each Ray worker.")] = 0.0,
    max_error_rate: Annotated[
        float, typer.Option("--max-error-rate", min=0, max=1, help="The share of rows that may fail.")
    ] = 0.1,
    html: o.Html = None,
    as_json: o.Json = False,
) -> int:
    """Go on with a run, from its plan alone: the input is not needed any more."""
    from exegete.cli.progress import RichProgress
    from exegete.run.drive import Engine, drive
    from exegete.run.opened import Run

    output = Output(html=html, json=as_json)
    output.check()
    found = Run(folder)
    with RichProgress() as progress:
        drive(found.folder, Engine(engine, workers, address, gpus), allowed=max_error_rate, progress=progress)
    output.emit([found.result])
    say(found.line)
    return 0


@jobs.command("verify")
def verify(
    folder: Dir,
    sample: Annotated[int, typer.Option("--sample", min=0, help="How many shards are computed again.")] = 1,
    seed: o.Seed = 0,
    as_json: o.Json = False,
) -> int:
    """Check that every row is there once, that files are as they were written, and that a sample comes out the same."""
    from exegete.run.folder import Folder
    from exegete.run.verify import verify as check

    found = check(Folder.of(folder), sample, seed)
    Output(json=as_json).emit([found])
    return 0 if found.ok else 1


@jobs.command("cancel")
def cancel(folder: Dir) -> int:
    """Have every worker of a run stop after its shard, wherever it runs. `resume` goes on."""
    from exegete.run.opened import Run

    found = Run(folder)
    if found.finished:
        raise UsageError(
            f"You asked to stop the run in {folder!r}.", "It is finished.", "Read it: exegete jobs status DIR"
        )
    found.folder.write_stop("it was cancelled")
    works = bool(found.folder.working())
    now = "Every worker stops after its shard." if works else "Nobody works on it now."
    say(f"{now} `exegete jobs resume` goes on.")
    return 0


@jobs.command("gc")
def gc(
    folder: Dir,
    everything: Annotated[bool, typer.Option("--all", help="Logs of a finished run too.")] = False,
) -> int:
    """Remove what dead workers left behind: parts of files, claims; with --all also the logs of a finished run."""
    from exegete.run.opened import Run

    found = Run(folder)
    gone = found.folder.leftovers()
    if everything and found.finished:
        gone += [*found.folder.log.iterdir()]
    size = sum(p.stat().st_size for p in gone if p.exists())
    for path in gone:
        path.unlink(missing_ok=True)
    say(f"{len(gone)} files removed, {size:,} bytes.")
    return 0
