"""What behavioural tests of a classifier find: contrast consistency, and how often tests of capabilities fail."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding

N_SHOWN = 40


class ContrastConsistency(Finding):
    """Answers to contrast sets. `right` is 1 or 0 by set and text, the original first, each with the `gold` label and what was
    `said` ("" : no answer, and -1 in `right`). `names` are the sets', `failures` say which texts could not be asked.
    """

    names: tuple[str, ...]
    right: tuple[tuple[int, ...], ...]
    gold: tuple[tuple[str, ...], ...]
    said: tuple[tuple[str, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    failures: tuple[str, ...] = ()

    @property
    def consistent(self) -> np.ndarray:
        """Whether all texts of a set are right [set]: 1 or 0, NaN where one could not be asked."""
        return np.array([np.nan if -1 in row else float(all(row)) for row in self.right])

    def figures(self) -> tuple[AnyFigure, ...]:
        """Scores, and the sets in which not all is right."""
        wrong = [
            (self.names[i], self.texts[i][k][:160], self.gold[i][k], self.said[i][k], "yes" if good else "no")
            for i, row in enumerate(self.right)
            if 0 in row
            for k, good in enumerate(row)
        ]
        told = _scored("Contrast sets", "Right answers, text by text and set by set.", self)
        if not wrong:
            return (told,)
        shown = Table(
            title="Sets in which not all is right",
            caption=f"The original stands first; the first {N_SHOWN} rows of {len(wrong)}.",
            columns=("set", "text", "gold", "model", "right"),
            rows=tuple(wrong[:N_SHOWN]),
        )
        return told, shown


class BehaviourRates(Finding):
    """Failure rates of tests of capabilities. A row a test: `names`, `capabilities`, `kinds` (MFT, INV, DIR), `rate` [test] with its
    `interval` [test, 2], what a guess fails (`chance`, NaN where there is none) and what shuffled answers fail (`control`), `n` cases
    and `n_failed` that could not be asked. `cases` are (test, text, what came out) of cases that failed.
    """

    names: tuple[str, ...]
    capabilities: tuple[str, ...]
    kinds: tuple[str, ...]
    rate: np.ndarray
    interval: np.ndarray
    chance: np.ndarray
    control: np.ndarray
    n: np.ndarray
    n_failed: np.ndarray
    cases: tuple[tuple[str, str, str], ...]
    failures: tuple[str, ...] = ()

    def figures(self) -> tuple[AnyFigure, ...]:
        """Rates by capability and type, test by test, and cases that fail."""
        rows = [
            (c, k, name, *(_known(x) for x in (rate, low, high, chance, control)), int(n), int(lost))
            for c, k, name, rate, (low, high), chance, control, n, lost in zip(
                self.capabilities, self.kinds, self.names, self.rate, self.interval, self.chance, self.control,
                self.n, self.n_failed,
            )
        ]  # fmt: skip
        return (
            _scored("Failure rates", "Share of cases that fail, by type of test and by capability.", self),
            Table(
                title="Test by test",
                caption="Share of cases that fail, with its 95 % interval (exact, over cases).",
                columns=(
                    "capability",
                    "type",
                    "test",
                    "fails",
                    "low",
                    "high",
                    "a guess",
                    "shuffled",
                    "n",
                    "not asked",
                ),
                rows=tuple(rows),
            ),
            Table(
                title="Cases that fail",
                caption=f"At most {N_SHOWN}.",
                columns=("test", "text", "came out"),
                rows=self.cases[:N_SHOWN],
            ),
        )


def _scored(title: str, caption: str, found: Finding) -> Table:
    rows = [
        (s.name, _known(s.value), *(s.interval or (None, None)), s.chance, s.control, s.n, s.n_failed)
        for s in found.trust.scores
    ]
    columns = ("score", "value", "low", "high", "a guess", "shuffled answers", "n", "failed")
    return Table(title=title, caption=caption, columns=columns, rows=tuple(rows))


def _known(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
