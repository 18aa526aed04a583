"""The text as an in-order heat map, and its scores as in-order bars: the data, and both for a terminal.

`pieces` cuts the text into units and what stands between them, so that a heat map reads as the text did. Units without
a place in the text (special tokens, the tokens generated so far) follow in order, set off by a space.

In a terminal without colour (not a tty, or NO_COLOR) a unit carries its signed number in brackets instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import environ

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.style import Style
from rich.text import Text

from exegete.core.result import UnitInfo
from exegete.show.color import LIGHT, contrast, mark, shade, terminal_theme
from exegete.show.words import one_line, visible

FAINT = 0.05  # below this share of the largest score, a unit stays bare where there is no colour


@dataclass(frozen=True)
class Piece:
    """A run of the text: `unit` is the index of the unit it stands for, or None between units."""

    text: str
    unit: int | None = None
    role: str = "prompt"


def pieces(text: str, units: Sequence[UnitInfo]) -> tuple[Piece, ...]:
    """`text` cut into units and gaps, in order; a unit without a place in the text shows its own text."""
    out: list[Piece] = []
    at = 0
    for i, u in enumerate(units):
        placed = u.role == "prompt" and at <= u.start < u.end <= len(text)
        if placed:
            out.append(Piece(visible(text[at : u.start])))
            out.append(Piece(visible(text[u.start : u.end]), i))
            at = u.end
        else:
            out.append(Piece(" " if out else ""))
            out.append(Piece(visible(u.text), i, u.role))
    last_prompt = max((k for k, p in enumerate(out) if p.unit is not None and p.role == "prompt"), default=-1)
    if any(u.start >= 0 for u in units):
        out.insert(last_prompt + 1, Piece(visible(text[at:])))
    return tuple(p for p in out if p.text)


@dataclass(frozen=True)
class HeatText:
    """A rich renderable: the pieces, each unit on the colour of its position (-1 to 1)."""

    pieces: tuple[Piece, ...]
    positions: tuple[float, ...]
    numbers: tuple[str, ...]
    signed: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text(colored(console))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(10, options.max_width)

    def text(self, color: bool) -> Text:
        """The heat map as styled text, or with numbers in brackets when there is no colour."""
        out = Text()
        for p in self.pieces:
            if p.unit is None:
                out.append(p.text)
            elif color:
                out.append(p.text, cell_style(self.positions[p.unit], self.signed))
            else:
                faint = abs(self.positions[p.unit]) < FAINT
                out.append(p.text if faint else f"{p.text}[{self.numbers[p.unit]}]")
        return out


@dataclass(frozen=True)
class Bars:
    """A rich renderable: one line a unit, in text order: label, bar from the common zero, number, standard error."""

    labels: tuple[str, ...]
    positions: tuple[float, ...]
    numbers: tuple[str, ...]
    signed: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        label = min(max((len(x) for x in self.labels), default=1), 24)
        tail = max((len(x) for x in self.numbers), default=1)
        room = max(8, min(options.max_width - label - tail - 6, 60))
        below = max([0.0, *(-p for p in self.positions)]) if self.signed else 0.0
        above = max([0.0, *(abs(p) if not self.signed else p for p in self.positions)])
        left = round(room * below / ((below + above) or 1))
        cells = (left, room - left, 1 / ((below + above) or 1) * room)
        for text, position, value in zip(self.labels, self.positions, self.numbers):
            line = Text("  " + one_line(text, label).rjust(label) + " ", no_wrap=True)
            line.append_text(self._bar(position, cells, colored(console)))
            line.append(" " + value)
            yield line

    def _bar(self, position: float, cells: tuple[int, int, float], color: bool) -> Text:
        left, right, scale = cells
        style = Style(color=mark(position, self.signed, terminal_theme(environ))) if color else Style()
        bar = _blocks(abs(position) * scale)
        if self.signed and position < 0:
            return Text.assemble(
                (bar[::-1].translate(_MIRROR).rjust(left)[-left:] if left else "", style), "│", " " * right
            )
        return Text.assemble(" " * left, "│", (bar.ljust(right)[:right], style))


_MIRROR = str.maketrans("▌", "▐")


def _blocks(length: float) -> str:
    whole, half = divmod(round(2 * length), 2)
    return "█" * int(whole) + ("▌" if half else "")


def cell_style(position: float, signed: bool) -> Style:
    """Ink on the shade of a score; what is nearly zero keeps the terminal's own colours (its paper is not known)."""
    if abs(position) < 0.08:
        return Style()
    theme = terminal_theme(environ)
    back = shade(position, signed, theme)
    ink = max((theme.ink, LIGHT.ink, "#ffffff"), key=lambda c: contrast(c, back))
    return Style(color=ink, bgcolor=back)


def colored(console: Console) -> bool:
    """Whether the console shows colours at all."""
    return console.color_system is not None and not console.no_color


def strongest(scores: Sequence[float] | np.ndarray) -> list[int]:
    """Indices by falling |score|; NaN counts as zero, equals keep their order."""
    size = np.nan_to_num(np.abs(np.asarray(scores, dtype=float)))
    return [int(i) for i in np.argsort(-size, kind="stable")]
