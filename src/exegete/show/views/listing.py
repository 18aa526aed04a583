"""The view of a `Listing`: a table of plain cells. Cells that read `ok` or `FAIL` (and the like) are marked as such."""

from dataclasses import dataclass
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from exegete.core.result import Listing
from exegete.show import facts, terminal
from exegete.show.view import view
from exegete.show.words import visible

OK = frozenset({"ok", "pass", "passed", "proved"})
FAIL = frozenset({"fail", "failed", "refused", "error"})


@dataclass(frozen=True)
class ListingPicture:
    """A title, the columns, rows of (text, mark) with mark `ok`, `fail` or empty, and whether all is well."""

    title: str
    ok: bool
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, str], ...], ...]
    footer: str
    failed: tuple[facts.CheckLine, ...]
    cost: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]


@view
class ListingView:
    """Draws a `Listing`."""

    result: ClassVar[str] = "Listing"
    template: ClassVar[str] = "listing.html.j2"
    script: ClassVar[str] = ""

    @staticmethod
    def picture(result: Listing) -> ListingPicture:
        """The listing as plain data."""
        return ListingPicture(
            title=result.title,
            ok=result.ok,
            columns=result.columns,
            rows=tuple(tuple((visible(c), mark(c)) for c in row) for row in result.rows),
            footer=result.footer,
            failed=facts.check_lines(result.trust.failed_checks),
            cost=facts.cost_lines(result),
            notes=(*result.notes, *result.trust.notes),
            provenance=facts.provenance_rows(result),
        )

    @staticmethod
    def terminal(picture: ListingPicture) -> RenderableType:
        """The picture for a terminal."""
        p = picture
        head = (
            [Text(p.title, "bold")]
            if p.ok
            else [Text.assemble((p.title, "bold"), ("   ✗ NOT ok", "bold red"))]
        )
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
        for i, column in enumerate(p.columns):
            table.add_column(Text(column), overflow="fold", min_width=_least(p, i) if i == 0 else None)
        for row in p.rows:
            table.add_row(*(Text(text, {"ok": "green", "fail": "bold red"}.get(m, "")) for text, m in row))
        alarm = [terminal.alarm(p.failed)] if p.failed else []
        tail = ["", Text(p.footer)] if p.footer else []
        return Group(*head, *alarm, table, *tail, terminal.foot((), p.cost, p.notes))


def mark(cell: str) -> str:
    """`ok` or `fail` for a cell whose first word says so, else empty."""
    first = cell.strip().split(" ")[0].strip(":,;").lower() if cell.strip() else ""
    return "ok" if first in OK or cell[:1] == "✓" else "fail" if first in FAIL or cell[:1] == "✗" else ""


def _least(p: ListingPicture, column: int) -> int:
    """Width that keeps the names of a first column whole, up to a limit."""
    return min(28, max((len(row[column][0]) for row in p.rows), default=1))
