"""Whether a model finds right what it says itself."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class GeneratorValidator(Finding):
    """Answers to questions, and what the same model says when asked whether an answer is right.

    `generated` [question] is the option it answers with, `says_yes` [question, option] the probability of "yes" for each option when
    asked whether it is right (NaN: not asked or not answered), `agrees` [question, 2] 1 where the validator judges an option as the
    generator did: the option it gave, and one that it did not. `cases` are (question, answer, other option, P(yes) of the answer,
    P(yes) of the other).
    """

    generated: np.ndarray
    says_yes: np.ndarray
    agrees: np.ndarray
    cases: tuple[tuple[str, str, str, float, float], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Question by question."""
        table = Table(
            title="What it answers, and whether it finds that right",
            caption="Probability of yes when asked whether the answer is right: its own, and another option.",
            columns=(
                "question",
                "its answer",
                "another option",
                "finds its own right",
                "finds the other right",
            ),
            rows=self.cases,
        )
        return (table,)
