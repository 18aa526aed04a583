"""Pictures of figures in a terminal: shaded tables, values of curves, the strongest edges. What does not fit is said."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from exegete.show.arcs import ArcsPicture
from exegete.show.arcs_terminal import ArcsText
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
from exegete.show.words import one_line, plural

MOST_ROWS, MOST_GROUPS = 24, 6
SHADES = " ░▒▓█"
GAP, LONGEST_WORD, BROKEN_WORD = (
    2,
    24,
    14,
)  # characters between columns; longer words may be broken, or where room is short
NAME, COLUMN = 18, 14  # of a grid: characters of the name of a row, and of the head of a column, on one line


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
        return CurvesText(p)
    if isinstance(p, TablePicture):
        return TableText(p)
    if isinstance(p, GraphPicture):
        return Group(*(Text(f"  {tip}") for tip in strongest(p.edges, 15)))
    if isinstance(p, ArcsPicture):
        return ArcsText(p)
    return _maps(p)


@dataclass(frozen=True)
class GridText:
    """A rich renderable of a grid: as many columns as fit, the last ones where columns are tokens (the output is made there)."""

    p: GridPicture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        p = self.p
        names = [name for name, _ in p.rows[:MOST_ROWS]]
        first = max(
            [min(NAME, len(name)) for name in names] + [min(LONGEST_WORD, _word(n)) for n in names] + [0]
        )
        cells = [
            max([2, *(len(row[1][j].text) + row[1][j].marked for row in p.rows)])
            for j in range(len(p.columns))
        ]
        whole = [max(n, min(len(c), COLUMN)) for n, c in zip(cells, p.columns)]
        all_fit = first + 1 + sum(w + 1 for w in whole) <= options.max_width
        # where room is short, heads are wrapped at their spaces, and what is in the cells is cut
        widths = whole if all_fit else [max(min(9, n), _least(c)) for n, c in zip(cells, p.columns)]
        if len(p.corner) + 1 + sum(w + 1 for w in widths) <= options.max_width:
            first = max(first, min(NAME, len(p.corner)))
        order = range(len(widths))[::-1] if "token" in p.corner else range(len(widths))
        room, kept = options.max_width - first - 2, []
        for j in order:
            room -= widths[j] + 1
            if room < 0:
                break
            kept.append(j)
        kept.sort()
        table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
        table.add_column(_wrapped(p.corner, first), no_wrap=True, width=first)
        for j in kept:
            table.add_column(_wrapped(p.columns[j], widths[j]), no_wrap=True, width=widths[j])
        for name, found in p.rows[:MOST_ROWS]:
            table.add_row(_wrapped(name, first), *(self._cell(found[j], colored(console)) for j in kept))
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


def _wrapped(name: str, width: int) -> Text:
    """A name on one line where it fits, else wrapped at its spaces; a longer word is cut, never broken."""
    return Text(name, no_wrap=len(name) <= width or " " not in name.strip(), overflow="ellipsis")


def _word(text: str) -> int:
    """Letters of the longest word."""
    return max(map(len, text.split()), default=0)


def _least(name: str) -> int:
    """The least width for the head of a column: a name of one word is cut at 9 letters, one of several breaks none of them."""
    return max(2, min(COLUMN, _word(name)) if " " in name.strip() else min(9, len(name)))


@dataclass(frozen=True)
class CurvesText:
    """A rich renderable of curves: the values of every series at the points that its axis names, fewer where there is less room."""

    p: CurvesPicture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        p = self.p
        head = f"{p.y_axis} by {p.x_axis}"
        first = min(options.max_width // 3, max(len(t) for t in (head, *(line.name for line in p.lines))))
        at = [{x: tip.rsplit(": ", 1)[1] for x, _, tip in line.dots} for line in p.lines]
        names = [
            name.removeprefix(f"{p.x_axis} ") for _, name in p.x_ticks
        ]  # "3" of "layer 3": the head says it
        cells = [[name, *(a.get(x, "") for a in at)] for name, (x, _) in zip(names, p.x_ticks)]
        widths = [
            max(_word(name) if len(name) > COLUMN else len(name), *map(len, values))
            for name, *values in cells
        ]
        kept = _evenly(widths, options.max_width - first, self._highest())
        table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
        table.add_column(Text(head), width=first)
        for i in kept:
            head = _wrapped(cells[i][0], widths[i])
            table.add_column(head, justify="right", no_wrap=True, width=widths[i])
        for n, line in enumerate(p.lines):
            style = "dim" if line.control else ""
            table.add_row(Text(line.name, style), *(Text(cells[i][n + 1], style) for i in kept))
        yield table
        yield from (Text(f"  {words}", "dim") for _, words in p.marks)
        rest = words_left_out(max((len(line.dots) for line in p.lines), default=0) - len(kept), "point")
        yield from (Text(words, "dim") for words in [rest] if words)

    def _highest(self) -> int:
        """Index of the tick under the highest point of the first line, of which most is said."""
        line = next((line for line in self.p.lines if line.dots and not line.control), None)
        if line is None:
            return 0
        top = min(line.dots, key=lambda dot: dot[1])[0]  # an svg counts from above
        return min(range(len(self.p.x_ticks)), key=lambda i: abs(self.p.x_ticks[i][0] - top))


def _evenly(widths: list[int], room: int, wanted: int = 0) -> list[int]:
    """Indices of columns, evenly spread from the first to the last, that fit in `room`; the `wanted` one in its neighbour's place."""
    for n in range(len(widths), 1, -1):
        kept = sorted({round(i * (len(widths) - 1) / (n - 1)) for i in range(n)})
        if wanted not in kept and len(kept) > 2:
            inner = kept[1:-1]
            kept.remove(min(inner, key=lambda i: abs(i - wanted)))
            kept = sorted([*kept, wanted])
        if sum(widths[i] + 1 for i in kept) <= room:
            return kept
    return list(range(len(widths)))[-1:]


@dataclass(frozen=True)
class TableText:
    """A rich renderable of a table: as many columns as fit without breaking words, each as wide as there is room for."""

    p: TablePicture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        p, rows = self.p, self.p.rows[:MOST_ROWS]
        texts = [[name, *(row[i][0] for row in rows)] for i, name in enumerate(p.columns)]
        most = [max(map(_word, column)) for column in texts]
        least = [min(LONGEST_WORD, n) for n in most]
        if fitting(least, options.max_width) < len(least):  # rather a long word broken than a column left out
            least = [min(BROKEN_WORD, n) for n in most]
        kept = fitting(least, options.max_width)
        widths = spread([(least[i], max(map(len, texts[i]))) for i in range(kept)], options.max_width)
        table = Table(box=None, padding=(0, GAP, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
        for i, width in enumerate(widths):
            side = "right" if p.numeric[i] else "left"
            table.add_column(Text(p.columns[i]), justify=side, overflow="fold", width=width)
        for row in rows:
            table.add_row(*(Text(text) for text, _ in row[:kept]))
        yield table
        rest = (
            words_left_out(len(p.rows) - MOST_ROWS, "row"),
            words_left_out(len(p.columns) - kept, "column"),
        )
        yield from (Text(words, "dim") for words in rest if words)


def fitting(least: list[int], room: int) -> int:
    """How many of the first columns fit in `room` at their least widths; one at least."""
    used, kept = -GAP, 0
    for width in least:
        used += width + GAP
        if used > room:
            break
        kept += 1
    return max(kept, 1)


def spread(columns: list[tuple[int, int]], room: int) -> list[int]:
    """Widths of columns (least, whole) that share `room`: those that need little more get it first."""
    widths = [least for least, _ in columns]
    spare = max(0, room - sum(widths) - GAP * (len(widths) - 1))
    order = sorted(range(len(columns)), key=lambda i: columns[i][1] - columns[i][0])
    for n, i in enumerate(order):
        more = min(columns[i][1] - widths[i], spare // (len(order) - n))
        widths[i] += more
        spare -= more
    return widths


def _maps(p: MapsPicture) -> RenderableType:
    """A thumbnail a map, then the first one in numbers where it is small."""
    parts: list[RenderableType] = [Thumbs(p)]
    if p.first is not None:
        parts += ["", Text(p.names[0]), GridText(grid(p.first))]
    rest = (
        f"{plural(p.left_out, 'map')} more: --out FILE saves all." if p.left_out > 0 else ""
    )  # no page has them
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
