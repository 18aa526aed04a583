"""What every picture says about a result besides its scores: provenance, cost, checks, and the trust line.

`TrustPicture` is the trust of a result in words and positions: each score with chance, control, interval, percentile, n
and n_failed, and whether it stands (`Score.standing`; `none` for what is a yardstick and has no verdict).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from exegete.core.result import Result
from exegete.core.trust import BEATS_CHANCE, Check, Score, Trust
from exegete.show.words import number, one_line, plural


@dataclass(frozen=True)
class ScoreLine:
    """One score in words; `marks` are (kind, position in percent) on a common axis for a small picture."""

    name: str
    value: str
    interval: str
    chance: str
    control: str
    control_name: str
    percentile: str
    n: int
    n_failed: int
    verdict: str
    standing: str
    better: str
    marks: tuple[tuple[str, float], ...] = ()
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class CheckLine:
    """One self-check in words."""

    name: str
    value: str
    tolerance: str
    passed: bool
    words: str


@dataclass(frozen=True)
class TrustPicture:
    """The trust of one result: a headline, its standing, the scores, and notes."""

    headline: str
    standing: str
    scores: tuple[ScoreLine, ...]
    notes: tuple[str, ...]
    failed: int


def trust_picture(trust: Trust, doubt: str = "") -> TrustPicture:
    """The trust line in words. `doubt` is what a finding says against itself: its scores alone then make no good headline."""
    lines = tuple(score_line(s) for s in trust.scores)
    failed = sum(not c.passed for c in trust.checks)
    standing, headline = _together([line.standing for line in lines]), _headline(trust.scores)
    if doubt:
        standing = "bad" if standing == "bad" else "unknown"
        headline = f"{doubt}. The scores alone: {headline[0].lower()}{headline[1:]}"
    return TrustPicture(headline, standing, lines, trust.notes, failed)


def score_line(s: Score, beside: tuple[Score, ...] = ()) -> ScoreLine:
    """One score in words and as positions on an axis that also holds the numbers of the scores `beside` it."""
    axis = _axis((s, *beside))
    given = [("chance", s.chance), ("control", s.control), ("value", s.value)]
    marks = tuple((kind, axis(v)) for kind, v in given if v is not None and np.isfinite(v))
    span = (
        (axis(s.interval[0]), axis(s.interval[1])) if s.interval and np.isfinite(s.interval).all() else None
    )
    return ScoreLine(
        name=_alone(s),
        value=number(s.value),
        interval="" if s.interval is None else f"{number(s.interval[0])} to {number(s.interval[1])}",
        chance=_maybe(s.chance),
        control=_maybe(s.control),
        control_name=s.control_name,
        percentile="" if s.percentile is None else f"{s.percentile:.0f}",
        n=s.n,
        n_failed=s.n_failed,
        verdict=s.verdict,
        standing=s.standing,
        better=s.better,
        marks=marks,
        span=span,
    )


def check_lines(checks: tuple[Check, ...]) -> tuple[CheckLine, ...]:
    """Checks in words, the failing ones first."""
    order = sorted(checks, key=lambda c: c.passed)
    return tuple(CheckLine(c.name, number(c.value), number(c.tolerance), c.passed, c.words) for c in order)


def cost_lines(result: Result) -> tuple[tuple[str, str], ...]:
    """(what, cost in words) for the explanation and, when it was judged, for the judging."""
    lines = [("explanation", result.cost), ("trust", result.trust.cost)]
    return tuple((name, f"{c}{_inputs(c.asked, c.distinct)}") for name, c in lines if c.forwards or c.seconds)


def provenance_rows(result: Result) -> tuple[tuple[str, str], ...]:
    """(name, value) rows of everything that identifies the result; empty ones are left out."""
    p = result.provenance
    if not (p.model or p.method):
        return ()
    rows = [
        ("method", p.method),
        *((f"parameter {k}", one_line(str(v), 200)) for k, v in p.params.items()),
        ("model", p.model),
        ("fingerprint", p.fingerprint),
        ("family", p.family),
        ("task", p.task),
        ("dtype", p.dtype),
        ("revision", p.revision),
        ("seed", str(p.seed)),
        *((f"version of {k}", v) for k, v in p.versions.items()),
    ]
    return tuple((k, v) for k, v in rows if v)


def method_words(method: str) -> str:
    """A method id as words: `integrated_gradients` -> `integrated gradients`."""
    return method.replace("_", " ")


def model_words(model: str) -> str:
    """A model's name for a heading: of a folder given by its whole path, the last part."""
    return model.rstrip("/").rsplit("/", 1)[-1] if model.startswith("/") else model


def _headline(scores: tuple[Score, ...]) -> str:
    if not scores:
        return "Not judged: no score says how far this can be trusted."
    if any(s.lost for s in scores):
        return "Read with care: " + "; ".join(_losses(scores)) + "."
    skipped = sum(bool(s.skipped) for s in scores)
    good = sum(s.standing == "good" for s in scores)
    short = _named(s for s in scores if s.undecided)
    few = _named(s for s in scores if s.too_few and (s.chance is not None or s.control is not None))
    tail = f" ({plural(skipped, 'control')} skipped)" if skipped else ""
    doubts = [f"too short a text to tell {short} from chance"] if short else []
    doubts += [f"too few to tell, from one item alone: {few}"] if few else []
    if good:
        count = plural(good, "score") if good == len(scores) else f"{good} of {plural(len(scores), 'score')}"
        return "; ".join([f"Beats what it was held against on {count}{tail}", *doubts]) + "."
    if doubts:
        words = "; ".join(doubts)
        return f"{words[0].upper()}{words[1:]}{tail}."
    return "Not held against chance or a control."


def _losses(scores: tuple[Score, ...]) -> list[str]:
    """What is not beaten, by score: each score named once, and each thing that it does not beat."""
    lost: dict[str, dict[str, str]] = {}
    for s in scores:
        short = s.interval is None and s.percentile is not None
        for bar in s.lost:
            need = (
                f" (percentile {s.percentile:.0f}, {BEATS_CHANCE:.0f} needed)"
                if short and bar == "chance"
                else ""
            )
            lost.setdefault(_alone(s), {})[bar] = bar + need
    return [f"{name} does NOT beat {_either(list(bars.values()))}" for name, bars in lost.items()]


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _alone(s: Score) -> str:
    """The name of a score without that of its control, which the verdict says."""
    told = s.control_name and s.control is not None
    return s.name.removesuffix(f", against {s.control_name}") if told else s.name


def _named(scores: Iterable[Score]) -> str:
    return ", ".join(dict.fromkeys(s.name for s in scores))


def _together(standings: list[str]) -> str:
    if "bad" in standings:
        return "bad"
    return "good" if "good" in standings else "unknown"


def _axis(scores: tuple[Score, ...]) -> Callable[[float], float]:
    """Map a value to percent (4 to 96) between the lowest and highest number of the scores."""
    given = [v for s in scores for v in (s.value, s.chance, s.control, *(s.interval or ()))]
    numbers = [v for v in given if v is not None and np.isfinite(v)]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    return lambda v: round(4 + 92 * (v - low) / (high - low), 1) if high > low else 50.0


def _maybe(value: float | None) -> str:
    return "" if value is None else number(value)


def _inputs(asked: int, distinct: int) -> str:
    return f"; {distinct:,} distinct of {asked:,} inputs asked" if asked > distinct > 0 else ""
