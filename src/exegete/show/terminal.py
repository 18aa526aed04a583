"""Parts that several views draw in a terminal: the legend, the alarm of failed checks, the trust line, the foot."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from exegete.show.facts import CheckLine, ScoreLine, TrustPicture
from exegete.show.heat import cell_style, colored

STANDING = {"good": ("✓", "green"), "bad": ("✗", "bold red"), "unknown": ("·", "dim"), "none": (" ", "dim")}


@dataclass(frozen=True)
class Legend:
    """A rich renderable: the colour scale with its ends in numbers and words."""

    signed: bool
    end: str
    words: tuple[str, str, str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        low, _, high = self.words
        out = Text("  ")
        first = f"-{self.end} {low} " if self.signed else f"{low} "
        out.append(first, "dim")
        if colored(console):
            for i in range(-6 if self.signed else 0, 7):
                out.append(" ", cell_style(i / 6, self.signed))
        else:
            out.append("... 0 ..." if self.signed else "...", "dim")
        out.append(f" +{self.end} {high}" if self.signed else f" {self.end} {high}", "dim")
        yield out


def alarm(failed: tuple[CheckLine, ...]) -> RenderableType:
    """Checks that failed, before anything else."""
    lines = [
        Text.assemble((f"{c.name}: ", "bold"), f"{c.value}, allowed {c.tolerance}. {c.words}".rstrip())
        for c in failed
    ]
    noun = "CHECK FAILED" if len(failed) == 1 else "CHECKS FAILED"
    return Panel(
        Group(*lines),
        title=f"{len(failed)} {noun}: do not rely on this",
        border_style="bold red",
        title_align="left",
    )


def trust(picture: TrustPicture) -> RenderableType:
    """The trust line: headline, then each score with all that is needed to read it."""
    sign, style = STANDING[picture.standing]
    head = Text.assemble(("Trust  ", "bold"), (f"{sign} {picture.headline}", style))
    width = max((len(s.name) for s in picture.scores), default=0)
    before = (None, *picture.scores)
    return Group(head, *(score(s, width, _same(s, last)) for s, last in zip(picture.scores, before)))


def _same(s: ScoreLine, last: ScoreLine | None) -> bool:
    """Whether a score is the one above it, held against something else."""
    return last is not None and (s.name, s.value, s.interval) == (last.name, last.value, last.interval)


def score(s: ScoreLine, width: int, same: bool = False) -> RenderableType:
    """One score on two lines: value and verdict, then what it was held against. `same`: name and value stand in the line above."""
    sign, style = STANDING[s.standing]
    told = (
        []
        if same
        else [f"{s.name.ljust(width)}  ", (s.value, "bold"), f"  [{s.interval}]" if s.interval else "", "  "]
    )
    first = Text.assemble((f"{sign} ", style), *told, (s.verdict, style))
    held = [
        f"chance {s.chance}" if s.chance else "",
        f"control {s.control}" if s.control else "",
        f"percentile {s.percentile}" if s.percentile else "",
        f"n {s.n}, failed {s.n_failed}",
        f"{s.better} is better",
    ]
    second = Text(" · ".join(h for h in held if h), "dim")
    return Group(Padding(first, (0, 0, 0, 2)), Padding(second, (0, 0, 0, 6)))


def foot(
    checks: tuple[CheckLine, ...], cost: tuple[tuple[str, str], ...], notes: tuple[str, ...]
) -> RenderableType:
    """Checks that passed on one line, cost, notes."""
    passed = [c.name for c in checks if c.passed]
    lines: list[RenderableType] = []
    if passed:
        lines.append(Text.assemble(("Checks ", "bold"), ("✓ ", "green"), ", ".join(passed)))
    if cost:
        lines.append(
            Text.assemble(("Cost   ", "bold"), " | ".join(f"{name}: {words}" for name, words in cost))
        )
    lines += [Text.assemble(("Note   ", "bold"), note) for note in notes]
    return Group(*lines)
