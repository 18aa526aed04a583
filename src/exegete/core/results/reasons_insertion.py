"""Whether explanations name what changed the answer, and how many answers could be turned at all."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class RationaleCounterfactual(Finding):
    """Words put into questions that turn their answers, and whether the explanation of the new answer names them.

    `flipped` [question] is 1 where some insertion turned the answer; `tried` [question] counts insertions. `named` [question] is 1 where
    the explanation of the turned answer holds the inserted word, `named_idle` [question] where the explanation holds a word whose
    insertion turned nothing (NaN: no such insertion, or not explained). `rebuilt` and `rebuilt_other` [question] are 1 where the
    answer from the explanation's words alone, or from another question's, is the answer that was explained.
    `cases` are (question with the word in brackets, answer before, answer after, explanation, "named" or "NOT named").
    """

    flipped: np.ndarray
    tried: np.ndarray
    named: np.ndarray
    named_idle: np.ndarray
    rebuilt: np.ndarray
    rebuilt_other: np.ndarray
    cases: tuple[tuple[str, str, str, str, str], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The insertions that turned an answer."""
        table = Table(
            title="Words that turned an answer",
            caption="The inserted word stands in brackets. An explanation that leaves it out hides what the answer came from.",
            columns=("question", "answer before", "after", "explanation", "the word is"),
            rows=self.cases,
        )
        return (table,)
