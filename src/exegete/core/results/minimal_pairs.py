"""What minimal pairs find: how often the acceptable sentence of a pair is likelier, by phenomenon, beside its controls."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, Tokens
from exegete.core.results.finding import Finding
from exegete.core.value import Value

_MOST = 40  # rows drawn as a curve; more are read better in the table


class ReadPair(Value):
    """One pair as it was scored: the tokens of both sentences with their log-probabilities [token], nats."""

    phenomenon: str
    good: tuple[str, ...]
    bad: tuple[str, ...]
    good_logs: np.ndarray
    bad_logs: np.ndarray

    @property
    def margin(self) -> float:
        """How much likelier the acceptable sentence is, nats (sums)."""
        return float(self.good_logs.sum() - self.bad_logs.sum())


class MinimalPairs(Finding):
    """Accuracy on minimal pairs. A row is a path of phenomena ("" the whole, "syntax/island_effects", ...), leaf by leaf.

    `n` pairs a row, `accuracy` with its `interval` [row, 2], and what the controls get on the same pairs: `twin` (randomised
    weights; NaN where skipped), `length` (the shorter sentence), `frequency` (the commoner words). `ties` counts pairs with equal
    scores (half a point each). `good` and `bad` [pair] are what the sentences scored, NaN for pairs that could not be read;
    `names` the phenomenon of each pair. `convention` says what stands before a sentence, `scored` what is compared.
    """

    paths: tuple[str, ...]
    depth: tuple[int, ...]
    n: np.ndarray
    accuracy: np.ndarray
    interval: np.ndarray
    twin: np.ndarray
    length: np.ndarray
    frequency: np.ndarray
    ties: np.ndarray
    names: tuple[str, ...]
    good: np.ndarray
    bad: np.ndarray
    convention: str
    scored: str
    examples: tuple[ReadPair, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy by phenomenon beside the controls, the table, and the pairs that the model is surest and most wrong about."""
        rows = [i for i, path in enumerate(self.paths) if path or len(self.paths) == 1]
        curve = () if not 1 < len(rows) <= _MOST else (self._curve(rows),)
        return (*curve, self._table(), *self._pairs())

    def _curve(self, rows: list[int]) -> Curves:
        low, high = self.interval[rows].T
        known = {} if np.isnan(self.interval[rows]).any() else {"low": low, "high": high}
        series = (
            Series(name="the model", y=self.accuracy[rows], **known),
            *(
                Series(name=name, y=y[rows], control=True)
                for name, y in (
                    ("randomised weights", self.twin),
                    ("shorter sentence", self.length),
                    ("commoner words", self.frequency),
                )
                if not np.isnan(y[rows]).all()
            ),
            Series(name="chance", y=np.full(len(rows), 0.5), control=True),
        )
        return Curves(
            title="How often is the acceptable sentence likelier?",
            caption=f"Share of pairs by phenomenon, with its 95 % interval. {self.scored}",
            x=np.arange(len(rows), dtype=np.float64),
            x_axis="phenomenon",
            x_names=tuple(_last(self.paths[i]) for i in rows),
            y_axis="accuracy",
            series=series,
        )

    def _table(self) -> Table:
        return Table(
            title="By phenomenon",
            caption="Share of pairs in which the acceptable sentence scores higher; a tie counts half. Groups are plain means of "
            "the phenomena in them. Beside the model: the same with randomised weights, and guesses by length and by word "
            "frequency alone.",
            columns=(
                *("phenomenon", "pairs", "accuracy", "low", "high"),
                *("randomised", "shorter", "commoner", "ties"),
            ),
            rows=tuple(self._row(i) for i in range(len(self.paths))),
        )

    def _row(self, i: int) -> tuple[str | float | int | None, ...]:
        name = "\u00a0\u00a0" * max(0, self.depth[i] - 1) + (_last(self.paths[i]) or "all")
        values = (self.accuracy[i], *self.interval[i], self.twin[i], self.length[i], self.frequency[i])
        shown = tuple(None if np.isnan(v) else round(float(v), 3) for v in values)
        return (name, int(self.n[i]), *shown, int(self.ties[i]))

    def _pairs(self) -> tuple[Tokens, ...]:
        found: list[Tokens] = []
        for pair in self.examples:
            won = pair.margin > 0
            end = float(max(-pair.good_logs.min(), -pair.bad_logs.min())) or None
            told = "likelier, as it should be" if won else "less likely, which is wrong"
            for side, tokens, logs in (
                ("acceptable", pair.good, pair.good_logs),
                ("not acceptable", pair.bad, pair.bad_logs),
            ):
                found.append(
                    Tokens(
                        title=f"{_last(pair.phenomenon) or 'a pair'}: the acceptable sentence is {told}",
                        caption=f"How surprising each token is (minus log-probability); together {-logs.sum():.1f} nats.",
                        label=side,
                        tokens=tokens,
                        values=-logs,
                        unit="surprisal (nats)",
                        end=end,
                    )
                )
        return tuple(found)


def _last(path: str) -> str:
    """The last name of a path, in words."""
    return path.rsplit("/", 1)[-1].replace("_", " ")
