"""`exegete show`: draw a saved result again, without its model and without torch."""

from typing import Annotated

import typer

from exegete.cli import options as o
from exegete.cli.emit import Output


def show(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Results saved with --out or Result.save.")
    ],
    html: o.Html = None,
    open_page: o.Open = False,
    as_json: o.Json = False,
) -> int:
    """Show saved results: in the terminal, as a page, or as JSON."""
    from exegete.core.store import open_result

    output = Output(None, html, open_page, as_json)
    output.check()
    output.emit([open_result(f) for f in files], many=len(files) > 1)
    return 0
