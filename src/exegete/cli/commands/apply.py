"""`exegete apply`: try a saved edit on the model it was made for."""

from typing import TYPE_CHECKING, Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output
from exegete.core.errors import UsageError

if TYPE_CHECKING:
    from exegete.core.results.edits import ModelEdit


def apply(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE.exg", help="An edit, saved by `exegete edit ... --out FILE.exg`.")
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT...|FILE|-", show_default=False,
            help="What the model is to go on from, each text in quotes, or a file; nothing: the prompts that were edited.",
        ),
    ] = None,
    only: Annotated[
        int | None,
        typer.Option(
            "--only", min=1, help="Which of several facts that were edited apart, counted from 1.", rich_help_panel=o.WHAT
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A Hugging Face name, a folder, or an embedded model.", rich_help_panel=o.MODEL,
            show_default="the one it was made for",
        ),
    ] = None,
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
) -> int:  # fmt: skip
    """Apply a saved edit: what the model says before, and with the edit; then the edit is taken back, to the bit."""
    output = Output(out, html, open_page, as_json)
    output.check()
    edit = _one(_opened(file), only)
    said = _texts(texts, edit)
    from exegete.cli.ask import loaded
    from exegete.evaluate.edited import before_and_after

    made = edit.provenance
    source, revision = model or made.model, revision or (made.revision or None if model is None else None)
    reader = loaded(
        source, task or made.task or None, revision, dtype or made.dtype or None, device, trust_remote_code, allow_pickle, device_map
    )  # fmt: skip
    result = before_and_after(reader, edit, said)
    output.emit([result])
    return 0 if result.ok else 1


def _opened(file: str | None) -> "ModelEdit":
    from exegete.core.results.edits import ModelEdit
    from exegete.core.store import open_result

    if file is None:
        raise UsageError(
            "You ran `exegete apply`.", "No edit was named.", "Give its file: exegete apply FILE.exg"
        )
    found = open_result(file)
    if not isinstance(found, ModelEdit):
        raise UsageError(
            f"You asked to apply {file!r}.",
            f"It holds a {found.type}, which edits nothing.",
            "Make an edit: exegete edit PROMPT --subject S --target ANSWER --new OTHER --out FILE.exg",
        )
    return found


def _one(edit: "ModelEdit", only: int | None) -> "ModelEdit":
    """The edit itself, or the one of several facts that was asked for."""
    n = len(getattr(edit, "cases", ()))
    if only is None and (edit.deltas or edit.sites):
        return edit
    pick = getattr(edit, "only", None)
    if only is None or only > n or pick is None:
        found = f"It holds {n} edits that were made apart." if n > 1 else f"It holds {max(n, 1)} edit."
        do = (
            f"Give --only N, from 1 to {n}; or make them as one: exegete edit ... --together"
            if n > 1
            else "Leave --only out."
        )
        raise UsageError(f"You asked to apply {'the edit' if only is None else f'edit {only}'}.", found, do)
    return pick(only - 1)


def _texts(texts: list[str] | None, edit: "ModelEdit") -> list[str]:
    """The texts given (several arguments are several texts), or the prompts that were edited."""
    from exegete.cli.inputs import given

    prompts = [c.prompt for c in getattr(edit, "cases", ())]
    if not texts and prompts:
        return prompts
    if texts is not None and len(texts) > 1:
        return [t for text in texts for t in given([text], "apply").texts]
    return list(given(texts, "apply").texts)
