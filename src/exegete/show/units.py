"""The units of an attribution in words and positions: one line a unit, shared by every view that shows scores of a text."""

from dataclasses import dataclass

import numpy as np

from exegete.core.result import Attribution, UnitInfo
from exegete.show.color import share
from exegete.show.heat import strongest
from exegete.show.words import aligned, one_line, ordinal


@dataclass(frozen=True)
class UnitLine:
    """One unit in words; `position` is on the colour scale (-1 to 1), `bar` and `whisker` are (left, width) shares of
    the bars' axis."""

    text: str
    number: str
    stderr: str
    position: float
    label: str
    place: str
    role: str
    bar: tuple[float, float]
    whisker: tuple[float, float]


def unit_lines(result: Attribution, end: float) -> tuple[UnitLine, ...]:
    """One line a unit, in order."""
    rank = np.empty(len(result.total), dtype=int)
    rank[strongest(result.total)] = np.arange(1, len(rank) + 1)
    errors = result.stderr if result.stderr is not None else np.full(len(rank), np.nan)
    reach = axis(result)
    return tuple(
        _unit_line(u, (float(s), float(e)), (int(k), len(rank)), (end, *reach), result.signed)
        for u, s, e, k in zip(result.units, result.total, errors, rank)
    )


def _unit_line(
    u: UnitInfo,
    score: tuple[float, float],
    rank: tuple[int, int],
    scale: tuple[float, float, float],
    signed: bool,
) -> UnitLine:
    value, error = score
    end, below, width = scale
    text, shown = one_line(u.text, 60), aligned(value, end, sign=signed)
    stderr = "" if np.isnan(error) else aligned(error, end)
    label = (
        f"{text}: {shown}{f', standard error {stderr}' if stderr else ''}, {ordinal(rank[0])} of {rank[1]}"
    )
    length = float(np.nan_to_num(value if signed else abs(value)))
    spread = float(np.nan_to_num(error))
    bar = (round((min(0.0, length) + below) / width, 4), round(abs(length) / width, 4))
    whisker = (round((length - spread + below) / width, 4), round(2 * spread / width, 4))
    return UnitLine(text, shown, stderr, round(share(value, end), 4), label, place(u), u.role, bar, whisker)


def place(u: UnitInfo) -> str:
    """Where a unit stands, in words: segment or role, tokens, characters."""
    where = "" if u.start < 0 else f"characters {u.start} to {u.end}"
    tokens = f"token {u.tokens[0]}" if len(u.tokens) == 1 else f"{len(u.tokens)} tokens" if u.tokens else ""
    return ", ".join(w for w in (u.segment or ("" if u.role == "prompt" else u.role), tokens, where) if w)


def axis(result: Attribution) -> tuple[float, float]:
    """How far the bars' axis reaches below zero, and its whole width; room for the whiskers included."""
    total = np.nan_to_num(result.total if result.signed else np.abs(result.total))
    error = np.nan_to_num(result.stderr) if result.stderr is not None else np.zeros_like(total)
    below = max(0.0, -float((total - error).min(initial=0)))
    return below, (below + float((total + error).max(initial=0))) or 1.0
