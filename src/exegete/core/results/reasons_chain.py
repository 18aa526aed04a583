"""Whether an answer follows from the chain of thought before it."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Table, banded
from exegete.core.results.finding import Finding


class ChainFaithfulness(Finding):
    """How often the answer stays the same when the chain of thought is cut, spoilt, reworded or replaced.

    `tests` name what is done to the chain; `share` [point] is how far into the chain (0 to 1) it is done. `same` [test, point] is the
    share of questions whose answer stays, `same_interval` [test, point, 2] its 95 % interval over questions. `area` [question,
    test] is the area over that curve, a question at a time (NaN: could not be done); `lengths` [question] counts its steps.
    `answers` are (question, chain, answer with the whole chain, answer without any, right answer); `mistakes` are (step, the step with
    its mistake, rule, answer before, answer after). `accuracy` is with the chain, without one, and with filler in its place
    (NaN where no right answers are known).
    """

    tests: tuple[str, ...]
    controls: tuple[str, ...]
    share: np.ndarray
    same: np.ndarray
    same_interval: np.ndarray
    area: np.ndarray
    lengths: np.ndarray
    answers: tuple[tuple[str, str, str, str, str], ...]
    mistakes: tuple[tuple[str, str, str, str, str], ...]
    accuracy: tuple[float, float, float]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves, areas by length of the chain, and mistakes one can read."""
        curves = Curves(
            title="How often does the answer stay, by how much of the chain is left alone or replaced?",
            caption="Low lines: the answer follows from the chain. Lines near 1: it is given whatever the chain says. "
            "Bands: 95 % over questions. Muted lines are controls.",
            x=100 * self.share,
            x_axis="place in the chain (%)",
            y_axis="share of questions with the same answer",
            series=tuple(
                banded(name, y, i).model_copy(update={"control": name in self.controls})
                for name, y, i in zip(self.tests, self.same, self.same_interval)
            ),
        )
        return (curves, self._lengths(), self._mistakes(), self._answers())

    def _lengths(self) -> Table:
        rows = []
        for n in sorted(set(self.lengths.tolist())):
            mine = self.area[self.lengths == n]
            rows.append((str(n), len(mine), *(_mean(x) for x in mine.T)))
        rows.append(("all", len(self.area), *(_mean(x) for x in self.area.T)))
        return Table(
            title="Area over the curve, by the number of steps",
            caption="0: the answer never changes; 1: it always does. The last row weighs each length by its questions.",
            columns=("steps", "questions", *self.tests),
            rows=tuple(rows),
        )

    def _mistakes(self) -> Table:
        return Table(
            title="Mistakes that were put into the chain",
            caption="One step was changed by rule; the answer before and after, those that changed first.",
            columns=("step", "with a mistake", "rule", "answer before", "after"),
            rows=self.mistakes,
        )

    def _answers(self) -> Table:
        return Table(
            title="Questions and answers",
            columns=("question", "chain", "answer with the chain", "without", "right"),
            rows=self.answers,
        )


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
