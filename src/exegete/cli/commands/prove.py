"""`exegete prove`: check by numbers that every part of a model is where its description says."""

from typing import TYPE_CHECKING, Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output
from exegete.core.errors import ExegeteError, UsageError

if TYPE_CHECKING:
    from exegete.core.result import Listing


def prove(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A Hugging Face name, a folder, or an embedded model."),
    ] = None,
    all_families: Annotated[
        bool, typer.Option("--all-families", help="Prove a tiny random model of every family instead.")
    ] = False,
    task: o.Task = None,
    revision: o.Revision = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    device_map: o.DeviceMap = None,
    trust_remote_code: o.RemoteCode = False,
    allow_pickle: o.Pickle = False,
    out: o.Out = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Prove a model: residual sums, patterns, heads, logits and edits, each as a number. Fails when one does not hold."""
    if (model is None) == (not all_families):
        found = "No model was named." if model is None else "A model was named together with --all-families."
        raise UsageError("You ran `exegete prove`.", found, "Name one model, or give --all-families.")
    output = Output(out, html, open_page, as_json)
    output.check()
    if all_families:
        result = _families()
    else:
        from exegete import front
        from exegete.cli.ask import loaded

        result = front.prove(
            loaded(str(model), task, revision, dtype, device, trust_remote_code, allow_pickle, device_map)
        )
    output.emit([result])
    return 0 if result.ok else 1


def _families() -> "Listing":
    """One row a family: the proof of its tiny model."""
    from exegete.cli.progress import RichProgress
    from exegete.core.result import Listing
    from exegete.models.tiny import families

    names, progress = families(), RichProgress()
    progress.start(len(names), "proving")
    rows = []
    for name in names:
        rows.append(_family(name))
        progress.advance()
    progress.stop()
    failed = sum(row[1] != "ok" for row in rows)
    return Listing(
        title=f"Proof of {len(names)} families on tiny models",
        columns=("family", "result", "what holds"),
        rows=tuple(rows),
        ok=not failed,
        footer=f"{len(names) - failed} of {len(names)} families proved.",
    )


def _family(name: str) -> tuple[str, ...]:
    """One family's row, in the words of its proof; a family that cannot be loaded is a failed row, not the end."""
    from exegete import front
    from exegete.models.tiny import tiny

    try:
        proof = front.prove(tiny(name))
    except ExegeteError as e:
        return (name, "FAIL", e.found or e.asked)
    return (name, "ok" if proof.ok else "FAIL", proof.footer)
