"""A sentence between two trees in a terminal: arcs of box characters, gold above, predicted below.

Solid lines agree with the other tree, dashed ones do not (colour says the same). A sentence wider than the terminal is told in
words, an arc a line, the wrong ones first.
"""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from exegete.show.arcs import ArcPicture, ArcsPicture
from exegete.show.color import DARK
from exegete.show.heat import colored
from exegete.show.words import one_line

MOST_TOLD = 12
JOINED = {
    **{a + b: "┬" for a, b in ("╭╮", "╮╭")},
    **{a + b: "┴" for a, b in ("╰╯", "╯╰")},
    **{a + b: "├" for a in "│╎" for b in "╭╰"},
    **{a + b: "┤" for a in "│╎" for b in "╮╯"},
    **{a + b: "┼" for a in "├┤" for b in "╭╮╰╯"},
}  # what a corner becomes that is drawn over another line
STYLES = {
    "right": DARK.positive_mark,
    "half": DARK.magnitude_mark,
    "wrong": DARK.negative_mark,
    "missed": "dim",
}


@dataclass(frozen=True)
class ArcsText:
    """A rich renderable of a sentence and its two trees."""

    p: ArcsPicture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        p, color = self.p, colored(console)
        starts, at = [], 0
        for w in p.words:
            starts.append(at)
            at += max(2, len(w.text)) + 1
        if at - 1 > options.max_width - 1:
            yield from self._told(options.max_width)
            return
        middle = [s + (max(2, len(w.text)) - 1) // 2 for s, w in zip(starts, p.words)]
        yield from self._side([a for a in p.arcs if a.above], middle, at, color)[::-1]
        line = Text(no_wrap=True)
        for w in p.words:
            line.append(w.text.ljust(max(2, len(w.text))), "dim" if w.out else "bold")
            line.append(" ")
        yield line
        yield from self._side([a for a in p.arcs if not a.above], middle, at, color)
        yield Text("above: the tree; below: predicted; ╌ dashed: not in the other", "dim")

    def _side(self, arcs: list[ArcPicture], middle: list[int], width: int, color: bool) -> list[Text]:
        """Rows of one side, from the words outwards."""
        rows = max((a.level for a in arcs), default=0)
        cells = [[(" ", "")] * (width + 1) for _ in range(rows)]
        for a in sorted(arcs, key=lambda a: -a.level):  # nearer ones are drawn over what passes behind
            head, word = (middle[i] for i in a.ends)
            left, right = sorted((head, word))
            style = STYLES[a.sort] if color or STYLES[a.sort] == "dim" else ""
            solid = a.sort in ("right", "half")
            for y in range(a.level - 1):
                for x in (left, right):
                    cells[y][x] = ("│" if solid else "╎", style)
            for x in range(left + 1, right):
                cells[a.level - 1][x] = ("─" if solid else "╌", style)
            row = cells[a.level - 1]
            row[left] = (_joined(row[left][0], "╭" if a.above else "╰"), style)
            row[right] = (_joined(row[right][0], "╮" if a.above else "╯"), style)
        found = []
        for row in cells:
            line = Text(no_wrap=True)
            for sign, style in row:
                line.append(sign, style)
            line.rstrip()
            found.append(line)
        return found

    def _told(self, width: int) -> RenderResult:
        """Arcs in words."""
        order = sorted(self.p.arcs, key=lambda a: ("wrong", "missed", "half", "right").index(a.sort))
        yield from (Text(one_line(f"  {a.tip}", width)) for a in order[:MOST_TOLD])
        if len(order) > MOST_TOLD:
            yield Text(f"{len(order) - MOST_TOLD} arcs more are on the page (--html).", "dim")


def _joined(there: str, corner: str) -> str:
    """The sign of a corner where a line may be already."""
    return JOINED.get(there + corner, corner)
