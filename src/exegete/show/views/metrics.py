"""The view of a `MetricTable`: one table a metric, one row a method, each score with all that is needed to read it.

A method that beats what it was held against is bold; one that does not says so. The random row is the yardstick: it has no mark.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from exegete.core.result import MetricTable
from exegete.core.trust import Score
from exegete.show import board_words, facts, terminal
from exegete.show.view import view
from exegete.show.words import one_line, plural

LEVEL = 0.05
SHOWN = 5  # pairs of methods that are written out


@dataclass(frozen=True)
class MetricBlock:
    """One metric: which direction is good, (method, score) by method (None where there is no score), and what it can tell.

    `tells` says how often it puts an explanation before a random one, `apart` which methods it tells apart.
    """

    name: str
    better: str
    rows: tuple[tuple[str, facts.ScoreLine | None], ...]
    tells: str = ""
    apart: str = ""


@dataclass(frozen=True)
class MetricsPicture:
    """Everything a metric table shows."""

    title: str
    lede: str
    reading: tuple[str, ...]
    model: str
    blocks: tuple[MetricBlock, ...]
    failed: tuple[facts.CheckLine, ...]
    failures: tuple[str, ...]
    cost: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]


@view
class MetricsView:
    """Draws a `MetricTable`."""

    result: ClassVar[str] = "MetricTable"
    template: ClassVar[str] = "metrics.html.j2"
    script: ClassVar[str] = ""

    @staticmethod
    def picture(result: MetricTable) -> MetricsPicture:
        """The table as plain data."""
        checks = [c for c in result.trust.checks if not c.passed]
        for method, trust in zip(result.methods, result.trusts):
            checks += [c.model_copy(update={"name": f"{method}: {c.name}"}) for c in trust.failed_checks]
        return MetricsPicture(
            title="Which explanation can be trusted?",
            lede=_lede(result),
            reading=tuple(w for w in (board_words.luck(result), board_words.paired(result)) if w),
            model=facts.model_words(result.provenance.model),
            blocks=(
                *(_block(result, k) for k in range(len(result.metrics))),
                *_people("agreement of people", result.agreement),
                *_people("token F1 by annotator (of many those who marked most)", result.by_annotator),
            ),
            failed=facts.check_lines(tuple(checks)),
            failures=tuple(one_line(f, 300) for f in result.failures),
            cost=facts.cost_lines(result),
            notes=(*result.notes, *result.trust.notes),
            provenance=facts.provenance_rows(result),
        )

    @staticmethod
    def terminal(picture: MetricsPicture) -> RenderableType:
        """The picture for a terminal."""
        p = picture
        blocks: list[RenderableType] = [
            Text.assemble((p.title, "bold"), (f"   {p.model}", "dim")),
            Text(p.lede),
        ]
        if p.failed:
            blocks.append(terminal.alarm(p.failed))
        for block in p.blocks:
            blocks += [
                "",
                Text.assemble((block.name, "bold"), (f"   {block.better} is better", "dim")),
                _table(block),
                *(Text("   " + words, "dim") for words in (block.tells, block.apart) if words),
            ]
        blocks += [Text(words, "dim") for words in ("", *p.reading) if p.reading]
        blocks += [Text(f"failed: {f}", "red") for f in p.failures]
        return Group(*blocks, terminal.foot((), p.cost, p.notes))


def _block(result: MetricTable, k: int) -> MetricBlock:
    metric = result.metrics[k]
    found = [_score(t.scores, metric, k, len(result.metrics)) for t in result.trusts]
    better = next((s.better for s in found if s is not None), "higher")
    beside = tuple(s for s in found if s is not None)
    lines = [
        None if s is None else _line(m, facts.score_line(s, beside)) for m, s in zip(result.methods, found)
    ]
    rows = tuple(zip((facts.method_words(m) for m in result.methods), lines))
    return MetricBlock(metric, better, rows, _tells(result, k), _apart(result, metric, better))


def _line(method: str, line: facts.ScoreLine) -> facts.ScoreLine:
    """The line of a method; that of the random row without verdict."""
    return (
        replace(line, standing="none", verdict=board_words.YARDSTICK)
        if method == board_words.RANDOM
        else line
    )


def _people(name: str, scores: tuple[Score, ...]) -> tuple[MetricBlock, ...]:
    """A block of scores that stand for themselves; none where there are none."""
    if not scores:
        return ()
    return (MetricBlock(name, "higher", tuple((s.name, facts.score_line(s, scores)) for s in scores)),)


def _lede(result: MetricTable) -> str:
    """How many were judged, and which method the tests put before all others."""
    judged = [m for m in result.methods if m not in board_words.NO_METHODS]
    words = f"{plural(len(judged), 'method')} judged over {plural(result.n_texts, 'text')}. {board_words.held(result)}"
    if not result.differences:
        return words
    won = Counter(result.methods[i] for k in range(len(result.metrics)) if (i := result.best(k)) is not None)
    n = plural(len(result.metrics), "metric")
    told = [
        f"{facts.method_words(m)} is better than every other method by {k} of {n}"
        for m, k in won.most_common()
    ]
    return f"{words} {'; '.join(told) or f'No method is better than every other by any of {n}'} (paired tests, corrected)."


def _tells(result: MetricTable, k: int) -> str:
    """How often a metric scores an explanation better than a random one, and whether that is more than luck."""
    if k >= len(result.diagnosticity) or result.diagnosticity[k].n == 0:
        return ""
    s = result.diagnosticity[k]
    span = "" if s.interval is None else f" (95 % interval {s.interval[0]:.0%} to {s.interval[1]:.0%})"
    noise = "" if s.control is None else f", and the random row in {s.control:.0%}"
    told = {
        "good": "",
        "bad": " So it does not tell them from noise here.",
        "unknown": " One text is too few to tell.",
    }
    return (
        f"This metric scores a method's explanation better than a random one in {s.value:.0%} of comparisons{span}; luck alone "
        f"would in 50%{noise}.{told[s.standing]}"
    )


def _apart(result: MetricTable, metric: str, better: str) -> str:
    """Which methods differ by a metric over the same texts."""
    pairs = [d for d in result.differences if d.metric == metric]
    sure = sorted((d for d in pairs if d.p <= LEVEL), key=lambda d: d.p)
    if not pairs:
        return ""
    if not sure:
        return (
            f"No two methods can be told apart ({plural(len(pairs), 'pair')}, paired bootstrap, corrected)."
        )
    words = []
    for d in sure[:SHOWN]:
        ahead = (d.mean > 0) == (better == "higher")
        a, b = (d.first, d.second) if ahead else (d.second, d.first)
        words.append(
            f"{facts.method_words(a)} before {facts.method_words(b)} (by {abs(d.mean):.2g}, p {d.p:.2g})"
        )
    more = f" and {len(sure) - SHOWN} more" if len(sure) > SHOWN else ""
    return f"Told apart, {len(sure)} of {plural(len(pairs), 'pair')}: {', '.join(words)}{more}."


def _score(scores: tuple[Score, ...], metric: str, k: int, n: int) -> Score | None:
    """The score named like the metric, or, when none is named so, the one that stands in its place."""
    named = next((s for s in scores if s.name == metric), None)
    return named or (scores[k] if len(scores) == n and not named else None)


def _table(block: MetricBlock) -> RenderableType:
    """One row a method; below it what each of those that are not plainly good fails to beat."""
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim")
    for name in ("", "method", "value", "95 % interval", "chance", "control", "n", "failed"):
        table.add_column(
            name, justify="right" if name in ("value", "chance", "control", "n", "failed") else "left"
        )
    said: list[RenderableType] = []
    for method, s in block.rows:
        if s is None:
            table.add_row("", Text(method), "–", Text("no score", "dim"))
            continue
        sign, style = terminal.STANDING[s.standing]
        bold = "bold" if s.standing == "good" else ""
        cells = (s.interval, s.chance, s.control, str(s.n), str(s.n_failed))
        table.add_row(Text(sign, style), Text(method, bold), Text(s.value, bold), *cells)
        if s.standing in ("bad", "unknown") or (s.standing == "good" and "skipped" in s.verdict):
            said.append(
                Text.assemble(
                    ("   " + method, bold), ": ", (s.verdict, style if s.standing == "bad" else "dim")
                )
            )
    return Group(table, *said)
