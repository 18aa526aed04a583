"""The view of a `Finding`: what was found in words, its trust line, then each figure by its kind."""

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from exegete.core.results.finding import Finding
from exegete.show import facts, figures, terminal
from exegete.show.figure_terminal import drawn
from exegete.show.figures import Picture
from exegete.show.maps import MapsPicture
from exegete.show.view import view
from exegete.show.words import one_line


@dataclass(frozen=True)
class FindingPicture:
    """Everything a finding shows."""

    title: str
    lede: str
    model: str
    context: tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]
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
        drawn_figures = tuple(figures.picture(f) for f in result.figures())
        found_maps = [p.payload for p in drawn_figures if isinstance(p, MapsPicture)]
        return FindingPicture(
            title=one_line(result.title),
            lede=one_line(result.lede),
            model=facts.model_words(result.provenance.model),
            context=context_words(result.context),
            figures=drawn_figures,
            trust=facts.trust_picture(result.trust, result.doubt),
            checks=facts.check_lines(tuple(c for c in checks if c.passed)),
            failed=facts.check_lines(tuple(c for c in checks if not c.passed)),
            cost=facts.cost_lines(result),
            notes=(*result.notes, *result.trust.notes),
            provenance=facts.provenance_rows(result),
            payload={"maps": found_maps} if found_maps else None,
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
        context = [_context(name, words) for name, words in p.context]
        trust = ["", terminal.trust(p.trust)] if p.trust.scores else []
        return Group(
            *head, *alarm, *context, *map(drawn, p.figures), *trust, terminal.foot(p.checks, p.cost, p.notes)
        )


def context_words(
    context: tuple[tuple[str, str], ...],
) -> tuple[tuple[str, tuple[tuple[str, bool], ...]], ...]:
    """Each text as (word, whether it differs from the first text's) where there are several of as many words."""
    split = [one_line(text, 2000).split(" ") for _, text in context]
    alike = len({len(words) for words in split}) == 1
    return tuple(
        (name, tuple((w, alike and w != split[0][i]) for i, w in enumerate(words)))
        for (name, _), words in zip(context, split)
    )


def _context(name: str, words: tuple[tuple[str, bool], ...]) -> Text:
    line = Text.assemble((f"{name}  ", "dim"))
    for word, differs in words:
        line.append(word, "bold underline" if differs else "")
        line.append(" ")
    return line
