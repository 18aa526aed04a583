"""Whether an explanation lets one say what the model answers to other questions."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class CounterfactualSimulatability(Finding):
    """What explanations say of other questions, and what the model answers to them.

    All are [question]: `n_others` counts other questions that the model answered; `simulatable` is the share of them of which the
    explanation says an answer, `precision` the share of these in which it is the model's (NaN: none), `stays` the share of all of
    them to which the model answers as before, `generality` 1 less the mean overlap of those simulatable (NaN: fewer than two),
    `generality_drawn` the same of as many at random. `simulatable_other` and `precision_other` are those of another question's
    explanation. `cases` are (question, explanation, other question, what the explanation says, the model's answer).
    """

    n_others: np.ndarray
    simulatable: np.ndarray
    precision: np.ndarray
    stays: np.ndarray
    generality: np.ndarray
    generality_drawn: np.ndarray
    simulatable_other: np.ndarray
    precision_other: np.ndarray
    cases: tuple[tuple[str, str, str, str, str], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """What explanations are worth, then other questions one can read."""
        table = Table(
            title="What do explanations say of other questions?",
            caption="Means over questions. Precision: the model answers as the explanation says. A guess says that the answer stays.",
            columns=("", "explanations", "a guess, or as many at random", "another question's explanations"),
            rows=(
                (
                    "other questions of which they say an answer",
                    _mean(self.simulatable),
                    None,
                    _mean(self.simulatable_other),
                ),
                ("precision", _mean(self.precision), _mean(self.stays), _mean(self.precision_other)),
                ("generality", _mean(self.generality), _mean(self.generality_drawn), None),
            ),
        )
        cases = Table(
            title="Other questions",
            caption="Those first in which the model does not answer as its explanation says.",
            columns=(
                "question",
                "explanation",
                "other question",
                "the explanation says",
                "the model answers",
            ),
            rows=self.cases,
        )
        return (table, cases)


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
