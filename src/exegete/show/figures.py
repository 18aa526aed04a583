"""Figures as plain data for pages, and as renderables for a terminal: one function a kind and surface.

    Grid     a table of shaded cells; words where the figure has them, else numbers
    Curves   lines with bands in a fixed frame (svg); a table of values in a terminal
    Graph    nodes in columns by level, edges by weight (svg); the strongest edges in a terminal
    Table    rows, numbers to the right
    Maps     thumbnails of all maps, one of them open (`show.maps`)
    Tokens   one row of shaded tokens
    Arcs     a sentence between two trees (`show.arcs`)

Positions on colour scales are shares of the figure's largest value, as everywhere (`show.color`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exegete.core.figure import AnyFigure, Arcs, Curves, Edge, Graph, Grid, Maps, Series, Table, Tokens
from exegete.show.arcs import ArcsPicture, arcs
from exegete.show.color import limit, share
from exegete.show.maps import MapsPicture, maps
from exegete.show.words import number, one_line, plural

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 260, 56, 46  # of an svg, in its own units
MOST_EDGES = 400
LONGEST_NAME = 80  # letters of the name of a row or column of a grid; pages and terminals wrap it
LETTER = 6.5  # width of a letter on an axis, in units of the svg
NEGLIGIBLE = 1e-3  # of the largest value of a grid: below it a cell shows no digits
COLOURS, DASHES = 8, 6  # looks of lines (`l0` to `l7`) and of controls (`c0` to `c5`) in the style sheet
TOP, SAID = (
    14,
    16,
)  # room above the curves of an svg, and more of it for the words of marks, which no curve may cross
SHAPES = (  # of the points of a line, around (0, 0): circle, square, diamond, triangle, triangle on its head
    "M-3,0 a3,3 0 1,0 6,0 a3,3 0 1,0 -6,0",
    "M-2.7,-2.7 h5.4 v5.4 h-5.4 z",
    "M0,-3.8 L3.8,0 L0,3.8 L-3.8,0 z",
    "M0,-3.6 L3.4,2.4 L-3.4,2.4 z",
    "M0,3.6 L3.4,-2.4 L-3.4,-2.4 z",
)


@dataclass(frozen=True)
class Cell:
    """One shaded cell: what it says, how far along the scale it is (signed), the words of its tip, whether it stands out."""

    text: str
    position: float
    tip: str
    marked: bool = False


@dataclass(frozen=True)
class GridPicture:
    """A table of shaded cells with names, and the end of its scale."""

    title: str
    caption: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    columns: tuple[str, ...]
    corner: str
    signed: bool
    end: str
    unit: str
    kind: str = "grid"


@dataclass(frozen=True)
class Line:
    """One series in the frame: points and band as svg coordinates, its class (`l0` ..., or `control c0` ...), and the shape
    of its points as an svg path."""

    name: str
    path: str
    band: str
    sort: str
    dots: tuple[tuple[float, float, str], ...]
    shape: str
    control: bool


@dataclass(frozen=True)
class CurvesPicture:
    """Lines in a frame with ticks and marks in svg coordinates."""

    title: str
    caption: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    marks: tuple[tuple[float, str], ...]
    x_axis: str
    y_axis: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = BOTTOM
    kind: str = "curves"


EdgePicture = tuple[float, float, float, float, float, str, str]  # x1 y1 x2 y2 thickness sign tip


@dataclass(frozen=True)
class GraphPicture:
    """Nodes (x, y, name, tip) and edges (x1, y1, x2, y2, thickness, sign, tip), strongest edges last."""

    title: str
    caption: str
    nodes: tuple[tuple[float, float, str, str], ...]
    edges: tuple[EdgePicture, ...]
    left_out: int
    width: int
    height: int
    kind: str = "graph"


@dataclass(frozen=True)
class TablePicture:
    """Rows of (text, is a number)."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, bool], ...], ...]
    numeric: tuple[bool, ...] = ()
    kind: str = "table"


Picture = GridPicture | CurvesPicture | GraphPicture | TablePicture | MapsPicture | ArcsPicture


def picture(figure: AnyFigure) -> Picture:
    """A figure as plain data, without characters that could move or hide others."""
    made = _made(figure)
    return replace(made, title=one_line(made.title), caption=one_line(made.caption))


def _made(figure: AnyFigure) -> Picture:
    if isinstance(figure, Grid):
        return grid(figure)
    if isinstance(figure, Curves):
        return curves(figure)
    if isinstance(figure, Graph):
        return graph(figure)
    if isinstance(figure, Table):
        return table(figure)
    if isinstance(figure, Arcs):
        return arcs(figure)
    return maps(figure) if isinstance(figure, Maps) else tokens(figure)


def grid(f: Grid) -> GridPicture:
    """Cells with their words or numbers."""
    end, marked = f.end or limit(f.values), set(f.marked)
    rows = []
    for i, name in enumerate(f.rows):
        cells = []
        for j, column in enumerate(f.columns):
            value = float(f.values[i, j])
            shown = number(value, sign=f.signed) if np.isfinite(value) else ""
            tiny = 0 < abs(value) < NEGLIGIBLE * end  # a cell says so; the tip has the number
            words = one_line(f.texts[i][j], 14) if f.texts else ("≈ 0" if tiny else shown)
            tip = one_line(f"{name}, {column}: {words + ', ' if f.texts else ''}{shown} {f.unit}".strip())
            cells.append(Cell(words, round(share(value, end), 3), tip, (i, j) in marked))
        rows.append((one_line(name, LONGEST_NAME), tuple(cells)))
    corner = " \\ ".join(a for a in (f.row_axis, f.column_axis) if a)
    columns = tuple(one_line(c, LONGEST_NAME) for c in f.columns)
    return GridPicture(f.title, f.caption, tuple(rows), columns, corner, f.signed, number(end), f.unit)


def tokens(f: Tokens) -> GridPicture:
    """A text as one row."""
    values = np.asarray(f.values, dtype=np.float64)[None]
    one = Grid(
        title=f.title, caption=f.caption, values=values, rows=(f.label or "text",), columns=f.tokens, row_axis="",
        column_axis="", unit=f.unit, signed=f.signed, end=f.end,
    )  # fmt: skip
    return grid(one)


def table(f: Table) -> TablePicture:
    """Cells as text; numbers with three digits."""
    rows = tuple(tuple(_cell(c) for c in row) for row in f.rows)
    numeric = tuple(any(row[i][1] for row in rows) for i in range(len(f.columns)))
    return TablePicture(f.title, f.caption, f.columns, rows, numeric)


def _cell(value: str | float | int | None) -> tuple[str, bool]:
    if value is None:
        return "", False
    if isinstance(value, str):
        return one_line(value, 300), False
    return (str(value) if isinstance(value, int) else number(float(value))), True


def curves(f: Curves) -> CurvesPicture:
    """Series in the frame, which holds every finite value and every band."""
    ys = [a for s in f.series for a in (s.y, s.low, s.high) if a is not None]
    low, high = _range(
        np.concatenate([np.asarray(y, dtype=np.float64).ravel() for y in ys]) if ys else np.zeros(1)
    )
    left, right = _range(np.asarray(f.x, dtype=np.float64), pad=0.0)
    top = TOP + SAID * bool(f.marks)

    def px(x: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 40) * (x - left) / (right - left), 1)

    def py(y: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - top) * (y - low) / (high - low), 1)

    lines = tuple(_line(f, s, n, px, py) for s, n in zip(f.series, _numbered(f.series)))
    whole = bool((f.x == np.round(f.x)).all())
    names = f.x_names or tuple(f"{x:.0f}" if whole else f"{x:.3g}" for x in f.x)
    names = tuple(
        name.removeprefix(f"{f.x_axis} ") for name in names
    )  # "3" of "layer 3": the axis says it, and more fit
    x_ticks = _named(tuple((px(float(x)), one_line(name)) for x, name in zip(f.x, names)))
    y_ticks = tuple((py(v), f"{v:.12g}") for v in steps(low, high))
    marks = tuple((px(x), one_line(words)) for x, words in f.marks)
    return CurvesPicture(f.title, f.caption, lines, x_ticks, y_ticks, marks, f.x_axis, f.y_axis)


def _named(ticks: tuple[tuple[float, str], ...]) -> tuple[tuple[float, str], ...]:
    """Ticks (x, name) for an axis: with whole names where all have room, else with short ones, as many as have room."""
    for letters in (24, 18, 14):
        whole = tuple((x, one_line(name, letters)) for x, name in ticks)
        inside = all(LETTER * len(name) / 2 <= min(x, WIDTH - x) for x, name in whole)
        if inside and _apart(whole) == whole:
            return whole
    return _apart(tuple((x, one_line(name, 12)) for x, name in ticks))


def _apart(ticks: tuple[tuple[float, str], ...]) -> tuple[tuple[float, str], ...]:
    """Ticks (x, name) that do not run into each other: evenly thinned, then those too near to the one before left out."""
    kept: list[tuple[float, str]] = []
    for x, name in ticks[:: max(1, len(ticks) // 8)] if len(ticks) > 16 else ticks:
        room = LETTER * (len(name) + (len(kept[-1][1]) if kept else 0)) / 2 + 8
        if not kept or x - kept[-1][0] >= room:
            kept.append((x, name))
    return tuple(kept)


def _numbered(series: Sequence[Series]) -> list[int]:
    """The number of each series among those of its sort: lines and controls are told apart each among their own."""
    return [sum(other.control == s.control for other in series[:i]) for i, s in enumerate(series)]


def _line(f: Curves, s: Series, n: int, px, py) -> Line:  # type: ignore[no-untyped-def]
    sort = f"control c{n % DASHES}" if s.control else f"l{n % COLOURS}"
    shape = SHAPES[(n + 1) % len(SHAPES)] if s.control else SHAPES[n // 3 % len(SHAPES)]
    points = [
        (px(float(x)), py(float(y)), one_line(f"{s.name}: {number(float(y))}"))
        for x, y in zip(f.x, s.y)
        if np.isfinite(y)
    ]
    path = " ".join(f"{x},{y}" for x, y, _ in points)
    band = ""
    if s.low is not None and s.high is not None:
        up = [f"{px(float(x))},{py(float(y))}" for x, y in zip(f.x, s.high) if np.isfinite(y)]
        down = [f"{px(float(x))},{py(float(y))}" for x, y in zip(f.x, s.low) if np.isfinite(y)]
        band = " ".join([*up, *down[::-1]])
    return Line(one_line(s.name), path, band, sort, tuple(points), shape, s.control)


def _range(values: np.ndarray, pad: float = 0.04) -> tuple[float, float]:
    """Lowest and highest finite value, a little apart; zero is not passed where no value passes it."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    room = (high - low) * pad if high > low else max(abs(high), 1.0) * 0.1
    if not pad and high > low:
        return low, high
    return (max(low - room, 0.0) if low >= 0 else low - room), high + room


def steps(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two numbers: multiples of 1, 2 or 5 times a power of ten, at most `most` of them."""
    unit = 10.0 ** np.floor(np.log10((high - low) / most))
    step = next(unit * k for k in (1, 2, 5, 10, 20) if (high - low) / (unit * k) <= most - 1)
    first = int(np.ceil(low / step - 1e-9))
    return [float(f"{k * step:.12g}") for k in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def graph(f: Graph) -> GraphPicture:
    """Nodes in columns by level, from left to right; the strongest edges where there are many."""
    levels: dict[int, list[str]] = {}
    for n in f.nodes:
        levels.setdefault(n.level, []).append(n.name)
    columns = {level: i for i, level in enumerate(sorted(levels))}
    tall = max((len(names) for names in levels.values()), default=1)
    width, height = max(480, 110 * len(columns)), max(180, 30 * tall + 40)
    place = {}
    for level, names in levels.items():
        for i, name in enumerate(names):
            x = 60 + columns[level] * (width - 120) / max(len(columns) - 1, 1)
            place[name] = (round(x, 1), round(height * (i + 0.5) / len(names), 1))
    order = sorted(f.edges, key=lambda e: abs(e.weight))[-MOST_EDGES:]
    end = limit(np.array([e.weight for e in order] or [0.0]))
    edges = tuple(_edge(e, place, end) for e in order if e.source in place and e.target in place)
    nodes = tuple((*place[n.name], one_line(n.name), one_line(f"{n.name} {n.sort}".strip())) for n in f.nodes)
    return GraphPicture(f.title, f.caption, nodes, edges, len(f.edges) - len(order), width, height)


def _edge(e: Edge, place: dict[str, tuple[float, float]], end: float) -> EdgePicture:
    (x1, y1), (x2, y2) = place[e.source], place[e.target]
    sort = "" if e.target.endswith(e.sort) else f" {e.sort}"  # "logits", "3.mlp" say it already
    tip = f"{e.source} → {e.target}{sort}: {number(e.weight, sign=True)}"
    return (
        x1,
        y1,
        x2,
        y2,
        round(0.5 + 4 * abs(e.weight) / end, 2),
        "pos" if e.weight >= 0 else "neg",
        one_line(tip),
    )


def words_left_out(n: int, noun: str) -> str:
    """What a terminal leaves out, and where it is, in words; empty for nothing."""
    return f"{plural(n, noun)} more: --html FILE shows them, --out FILE saves all." if n > 0 else ""


def strongest(edges: Sequence[EdgePicture], n: int) -> list[str]:
    """The tips of the n strongest edges, strongest first."""
    return [e[-1] for e in reversed(edges[-n:])]
