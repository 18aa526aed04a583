"""Whether explanations help a simulator to say what a model answers, where they give the answer away and where they do not."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class LeakageAdjusted(Finding):
    """What a simulator says from the question, the explanation, and both, against what the model answered.

    `reads` name what it reads. `right` [reads, question] is 1 where it says what the model answered; `leaks` [question] is 1 where
    the explanation alone is enough. `gain` is (over all questions, where explanations leak, where they do not), the mean of the last
    two being the adjusted one (NaN: no such question); `gain_other` the same with the explanations of other questions, in the order that gains most. `cases` are
    (question, explanation, answer, from the question, from the explanation, from both).
    """

    reads: tuple[str, ...]
    right: np.ndarray
    leaks: np.ndarray
    gain: tuple[float, float, float]
    gain_other: tuple[float, float, float]
    cases: tuple[tuple[str, str, str, str, str, str], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracies by kind of explanation, then questions one can read."""
        kinds = (("leaking", self.leaks == 1), ("not leaking", self.leaks == 0), ("all", self.leaks >= 0))
        table = Table(
            title="How often does a simulator say what the model answers?",
            caption="Explanations leak where they alone are enough. The adjusted gain is the mean of both kinds, whatever their number.",
            columns=("explanations", "questions", *self.reads, "gain", "gain with another question's"),
            rows=tuple(
                (
                    name,
                    int(k.sum()),
                    *(float(x[k].mean()) if k.any() else None for x in self.right),
                    _none(a),
                    _none(b),
                )
                for (name, k), a, b in zip(
                    kinds, (*self.gain[1:], self.gain[0]), (*self.gain_other[1:], self.gain_other[0])
                )
            ),
        )
        cases = Table(
            title="What the simulator says",
            columns=("question", "explanation", "the model's answer", *(f"from {r}" for r in self.reads)),
            rows=self.cases,
        )
        return (table, cases)


def _none(x: float) -> float | None:
    return x if np.isfinite(x) else None
