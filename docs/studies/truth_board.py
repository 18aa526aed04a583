"""Writes docs/studies/truth-board.md: every method against what is known because it was planted. Four minutes of one core.

python docs/studies/truth_board.py [seed]      seed 0 is the page's; another one is printed and not written
"""

import sys
from pathlib import Path

import numpy as np

from exegete.core.results.truth import WORDS_ON_TOP, TruthBoard, TruthRow
from exegete.evaluate.truth import truth_board

PAGE = Path(__file__).with_name("truth-board.md")
HEAD = """# Does every method recover the truth?

Written by `python docs/studies/truth_board.py`, from the same board as `exegete evaluate --truth` (seed 0, six texts a planted model); do not edit.

Here the right answer is known, because it was put in: models whose weights are set by hand, models trained until a planted rule is theirs (verified on
generated counter-examples: a text is asked about only if taking its planted words away changes the answer), dictionaries, concepts, facts and
mislabelled examples of our own. A value near its best says that a method finds what is there in these small models, **not** that it does so in
yours; a value no better than chance says that it cannot be relied on even here.

**Bold** beats both what a guess scores and the control (the same method where nothing is planted, mostly randomised weights) with its whole 95 %
interval: few draws that are all right leave a wide one. `n` texts, pairs, facts or models, `failed` those that could not be asked. Passes are forwards and
backwards for one of them.
"""
EXPLAIN = """
## Methods that explain a text

Share of the planted words among the words with the highest scores, on five planted classifiers of three classes with a neutral default. With two classes
the masked text already is one of them, and the board would rank baselines; so would words that the model does not use.
"""
STUDIES = "\n## Studies of how a model works\n"
LEFT = "\n## Not scored here, and why\n"


def number(x: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if x is None or not np.isfinite(x) else f"{x:.2f}" if abs(x) < 10 else f"{x:.0f}"


def passes_of(x: float) -> str:
    """A mean number of passes: whole, or with one digit where it is small."""
    return "-" if not np.isfinite(x) else f"{x:.0f}" if x >= 10 or float(x).is_integer() else f"{x:.1f}"


def good(row: TruthRow) -> bool:
    """Whether it beats chance and control."""
    s = row.score
    return bool(s.beats_chance) and s.beats_control is not False


def value(row: TruthRow) -> str:
    """The value, bold where it is good, with its interval."""
    s = row.score
    shown = f"**{number(s.value)}**" if good(row) else number(s.value)
    return f"{shown} [{number(s.interval[0])}, {number(s.interval[1])}]" if s.interval else shown


def explaining(rows: list[TruthRow]) -> list[str]:
    """A row a method, a column a truth, best mean first."""
    truths = list(dict.fromkeys(r.truth for r in rows))
    held = {(r.method, r.truth): r for r in rows}
    guess = {t: next(r.score.chance for r in rows if r.truth == t) for t in truths}
    names = sorted(
        dict.fromkeys(r.method for r in rows),
        key=lambda m: -np.mean([r.score.value for r in rows if r.method == m]),
    )
    lines = [f"| method | passes | {' | '.join(truths)} |", "|---|---:|" + "---|" * len(truths)]
    lines.append(f"| *a guess* | | {' | '.join(number(guess[t]) for t in truths)} |")
    for m in names:
        cells = [value(held[m, t]) if (m, t) in held else "-" for t in truths]
        passes = np.nanmean([r.passes for r in rows if r.method == m]) if m != "random scores" else np.nan
        lines.append(f"| {m} | {passes_of(float(passes))} | {' | '.join(cells)} |")
    return lines


def studies(rows: list[TruthRow]) -> list[str]:
    """A row a study and truth."""
    lines = ["| method | truth | what is measured | value | a guess | control | n (failed) | passes |"]
    lines.append("|---|---|---|---|---:|---:|---:|---:|")
    for r in sorted(rows, key=lambda r: (r.method, r.truth)):
        s = r.score
        control = f"{number(s.control)} ({s.control_name})" if s.control is not None else "-"
        lines.append(
            f"| {r.method} | {r.truth} | {s.name} | {value(r)} | {number(s.chance)} | {control} | {s.n} ({s.n_failed}) | {passes_of(r.passes)} |"
        )
    return lines


def page(board: TruthBoard) -> str:
    """The whole page."""
    on_top = [r for r in board.rows if r.score.name == WORDS_ON_TOP]
    rest = [r for r in board.rows if r not in on_top and r.score.name != "mean rank of planted words"]
    bad = sorted({f"{r.method} ({r.truth})" for r in rest if not good(r)})
    told = f"{len({r.method for r in rest})} studies. Not better than a guess and their control: {', '.join(bad)}."
    lines = [HEAD, board.lede, EXPLAIN, *explaining(on_top), STUDIES, told, "", *studies(rest), LEFT]
    lines += ["| method | why |", "|---|---|", *(f"| {m} | {why} |" for m, _, why in board.unscored)]
    lines += ["", "## What is planted", "", *(f"- **{name}**: {says}" for name, says in board.truths), ""]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or print that of another seed."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    told = page(truth_board(seed=seed))
    print(told) if seed else PAGE.write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
