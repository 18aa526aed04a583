"""A square table of agreement between methods (rank correlation, top-k overlap) in words and shades, for both surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from exegete.show.color import share
from exegete.show.heat import cell_style, colored


@dataclass(frozen=True)
class Cell:
    """One number: its text, the CSS name of its scale's end, and its share (0-1) of the way there."""

    text: str
    scale: str
    share: float


@dataclass(frozen=True)
class Square:
    """A rich renderable of [n, n] numbers between -1 and 1 (`signed`) or 0 and 1, with one name a row and column."""

    names: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    signed: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, padding=(0, 1), show_edge=False)
        table.add_column("", style="bold", justify="right")
        for i in range(len(self.names)):
            table.add_column(str(i + 1), justify="center")
        for i, (name, row) in enumerate(zip(self.names, self.cells)):
            table.add_row(f"{name} {i + 1}", *(self._styled(c, colored(console)) for c in row))
        yield table

    def _styled(self, cell: Cell, color: bool) -> Text:
        position = -cell.share if cell.scale == "neg" else cell.share
        return Text(f" {cell.text} ", cell_style(position, self.signed) if color else "")


def square(names: Sequence[str], numbers: np.ndarray, *, signed: bool) -> Square:
    """The picture of a square table."""
    rows = (
        tuple(tuple(_cell(float(v), signed) for v in row) for row in np.atleast_2d(numbers))
        if numbers.size
        else ()
    )
    return Square(tuple(names), rows, signed)


def _cell(value: float, signed: bool) -> Cell:
    text = f"{value:+.2f}" if signed else f"{value:.2f}"
    scale = "mag" if not signed else "pos" if value >= 0 else "neg"
    return Cell(text if np.isfinite(value) else "n/a", scale, round(abs(share(value, 1.0)), 3))
