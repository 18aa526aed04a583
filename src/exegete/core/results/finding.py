"""`Finding`: the result of a study, with what it found in words, its numbers, and the figures that show them.

Each kind of finding is a final subclass with fields of its own, in a file of this folder; `figures()` says how it is
shown, from those fields alone, so that a saved finding opens and draws itself without the model and without torch.
"""

from typing import Any

from exegete.core.figure import AnyFigure, Grid, Table, Tokens
from exegete.core.result import Result, frame
from exegete.core.trust import Check


class Finding(Result):
    """Base of what studies return.

    title    what was asked, as a heading
    lede     what was found, in one or two sentences; says so when a control was not beaten
    context  (label, text) pairs shown above the figures: the clean and the corrupt text, the prompt, the data
    checks   the study's own self-checks; the ones that every study carries come first
    """

    title: str
    lede: str
    context: tuple[tuple[str, str], ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """The study's own self-checks and those of the judging."""
        return (*self.checks, *self.trust.checks)

    @property
    def doubt(self) -> str:
        """Why the finding's own verdict is undecided or flagged, whatever its scores beat; empty where it is not."""
        return ""

    def figures(self) -> tuple[AnyFigure, ...]:
        """What shows the finding, the most telling first."""
        return ()

    def to_frame(self) -> Any:
        """The first figure that has rows, as a pandas table. Needs the extra `frames`."""
        return frame(_rows(self.figures()))


def _rows(figures: tuple[AnyFigure, ...]) -> list[dict[str, Any]]:
    for f in figures:
        if isinstance(f, Table):
            return [dict(zip(f.columns, row)) for row in f.rows]
        if isinstance(f, Grid):
            return [
                {f.row_axis or "row": r, f.column_axis or "column": c, f.unit or "value": float(v)}
                for r, line in zip(f.rows, f.values)
                for c, v in zip(f.columns, line)
            ]
        if isinstance(f, Tokens):
            return [{"token": t, f.unit or "value": float(v)} for t, v in zip(f.tokens, f.values)]
    return []
