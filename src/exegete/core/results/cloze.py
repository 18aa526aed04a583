"""What cloze probes find: how high the right answer stands among all tokens, or among candidates, by relation."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, banded
from exegete.core.results.finding import Finding
from exegete.core.value import Value

_MOST = 40


class Filled(Value):
    """One prompt: the right `answer`, its `rank` (1 best) and probability, and what the model says first."""

    relation: str
    prompt: str
    answer: str
    rank: float
    probability: float
    first: tuple[str, ...]


class ClozeFacts(Finding):
    """Facts asked as blanks. A row is a relation; the first is the plain mean of all (where there are several).

    `ks` are the depths k; `hits` [row, k] the share of facts whose answer is among the first k, with `interval` [row, 2] at the
    first k; `mrr` [row] the mean of 1 / rank. Controls [row, k]: `majority` (the commonest answers of the relation), `other` (the same prompt about another subject), `twin` (randomised weights), NaN where there is none; `chance`
    [row, k]. `among` says what an answer was ranked in.
    """

    relations: tuple[str, ...]
    n: np.ndarray
    ks: tuple[int, ...]
    hits: np.ndarray
    interval: np.ndarray
    mrr: np.ndarray
    majority: np.ndarray
    other: np.ndarray
    twin: np.ndarray
    chance: np.ndarray
    among: str
    filled: tuple[Filled, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The first answer by relation beside its controls, the table by relation, and the prompts."""
        rows = [i for i, name in enumerate(self.relations) if name or len(self.relations) == 1]
        curve = (self._curve(rows),) if 1 < len(rows) <= _MOST else ()
        return (*curve, self._table(), self._prompts())

    def _curve(self, rows: list[int]) -> Curves:
        controls = (
            ("commonest answer", self.majority),
            ("another subject", self.other),
            ("randomised weights", self.twin),
        )
        return Curves(
            title="Is the right answer the first one?",
            caption=f"Share of facts whose answer comes first {self.among}, with its 95 % interval.",
            x=np.arange(len(rows), dtype=np.float64),
            x_axis="relation",
            x_names=tuple(_words(self.relations[i]) for i in rows),
            y_axis=f"P@{self.ks[0]}",
            series=(
                banded("the model", self.hits[rows, 0], self.interval[rows]),
                *(
                    Series(name=name, y=y[rows, 0], control=True)
                    for name, y in controls
                    if not np.isnan(y[rows, 0]).all()
                ),
            ),
        )

    def _table(self) -> Table:
        hits = tuple(f"P@{k}" for k in self.ks)
        return Table(
            title="By relation",
            caption=f"P@k: share of facts whose answer is among the first k {self.among}; MRR: mean of 1 / rank. The controls "
            f"are at P@{self.ks[0]}.",
            columns=("relation", "facts", *hits, "MRR", "commonest", "other subject", "randomised", "chance"),
            rows=tuple(self._row(i) for i in range(len(self.relations))),
        )

    def _row(self, i: int) -> tuple[str | float | int | None, ...]:
        last = (self.majority[i, 0], self.other[i, 0], self.twin[i, 0], self.chance[i, 0])
        values = (*self.hits[i], self.mrr[i], *last)
        shown = tuple(None if np.isnan(v) else float(f"{v:.3g}") for v in values)
        return (_words(self.relations[i]) or "all", int(self.n[i]), *shown)

    def _prompts(self) -> Table:
        return Table(
            title="Prompt by prompt",
            caption="The right answer, where it stands, and what the model says first.",
            columns=("prompt", "answer", "rank", "probability", "said first"),
            rows=tuple(
                (f.prompt, f.answer, _rank(f.rank), float(f"{f.probability:.3g}"), ", ".join(f.first))
                for f in self.filled
            ),
        )


def _rank(rank: float) -> int | float:
    """A whole number, but where answers that are equally probable share a place between two."""
    return int(rank) if rank == int(rank) else rank


def _words(name: str) -> str:
    return name.replace("_", " ")
