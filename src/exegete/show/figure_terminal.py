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
    strongest,
    words_left_out,
)
from exegete.show.heat import cell_style, colored
from exegete.show.words import one_line

MOST_ROWS, MOST_MAPS = 24, 2


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
    parts: list[RenderableType] = []
    for grid in p.grids[:MOST_MAPS]:
        parts += [Text(grid.title), GridText(grid)]
    rest = words_left_out(p.left_out + len(p.grids) - MOST_MAPS, "map")
    return Group(*parts, *([Text(rest, "dim")] if rest else []))
