"""The view of a `Comparison`: the same text once a method, how far the methods disagree, and how far to trust each."""

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text

from exegete.core.result import Attribution, Comparison
from exegete.core.trust import Trust
from exegete.show import facts, terminal
from exegete.show.color import legend, limit
from exegete.show.heat import HeatText, Piece, pieces, strongest
from exegete.show.square import Square, square
from exegete.show.units import UnitLine, unit_lines
from exegete.show.view import view
from exegete.show.words import one_line, plural


@dataclass(frozen=True)
class MethodRow:
    """One method: its heat map (empty when no text is shown), its strongest units, its trust, its failed checks."""

    name: str
    units: tuple[UnitLine, ...]
    pieces: tuple[Piece, ...]
    signed: bool
    top: str
    trust: facts.TrustPicture
    failed: tuple[facts.CheckLine, ...]


@dataclass(frozen=True)
class ComparisonPicture:
    """Everything a comparison shows."""

    title: str
    lede: str
    model: str
    rows: tuple[MethodRow, ...]
    correlation: Square
    overlap: Square
    top_k: int
    legend: tuple[str, str, str]
    cost: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    payload: None = None  # the script moves the focus only


@view
class ComparisonView:
    """Draws a `Comparison`."""

    result: ClassVar[str] = "Comparison"
    template: ClassVar[str] = "comparison.html.j2"
    script: ClassVar[str] = "comparison.js"

    @staticmethod
    def picture(result: Comparison) -> ComparisonPicture:
        """The comparison as plain data."""
        names = tuple(facts.method_words(m) for m in result.methods)
        first = result.attributions[0] if result.attributions else None
        what = f" of {one_line(first.target, 60)}" if first else ""
        return ComparisonPicture(
            title=f"Do {plural(len(names), 'explanation')}{what} agree?",
            lede=_lede(result),
            model=facts.model_words(result.provenance.model or (first.provenance.model if first else "")),
            rows=tuple(_row(result, i) for i in range(len(names))),
            correlation=square(names, result.rank_correlation, signed=True),
            overlap=square(names, result.top_overlap, signed=False),
            top_k=result.top_k,
            legend=legend(True, first.against if first else ""),
            cost=facts.cost_lines(result),
            notes=(*result.notes, *result.trust.notes),
            provenance=facts.provenance_rows(result),
        )

    @staticmethod
    def terminal(picture: ComparisonPicture) -> RenderableType:
        """The picture for a terminal."""
        p = picture
        blocks: list[RenderableType] = [
            Text.assemble((p.title, "bold"), (f"   {p.model}", "dim")),
            Text(p.lede),
        ]
        for row in p.rows:
            blocks += ["", *_terminal_row(row)]
        blocks += ["", Text("Rank correlation (1 agree, 0 unrelated, -1 opposite)", "bold"), p.correlation]
        blocks += ["", Text(f"Share of the {p.top_k} strongest in common", "bold"), p.overlap]
        return Group(*blocks, terminal.foot((), p.cost, p.notes))


def _lede(result: Comparison) -> str:
    if result.n_texts > 1:
        return f"Agreement is the mean over {plural(result.n_texts, 'text')}."
    return (
        "The same text, one row a method; each row on its own scale, strongest colour for its largest score."
    )


def _row(result: Comparison, i: int) -> MethodRow:
    name = facts.method_words(result.methods[i])
    a = result.attributions[i] if i < len(result.attributions) else None
    trust = result.trusts[i] if i < len(result.trusts) else (a.trust if a else Trust())
    picture = facts.trust_picture(trust)
    if a is None:
        return MethodRow(name, (), (), True, "", picture, facts.check_lines(trust.failed_checks))
    failed = facts.check_lines(tuple(c for c in (*a.checks, *trust.checks) if not c.passed))
    units = unit_lines(a, limit(a.total))
    return MethodRow(name, units, pieces(a.text, a.units), a.signed, _top(a, units), picture, failed)


def _top(a: Attribution, units: tuple[UnitLine, ...]) -> str:
    return ", ".join(f"{units[i].text} {units[i].number}" for i in strongest(a.total)[:3])


def _terminal_row(row: MethodRow) -> list[Any]:
    sign, style = terminal.STANDING[row.trust.standing]
    lines: list[Any] = [
        Text.assemble((row.name, "bold"), (f"   strongest: {row.top}" if row.top else "", "dim"))
    ]
    if row.failed:
        lines.append(terminal.alarm(row.failed))
    if row.units:
        positions = tuple(u.position for u in row.units)
        lines.append(HeatText(row.pieces, positions, tuple(u.number for u in row.units), row.signed))
    lines.append(Text.assemble((f"{sign} ", style), row.trust.headline))
    scores = "; ".join(
        f"{s.name} {s.value}" + (f" (chance {s.chance})" if s.chance else "") for s in row.trust.scores
    )
    return [*lines, Text("  " + scores, "dim")] if scores else lines
