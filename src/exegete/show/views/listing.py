"""The view of a `Listing`: a table of plain cells. Cells that read `ok` or `FAIL` (and the like) are marked as such."""

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from exegete.core.result import Listing
from exegete.show import facts, terminal
from exegete.show.view import view
from exegete.show.words import visible

OK = frozenset({"ok", "pass", "passed", "proved"})
FAIL = frozenset({"fail", "failed", "refused", "error"})
STYLES = {"ok": "green", "fail": "bold red"}
GAP, READABLE = 2, 28  # characters between columns; the least in which a sentence can be read


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
        alarm = [terminal.alarm(p.failed)] if p.failed else []
        tail = ["", Text(p.footer)] if p.footer else []
        return Group(*head, *alarm, Rows(p), *tail, terminal.foot((), p.cost, p.notes))


@dataclass(frozen=True)
class Rows:
    """A rich renderable: a table where the widest column has room beside the others, else each row in lines of its own.

    In lines: the first cell with the short columns by name, then the widest column below, indented; no word is broken.
    """

    p: ListingPicture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        p = self.p
        texts = [[name, *(row[i][0] for row in p.rows)] for i, name in enumerate(p.columns)]
        whole = [max(cell_len(line) for t in column for line in t.split("\n")) for column in texts]
        if not whole:
            return
        widest = max(range(len(whole)), key=lambda i: (whole[i], i))
        room = options.max_width - GAP * (len(whole) - 1) - sum(whole) + whole[widest]
        if room < min(whole[widest], READABLE):
            yield from self._lines(widest)
            return
        table = Table(box=None, padding=(0, GAP, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
        for i, column in enumerate(p.columns):
            width = min(room, whole[i]) if i == widest else whole[i]
            table.add_column(Text(column), overflow="fold", width=width)
        for row in p.rows:
            table.add_row(*(Text(text, STYLES.get(m, "")) for text, m in row))
        yield table

    def _lines(self, widest: int) -> RenderResult:
        p = self.p
        for row in p.rows:
            head = Text.assemble((row[0][0], STYLES.get(row[0][1], "bold")))
            short = [i for i in range(1, len(row)) if i != widest and row[i][0].strip()]
            for n, i in enumerate(short):
                text, sort = row[i]
                head.append("   " if n == 0 else " · ", "dim")
                head.append(f"{p.columns[i]} ".lstrip(), "dim")
                head.append(text, STYLES.get(sort, ""))
            yield head
            if widest and row[widest][0].strip():
                text, sort = row[widest]
                yield Padding(Text(text, STYLES.get(sort, "")), (0, 0, 0, 4))


def mark(cell: str) -> str:
    """`ok` or `fail` for a cell whose first word says so, else empty."""
    first = cell.strip().split(" ")[0].strip(":,;").lower() if cell.strip() else ""
    return "ok" if first in OK or cell[:1] == "✓" else "fail" if first in FAIL or cell[:1] == "✗" else ""
