"""What boards of methods say: how well each finds what is known because it was put there. Plain data."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding
from exegete.core.trust import Score
from exegete.core.value import Value

WORDS_ON_TOP = "planted words on top"


class CircuitTruth(Finding):
    """Methods against models whose circuit is known.

    `auroc` [method, model]: how well a method's scores tell gold edges (of methods that score parts: gold parts) from the
    others. `precision` and `recall` [method, model] of what it keeps; NaN for methods that keep nothing. `gold` [model] and
    `total` [model] are numbers of edges.
    """

    methods: tuple[str, ...]
    models: tuple[str, ...]
    auroc: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    gold: np.ndarray
    total: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """AUROC of every method on every model, and what it keeps."""
        grid = Grid(
            title="Does it find the circuit that was put in?",
            caption="AUROC of its scores against the gold edges (or parts): 1 finds them all first, 0.5 is a guess.",
            values=self.auroc,
            rows=self.methods,
            columns=self.models,
            row_axis="method",
            column_axis="model",
            unit="AUROC",
            signed=False,
        )
        rows = [
            (m, n, float(self.auroc[i, j]), _number(self.precision[i, j]), _number(self.recall[i, j]),
             int(self.gold[j]), int(self.total[j]))
            for i, m in enumerate(self.methods)
            for j, n in enumerate(self.models)
        ]  # fmt: skip
        columns = ("method", "model", "AUROC", "precision", "recall", "gold edges", "edges")
        return grid, Table(title="What is kept, and what of it is gold", columns=columns, rows=tuple(rows))


def _number(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def _count(x: float) -> float | None:
    """A mean number of passes, whole where it is."""
    return int(x) if np.isfinite(x) and float(x).is_integer() else _number(x)


class TruthRow(Value):
    """A method held against one planted truth: `score` with its chance, control and interval.

    `by_part` is the value by class (of circuits by model, of probes by what was planted), `best` what a perfect method scores,
    `passes` forwards and backwards an item (NaN where they were not counted).
    """

    method: str
    family: str
    truth: str
    score: Score
    by_part: tuple[tuple[str, float], ...] = ()
    best: float = 1.0
    passes: float = float("nan")


class TruthBoard(Finding):
    """Every method held against what is known because it was planted.

    `truths` are (name, what is planted). `unscored` are (method, family, why) of what no truth here can judge, and of what failed.
    """

    rows: tuple[TruthRow, ...]
    truths: tuple[tuple[str, str], ...]
    unscored: tuple[tuple[str, str, str], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Methods by truths for what explains texts, then every row, the classes, and what is not scored."""
        found: list[AnyFigure] = [g for g in (self._grid(),) if g is not None]
        found += [self._all(), self._parts()]
        if self.unscored:
            title, columns = "What is not scored here, and why", ("method", "family", "why")
            found.append(Table(title=title, columns=columns, rows=self.unscored))
        told = Table(title="What is planted", columns=("truth", "what is planted"), rows=self.truths)
        return (*found, told)

    def _grid(self) -> Grid | None:
        """The share of planted words on top, of methods that explain texts; better ones first."""
        own = [r for r in self.rows if r.score.name == WORDS_ON_TOP]
        if not own:
            return None
        truths = tuple(dict.fromkeys(r.truth for r in own))
        held = {(r.method, r.truth): r.score for r in own}
        values = {
            m: [held[m, t].value if (m, t) in held else np.nan for t in truths]
            for m in dict.fromkeys(r.method for r in own)
        }
        names = sorted(values, key=lambda m: -float(np.nanmean(values[m])))
        won = tuple(
            (i, j)
            for i, m in enumerate(names)
            for j, t in enumerate(truths)
            if (m, t) in held and held[m, t].beats_chance and held[m, t].standing == "good"
        )
        return Grid(
            title="Do the planted words come out on top?",
            caption="Share of the k planted words among the k words with the highest scores: 1 finds them all. Marked: beats "
            "random orders, and the same method on randomised weights.",
            values=np.array([values[m] for m in names]),
            rows=tuple(names),
            columns=truths,
            row_axis="method",
            column_axis="truth",
            unit="share found",
            signed=False,
            marked=won,
        )

    def _all(self) -> Table:
        columns = (
            "method", "family", "truth", "measure", "value", "best", "chance", "control", "low", "high", "n", "failed", "passes",
            "verdict",
        )  # fmt: skip
        rows = tuple(
            (r.method, r.family, r.truth, r.score.name, r.score.value, r.best, r.score.chance, r.score.control,
             *(r.score.interval or (None, None)), r.score.n, r.score.n_failed, _count(r.passes), r.score.verdict)
            for r in self.rows
        )  # fmt: skip
        return Table(title="Every method against every truth", columns=columns, rows=rows)

    def _parts(self) -> Table:
        rows = tuple(
            (r.method, r.truth, r.score.name, part, _number(x)) for r in self.rows for part, x in r.by_part
        )
        return Table(
            title="The same by class", columns=("method", "truth", "measure", "class", "value"), rows=rows
        )
