"""What is found when words are removed and the classifier is trained again: how much of its accuracy goes with them."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Table, banded
from exegete.core.results.finding import Finding


class RemoveAndRetrain(Finding):
    """Held-out accuracy of classifiers that were trained and judged on texts without the words that a method puts first.

    `rows` are the methods and, last, random words. `accuracy` [row, fraction] is the mean over trainings, `interval` [row, fraction, 2] over
    texts; `fractions` are the shares of words that were removed, the first 0. `drop` [row] is the area above the curve: the mean fall
    from the accuracy on whole texts over the fractions above 0. `majority` is what the most frequent label reaches.
    """

    rows: tuple[str, ...]
    fractions: np.ndarray
    accuracy: np.ndarray
    interval: np.ndarray
    drop: np.ndarray
    majority: float

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves, then what each falls."""
        last = len(self.rows) - 1
        curves = Curves(
            title="How much can be learned without the words that the method puts first?",
            caption="Held-out accuracy of classifiers trained again on texts without them. A method that finds what the labels hang on "
            f"falls faster than random words do. The most frequent label alone reaches {self.majority:.2f}.",
            x=self.fractions,
            x_axis="share of the words removed",
            y_axis="accuracy",
            series=tuple(
                banded(m, self.accuracy[i], self.interval[i]).model_copy(update={"control": i == last})
                for i, m in enumerate(self.rows)
            ),
        )
        table = Table(
            title="What is lost",
            caption="Mean fall of the accuracy over the shares removed; beyond random: less what random words lose.",
            columns=(
                "removed first",
                "mean fall",
                "beyond random",
                *(f"{f:.0%} removed" for f in self.fractions),
            ),
            rows=tuple(
                (m, float(self.drop[i]), float(self.drop[i] - self.drop[last]), *map(float, self.accuracy[i]))
                for i, m in enumerate(self.rows)
            ),
        )
        return (curves, table)
