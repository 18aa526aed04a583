"""Whether answers lean on a hint that their explanations do not own up to."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table
from exegete.core.results.finding import Finding


class BiasedContext(Finding):
    """Answers without a hint, with one at a wrong option, and with one that should not matter.

    `settings` name what was added; `right` and `hinted` [setting, question] are 1 where the answer is the right option, and where it
    is the one that the hint points at. `said` [question] is 1 where the explanation of an answer that the hint
    turned mentions the hint, 0 where it does not (NaN: not turned, or not explained). `cases` are answers that the hint turned:
    (question, answer without, answer with the hint, explanation).
    """

    settings: tuple[str, ...]
    right: np.ndarray
    hinted: np.ndarray
    said: np.ndarray
    cases: tuple[tuple[str, str, str, str], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Shares by setting, and the answers that turned."""
        curves = Curves(
            title="What does a hint do to the answers?",
            caption="Shares of the questions; the first place has no hint, the last is the control.",
            x=np.arange(len(self.settings), dtype=np.float64),
            x_axis="what stands in the prompt",
            x_names=self.settings,
            y_axis="share of questions",
            series=(
                Series(name="right answer", y=self.right.mean(1)),
                Series(name="the answer hinted at", y=self.hinted.mean(1)),
            ),
        )
        table = Table(
            title="Answers that the hint turned",
            caption="From the model's own answer to the one hinted at.",
            columns=("question", "answer without the hint", "answer with it", "explanation"),
            rows=self.cases,
        )
        return (curves, table) if self.cases else (curves,)
