"""Pictures of figures in a terminal: shaded tables, values of curves, the strongest edges. What does not fit is said."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from exegete.show.figures import (
    Cell,
    CurvesPicture,
    GraphPicture,
    GridPicture,
    MapsPicture,
    Picture,
    TablePicture,
    grid,
    strongest,
    words_left_out,
)
from exegete.show.heat import cell_style, colored
from exegete.show.words import one_line

MOST_ROWS, MOST_GROUPS = 24, 6
SHADES = " ░▒▓█"


def drawn(p: Picture) -> RenderableType:
    """A figure for a terminal."""
    head: list[RenderableType] = ["", Text(p.title, "bold")]
    if p.caption:
        head.append(Text(p.caption, "dim"))
    return Group(*head, _body(p))


def _body(p: Picture) -> RenderableType:
    if isinstance(p, GridPicture):
        return GridText(p)
    if isinstance(p, CurvesPicture):
        return _curves(p)
    if isinstance(p, TablePicture):
        return _table(p)
    if isinstance(p, GraphPicture):
        return Group(*(Text(f"  {tip}") for tip in strongest(p.edges, 15)))
    return _maps(p)


@dataclass(frozen=True)
class GridText:
    """A rich renderable of a grid: as many columns as fit, the last ones where columns are tokens (the output is made there)."""

    p: GridPicture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        p = self.p
        first = min(18, max([len(name) for name, _ in p.rows] + [0]))
        widths = [
            min(9, max([2, len(c), *(len(row[1][j].text) + row[1][j].marked for row in p.rows)]))
            for j, c in enumerate(p.columns)
        ]
        order = range(len(widths))[::-1] if "token" in p.corner else range(len(widths))
        room, kept = options.max_width - first - 2, []
        for j in order:
            room -= widths[j] + 1
            if room < 0:
                break
            kept.append(j)
        kept.sort()
        table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
        table.add_column(Text(one_line(p.corner, first)), no_wrap=True, width=first)
        for j in kept:
            table.add_column(Text(p.columns[j]), no_wrap=True, width=widths[j])
        for name, cells in p.rows[:MOST_ROWS]:
            table.add_row(Text(name), *(self._cell(cells[j], colored(console)) for j in kept))
        yield table
        rest = (
            words_left_out(len(p.rows) - MOST_ROWS, "row"),
            words_left_out(len(widths) - len(kept), "column"),
        )
        yield from (Text(words, "dim") for words in rest if words)

    def _cell(self, c: Cell, color: bool) -> Text:
        return Text(
            c.text + ("*" if c.marked else ""), cell_style(c.position, self.p.signed) if color else ""
        )


def _curves(p: CurvesPicture) -> RenderableType:
    """Values of every series at up to nine points."""
    ticks = p.x_ticks
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    table.add_column(Text(f"{p.y_axis} by {p.x_axis}"), max_width=30)
    for _, name in ticks:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for line in p.lines:
        at = {x: tip.rsplit(": ", 1)[1] for x, _, tip in line.dots}
        style = "dim" if line.sort == "control" else ""
        table.add_row(Text(line.name, style), *(Text(at.get(x, ""), style) for x, _ in ticks))
    return Group(table, *(Text(f"  {words}", "dim") for _, words in p.marks))


def _table(p: TablePicture) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    for i, column in enumerate(p.columns):
        table.add_column(Text(column), justify="right" if p.numeric[i] else "left", overflow="fold")
    for row in p.rows[:MOST_ROWS]:
        table.add_row(*(Text(text) for text, _ in row))
    rest = words_left_out(len(p.rows) - MOST_ROWS, "row")
    return Group(table, *([Text(rest, "dim")] if rest else []))


def _maps(p: MapsPicture) -> RenderableType:
    """A thumbnail a map, then the first one in numbers where it is small."""
    parts: list[RenderableType] = [Thumbs(p)]
    if p.first is not None:
        parts += ["", Text(p.names[0]), GridText(grid(p.first))]
    rest = words_left_out(p.left_out, "map")
    return Group(*parts, *([Text(rest, "dim")] if rest else []))


@dataclass(frozen=True)
class Thumbs:
    """A rich renderable of pooled maps: one row a group, as many as fit; darker is more, on each map's own scale."""

    p: MapsPicture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        color, missed = colored(console), 0
        for group, found in self.p.thumbs[:MOST_GROUPS]:
            first = min(10, len(group))
            wide = [max(len(name), len(rows[0])) + 1 for name, rows in found]
            fit = 0
            while fit < len(found) and first + 1 + sum(wide[: fit + 1]) <= options.max_width:
                fit += 1
            missed += len(found) - fit
            head = Text(one_line(group, first).ljust(first + 1), "dim", no_wrap=True)
            head.append_text(Text("".join(name.ljust(w) for (name, _), w in zip(found[:fit], wide))))
            yield head
            for y in range(max(len(rows) for _, rows in found)):
                line = Text(" " * (first + 1), no_wrap=True)
                for (_, rows), w in zip(found[:fit], wide):
                    line.append_text(self._line(rows[y] if y < len(rows) else (), w, color))
                yield line
        missed += sum(len(found) for _, found in self.p.thumbs[MOST_GROUPS:])
        if missed:
            yield Text(f"{missed} more are on the page (--html).", "dim")

    def _line(self, shares: tuple[float, ...], width: int, color: bool) -> Text:
        line = Text(no_wrap=True)
        for x in shares:
            line.append(" " if color else SHADES[min(4, int(5 * x))], cell_style(x, False) if color else "")
        return line.append(" " * (width - len(shares)))
