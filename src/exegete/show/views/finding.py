"""The view of a `Finding`: what was found in words, its trust line, then each figure by its kind."""

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from exegete.core.results.finding import Finding
from exegete.show import facts, figures, terminal
from exegete.show.figure_terminal import drawn
from exegete.show.figures import Picture
from exegete.show.view import view
from exegete.show.words import one_line


@dataclass(frozen=True)
class FindingPicture:
    """Everything a finding shows."""

    title: str
    lede: str
    model: str
    context: tuple[tuple[str, str], ...]
    figures: tuple[Picture, ...]
    trust: facts.TrustPicture
    checks: tuple[facts.CheckLine, ...]
    failed: tuple[facts.CheckLine, ...]
    cost: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    payload: Any = None


@view
class FindingView:
    """Draws any `Finding`."""

    result: ClassVar[str] = "Finding"
    template: ClassVar[str] = "finding.html.j2"
    script: ClassVar[str] = "finding.js"

    @staticmethod
    def picture(result: Finding) -> FindingPicture:
        """The finding as plain data."""
        checks = result.all_checks
        return FindingPicture(
            title=result.title,
            lede=result.lede,
            model=facts.model_words(result.provenance.model),
            context=result.context,
            figures=tuple(figures.picture(f) for f in result.figures()),
            trust=facts.trust_picture(result.trust),
            checks=facts.check_lines(tuple(c for c in checks if c.passed)),
            failed=facts.check_lines(tuple(c for c in checks if not c.passed)),
            cost=facts.cost_lines(result),
            notes=(*result.notes, *result.trust.notes),
            provenance=facts.provenance_rows(result),
        )

    @staticmethod
    def terminal(picture: FindingPicture) -> RenderableType:
        """The picture for a terminal."""
        p = picture
        head: list[RenderableType] = [
            Text.assemble((p.title, "bold"), (f"   {p.model}", "dim")),
            Text(p.lede),
        ]
        alarm = [terminal.alarm(p.failed)] if p.failed else []
        context = [Text.assemble((f"{name}  ", "dim"), one_line(text, 300)) for name, text in p.context]
        trust = ["", terminal.trust(p.trust)] if p.trust.scores else []
        return Group(
            *head, *alarm, *context, *map(drawn, p.figures), *trust, terminal.foot(p.checks, p.cost, p.notes)
        )
