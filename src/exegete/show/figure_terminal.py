"""Pictures of figures in a terminal: shaded tables, values of curves, the strongest edges. What does not fit is said."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from exegete.show.figures import (
    CurvesPicture,
    GraphPicture,
    GridPicture,
    MapsPicture,
    Picture,
    TablePicture,
    strongest,
    words_left_out,
)
from exegete.show.heat import cell_style

MOST_ROWS, MOST_COLUMNS, MOST_MAPS = 24, 14, 2


def drawn(p: Picture) -> RenderableType:
    """A figure for a terminal."""
    head: list[RenderableType] = ["", Text(p.title, "bold")]
    if p.caption:
        head.append(Text(p.caption, "dim"))
    return Group(*head, _body(p))


def _body(p: Picture) -> RenderableType:
    if isinstance(p, GridPicture):
        return _grid(p)
    if isinstance(p, CurvesPicture):
        return _curves(p)
    if isinstance(p, TablePicture):
        return _table(p)
    if isinstance(p, GraphPicture):
        return Group(*(Text(f"  {tip}") for tip in strongest(p.edges, 15)))
    return _maps(p)


def _grid(p: GridPicture) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    table.add_column(Text(p.corner), no_wrap=True, max_width=18)
    for column in p.columns[:MOST_COLUMNS]:
        table.add_column(Text(column), no_wrap=True, max_width=10)
    for name, cells in p.rows[:MOST_ROWS]:
        shown = [
            Text(c.text + ("*" if c.marked else ""), cell_style(c.position, p.signed))
            for c in cells[:MOST_COLUMNS]
        ]
        table.add_row(Text(name), *shown)
    rest = [
        words_left_out(len(p.rows) - MOST_ROWS, "row"),
        words_left_out(len(p.columns) - MOST_COLUMNS, "column"),
    ]
    return Group(table, *(Text(words, "dim") for words in rest if words))


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
        right = any(row[i][1] for row in p.rows)
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in p.rows[:MOST_ROWS]:
        table.add_row(*(Text(text) for text, _ in row))
    rest = words_left_out(len(p.rows) - MOST_ROWS, "row")
    return Group(table, *([Text(rest, "dim")] if rest else []))


def _maps(p: MapsPicture) -> RenderableType:
    parts: list[RenderableType] = []
    for grid in p.grids[:MOST_MAPS]:
        parts += [Text(grid.title), _grid(grid)]
    rest = words_left_out(p.left_out + len(p.grids) - MOST_MAPS, "map")
    return Group(*parts, *([Text(rest, "dim")] if rest else []))
