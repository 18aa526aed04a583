"""The view of a `Finding`: what was found in words, its trust line, then each figure by its kind."""

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from exegete.core.figure import AnyFigure
from exegete.core.results.finding import Finding
from exegete.show import facts, terminal
from exegete.show.view import view


@dataclass(frozen=True)
class FindingPicture:
    """Everything a finding shows."""

    title: str
    lede: str
    model: str
    context: tuple[tuple[str, str], ...]
    figures: tuple[AnyFigure, ...]
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
    template: ClassVar[str] = "listing.html.j2"
    script: ClassVar[str] = ""

    @staticmethod
    def picture(result: Finding) -> FindingPicture:
        """The finding as plain data."""
        checks = result.all_checks
        return FindingPicture(
            title=result.title,
            lede=result.lede,
            model=facts.model_words(result.provenance.model),
            context=result.context,
            figures=result.figures(),
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
        return Group(
            Text(p.title, "bold"),
            Text(p.lede),
            terminal.trust(p.trust),
            terminal.foot(p.checks, p.cost, p.notes),
        )
