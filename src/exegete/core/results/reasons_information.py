"""How much a rationale says about the answer that a statement without reasons does not."""

import numpy as np

from exegete.core.figure import AnyFigure, Table
from exegete.core.results.finding import Finding


class RationaleInformation(Finding):
    """Log-probabilities (nats) of the answer with and without the rationale, by heads that were fitted to other questions.

    `beyond` name what stands beside the rationale (the vacuous one). `with_rationale`, `without` and `with_other` [beyond, question]: log g of
    the rationale and the vacuous one, log g' of the vacuous one alone, and the first again where rationales are those of other
    questions. `cases` are (question, rationale, answer, information beyond each).
    """

    beyond: tuple[str, ...]
    with_rationale: np.ndarray
    without: np.ndarray
    with_other: np.ndarray
    cases: tuple[tuple[str, str, str, float, float], ...]

    @property
    def information(self) -> np.ndarray:
        """log g - log g' [beyond, question], nats."""
        return self.with_rationale - self.without

    def figures(self) -> tuple[AnyFigure, ...]:
        """Means, then rationales one can read, those that say most first."""
        means = Table(
            title="How likely is the answer, with the rationale and without?",
            caption="Mean log-probability (nats); 0 is certainty. Heads are fitted to other questions than they are read on.",
            columns=("beside the rationale", "without it", "with it", "with another question's"),
            rows=tuple(
                (name, float(b.mean()), float(a.mean()), float(c.mean()))
                for name, a, b, c in zip(self.beyond, self.with_rationale, self.without, self.with_other)
            ),
        )
        cases = Table(
            title="What each rationale says",
            caption="Information (nats) about the answer beyond what stands beside the rationale.",
            columns=("question", "rationale", "answer", *(f"beyond {b}" for b in self.beyond)),
            rows=self.cases,
        )
        return (means, cases)
