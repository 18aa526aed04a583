"""Whether answers put together from the answers of sub-questions follow from these."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class QuestionDecomposition(Finding):
    """Answers given at once, after sub-questions in one context, and after sub-questions in contexts of their own.

    `ways` name the three. `right` [way, question] is 1 where the answer is the right one, `right_hinted` where a wrong option is suggested,
    `right_own` where the way's own answer is (NaN: no right answer is known). `tests` name what is done to the sub-answers; `area`
    [way but the first, test, question] is the share of places at which that changes the answer (NaN: could not be done). `parts`
    [question] counts sub-questions, `sub_right` [way but the first, question] is the share of them answered as they should be (NaN:
    nobody knows). `cases` are (question, sub-questions with answers each alone, the same in one context, answer at once, in one
    context, each alone, right answer).
    """

    ways: tuple[str, ...]
    tests: tuple[str, ...]
    controls: tuple[str, ...]
    right: np.ndarray
    right_hinted: np.ndarray
    right_own: np.ndarray
    area: np.ndarray
    parts: np.ndarray
    sub_right: np.ndarray
    cases: tuple[tuple[str, str, str, str, str, str, str], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The ways side by side, then questions one can read."""
        rows = []
        for k, way in enumerate(self.ways):
            told = [_mean(x[k]) for x in (self.right, self.right_hinted, self.right_own)]
            changed = [None] * (len(self.tests) + 1)
            if k:
                changed = [_mean(self.sub_right[k - 1]), *(_mean(x) for x in self.area[k - 1])]
            rows.append((way, *told, *changed))
        table = Table(
            title="Three ways to an answer",
            caption="Right answers without and with a suggestion; then, of the sub-answers, how many are right and how often the answer "
            f"changes when something is done to them ({', '.join(self.controls)}: controls, which should change little).",
            columns=(
                "way",
                "right",
                "right, a wrong option suggested",
                "right, its own answer suggested",
                "sub-answers right",
                *self.tests,
            ),
            rows=tuple(rows),
        )
        cases = Table(
            title="Questions and their parts",
            columns=("question", "each part alone", "parts in one context", *self.ways, "right answer"),
            rows=self.cases,
        )
        return (table, cases)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
