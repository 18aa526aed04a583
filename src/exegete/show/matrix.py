"""The matrix output x unit for a terminal: one line an output, one cell a unit, on one colour scale for all outputs.

Cells hold the first letters of the unit where there is room, one blank each where there is not; units that an output had
not read yet stay empty. Without colour a cell is `++`, `+`, `·`, `-`, `--` by share of the largest score. Each line ends
with the output's strongest unit.
"""

from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from exegete.show.color import limit, share
from exegete.show.heat import cell_style, colored
from exegete.show.words import aligned, one_line

MAX_ROWS = 40


@dataclass(frozen=True)
class MatrixText:
    """A rich renderable of scores [outputs, units]; `available` is False where there is nothing to show."""

    outputs: tuple[str, ...]
    units: tuple[str, ...]
    scores: np.ndarray
    available: np.ndarray
    signed: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("Each output (line) by each unit (cell):", "bold")
        label = min(max(len(o) for o in self.outputs), 16)
        room = options.max_width - label - 28
        width = max(1, min(6, room // max(1, len(self.units))))
        shown = min(len(self.units), max(1, room // width))
        end = limit(np.where(self.available, self.scores, np.nan))
        for row in range(min(len(self.outputs), MAX_ROWS)):
            line = Text("  " + one_line(self.outputs[row], label).rjust(label) + " ", no_wrap=True)
            for unit in range(shown):
                line.append_text(self._cell(row, unit, width, end, colored(console)))
            line.append_text(self._strongest(row, end))
            yield line
        left_out = [
            (len(self.outputs) - MAX_ROWS, "outputs"),
            (len(self.units) - shown, "units"),
        ]
        words = [f"{n} more {noun}" for n, noun in left_out if n > 0]
        if words:
            yield Text(f"  ({' and '.join(words)}: on the page, --html)", "dim")

    def _cell(self, row: int, unit: int, width: int, end: float, color: bool) -> Text:
        if not self.available[row, unit]:
            return Text(" " * width)
        position = share(float(self.scores[row, unit]), end)
        if color:
            text = _fit(self.units[unit], width - 1) + " " if width > 2 else " " * width
            return Text(text, cell_style(position, self.signed))
        return Text(_glyph(position, width).ljust(width))

    def _strongest(self, row: int, end: float) -> Text:
        scores = np.where(self.available[row], self.scores[row], 0.0)
        if not self.available[row].any():
            return Text("  not asked for", "dim")
        best = int(np.argmax(np.abs(scores)))
        return Text(
            f"  {one_line(self.units[best], 14)} {aligned(float(scores[best]), end, sign=self.signed)}", "dim"
        )


def _fit(text: str, width: int) -> str:
    line = one_line(text)
    return line if cell_len(line) == width else set_cell_size(line, width)


def _glyph(position: float, width: int) -> str:
    sign = "+" if position > 0 else "-"
    if abs(position) < 0.15:
        return "·"
    return sign * 2 if abs(position) > 0.6 and width > 1 else sign
