"""The view of an `Attribution`: the text as a heat map, in-order bars, and how far to trust it.

Order on every surface: what was explained; checks that failed, loud; the trust headline; the heat map with its legend;
the bars (text order, standard error when sampled); for several outputs the matrix output x unit; trust, cost, notes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from exegete.core.result import Attribution
from exegete.show import facts, terminal
from exegete.show.color import legend, limit
from exegete.show.heat import Bars, HeatText, Piece, pieces, strongest
from exegete.show.matrix import MatrixText
from exegete.show.units import UnitLine, axis, place, unit_lines
from exegete.show.view import view
from exegete.show.words import number, one_line, percent

LONG = 40  # from this many units on, a terminal shows bars of the strongest only
STRONGEST = 20
SCALES = {"logit": "logit", "logprob": "log-probability", "prob": "probability"}


@dataclass(frozen=True)
class AttributionPicture:
    """Everything an attribution shows, in words and positions."""

    title: str
    lede: str
    method: str
    model: str
    level: str
    predictions: tuple[tuple[str, str, float], ...]
    predicted: str
    units: tuple[UnitLine, ...]
    pieces: tuple[Piece, ...]
    scores: tuple[float, ...]
    signed: bool
    end: str
    zero: float
    legend: tuple[str, str, str]
    outputs: tuple[str, ...]
    matrix: np.ndarray
    available: np.ndarray
    checks: tuple[facts.CheckLine, ...]
    trust: facts.TrustPicture
    cost: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    payload: dict[str, Any]

    @property
    def failed(self) -> tuple[facts.CheckLine, ...]:
        """The checks that did not pass."""
        return tuple(c for c in self.checks if not c.passed)


@view
class AttributionView:
    """Draws an `Attribution`."""

    result: ClassVar[str] = "Attribution"
    template: ClassVar[str] = "attribution.html.j2"
    script: ClassVar[str] = "attribution.js"

    @staticmethod
    def picture(result: Attribution) -> AttributionPicture:
        """The attribution as plain data."""
        end = limit(result.total)
        below, width = axis(result)
        available = np.isfinite(result.scores)
        if result.available is not None:
            available &= result.available
        return AttributionPicture(
            title=title(result),
            lede=lede(result),
            method=facts.method_words(result.provenance.method),
            model=facts.model_words(result.provenance.model),
            level=result.level,
            predictions=predictions(result),
            predicted=one_line(result.predicted, 60),
            units=unit_lines(result, end),
            pieces=pieces(result.text, result.units),
            scores=tuple(float(s) for s in result.total),
            signed=result.signed,
            end=number(end),
            zero=round(below / width, 4),
            legend=legend(result.signed, one_line(result.against, 30)),
            outputs=tuple(one_line(o, 40) for o in result.outputs),
            matrix=result.scores,
            available=available,
            checks=facts.check_lines(result.all_checks),
            trust=facts.trust_picture(result.trust),
            cost=facts.cost_lines(result),
            notes=(*result.notes, *result.trust.notes),
            provenance=facts.provenance_rows(result),
            payload=payload(result, available),
        )

    @staticmethod
    def terminal(picture: AttributionPicture) -> RenderableType:
        """The picture for a terminal."""
        p = picture
        positions = tuple(u.position for u in p.units)
        blocks: list[RenderableType] = [header(p)]
        if p.failed:
            blocks.append(terminal.alarm(p.failed))
        blocks += ["", HeatText(p.pieces, positions, tuple(u.number for u in p.units), p.signed), ""]
        blocks += [*bars(p), terminal.Legend(p.signed, p.end, p.legend)]
        if len(p.outputs) > 1:
            labels = tuple(u.text for u in p.units)
            blocks += ["", MatrixText(p.outputs, labels, p.matrix, p.available, p.signed)]
        blocks += ["", terminal.trust(p.trust), terminal.foot(p.checks, p.cost, p.notes)]
        return Group(*blocks)


def title(result: Attribution) -> str:
    """The question that is answered: why this (rather than that)?"""
    if result.scale == "entropy":
        return "What makes the model unsure?"
    foil = f" rather than {quoted(result.against, 60)}" if result.against else ""
    return f"Why {quoted(result.target, 90)}{foil}?"


def lede(result: Attribution) -> str:
    """What number is explained."""
    scale = SCALES.get(result.scale, result.scale)
    what = scale if result.scale == "entropy" else f"{scale} of {quoted(result.target, 90)}"
    foil = f" minus that of {quoted(result.against, 60)}" if result.against else ""
    base = (
        "" if np.isnan(result.base_value) else f", from {number(result.base_value)} with everything removed"
    )
    return f"Explained: the {what}{foil}, {number(result.value)}{base}."


def quoted(target: str, width: int) -> str:
    """A target in running words: the name of a class as it is, any other text in quotation marks."""
    text = one_line(target.strip() or target, width)
    return text if text.replace("_", "").replace("-", "").isalnum() or "“" in text else f"“{text}”"


def predictions(result: Attribution) -> tuple[tuple[str, str, float], ...]:
    """(name, probability in words, probability) of the likeliest five classes."""
    best = sorted(result.prediction.items(), key=lambda kv: -kv[1])[:5]
    return tuple((one_line(name, 40), percent(p), float(p)) for name, p in best)


def payload(result: Attribution, available: np.ndarray) -> dict[str, Any]:
    """What the page's script needs to repaint: total, errors, scores by output (four digits), places."""
    many = len(result.outputs) > 1
    rows = [[_short(v) if ok else None for v, ok in zip(r, a)] for r, a in zip(result.scores, available)]
    return {
        "signed": result.signed,
        "total": [_short(v, 10) for v in result.total],
        "stderr": None if result.stderr is None else [_short(v, 10) for v in result.stderr],
        "rows": rows if many else [],
        "outputs": [one_line(o, 40) for o in result.outputs] if many else [],
        "units": [one_line(u.text, 60) for u in result.units],
        "places": [place(u) for u in result.units],
    }


def _short(value: float, digits: int = 4) -> float | None:
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def header(p: AttributionPicture) -> Text:
    """What was explained, by what, and what the model predicts."""
    out = Text()
    out.append(p.title, "bold")
    by = " on ".join(w for w in (p.method, p.model) if w)
    out.append(f"   {by}\n" if by else "\n", "dim")
    out.append(p.lede)
    if p.predictions:
        out.append("\nPredicted: ")
        out.append(p.predicted or p.predictions[0][0], "bold")
        out.append("  (" + ", ".join(f"{name} {share}" for name, share, _ in p.predictions) + ")")
    return out


def bars(p: AttributionPicture) -> list[RenderableType]:
    """The bars of all units, or of the strongest with a word that says so."""
    long = len(p.units) > LONG
    chosen = sorted(strongest(p.scores)[:STRONGEST]) if long else range(len(p.units))
    units = [p.units[i] for i in chosen]
    words = [f"The {len(units)} strongest of {len(p.units)} units, in text order:"] if long else []
    numbers = tuple(u.number + (f" ± {u.stderr}" if u.stderr else "") for u in units)
    return [*words, Bars(tuple(u.text for u in units), tuple(u.position for u in units), numbers, p.signed)]
