"""`exegete show`: draw a saved result again, or what is in the folder of a run, without the model and without torch."""

from typing import Annotated, Any

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output
from exegete.core.errors import UsageError


def show(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR...", help="Results saved with --out or Result.save; folders of runs."
        ),
    ],
    row: Annotated[
        str | None,
        typer.Option("--row", help="Of a run: the row with this id instead of what all say together."),
    ] = None,
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Show saved results: in the terminal, as a page, or as JSON."""
    output = Output(None, html, open_page, as_json)
    output.check()
    output.emit([_opened(f, row) for f in files], many=len(files) > 1)
    return 0


def _opened(path: str, row: str | None) -> Any:
    """The result in a file, or of a run. Raises `UsageError` for a row of what has none to show."""
    from exegete import front
    from exegete.core.result import Result
    from exegete.run.opened import Run

    found = front.open(path)
    if row is None:
        return found.result if isinstance(found, Run) else found
    if not isinstance(found, Run):
        raise UsageError(
            f"You asked for the row {row!r} of {path!r}.", "It is one result, no run.", "Leave --row out."
        )
    value = found[row]
    if not isinstance(value, Result):
        raise UsageError(
            f"You asked for the row {row!r} of {path!r}.",
            "What is kept of a row there is no result of its own.",
            "Leave --row out, or read it: xg.open(DIR)[ID].",
        )
    return value
