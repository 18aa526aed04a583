"""What searched prompts find: how many held-out facts they bring out, beside what the search itself can learn."""

import numpy as np

from exegete.core.figure import AnyFigure, Series, Table, banded, curves_of
from exegete.core.results.finding import Finding


class FoundPrompts(Finding):
    """Prompts found by relation. Shares of held-out facts answered rightly [relation]; NaN where there is no such prompt.

    found     with the prompt that was searched, and its `interval` [relation, 2]
    written   with the prompts that people wrote
    twin      a prompt searched in the same way on randomised weights
    majority  the commonest answer of the facts that were searched on
    trained   with the searched prompt, on the facts it was searched on; `twin_trained` on randomised weights
    prompts   the words of the found prompt (for vectors: the nearest token of each)
    vectors   [relation, slot, d] the found vectors; of discrete prompts those of their tokens
    """

    relations: tuple[str, ...]
    n: np.ndarray
    found: np.ndarray
    interval: np.ndarray
    written: np.ndarray
    twin: np.ndarray
    majority: np.ndarray
    trained: np.ndarray
    twin_trained: np.ndarray
    prompts: tuple[str, ...]
    vectors: np.ndarray
    soft: bool = True

    def figures(self) -> tuple[AnyFigure, ...]:
        """Held-out facts by relation, and the table of prompts."""
        series = (
            banded("the searched prompt", self.found, self.interval),
            *(
                Series(name=name, y=y, control=name != "prompts that people wrote")
                for name, y in (
                    ("prompts that people wrote", self.written),
                    ("searched on randomised weights", self.twin),
                    ("the commonest answer", self.majority),
                )
                if not np.isnan(y).all()
            ),
        )
        curves = curves_of(
            self.relations,
            "How many facts that the search never saw come out?",
            "Share of held-out facts answered rightly, by relation, with its 95 % interval. What the search reaches on randomised "
            "weights, which know nothing, is what a prompt can learn by itself.",
            "relation",
            "held-out facts right",
            series,
        )
        return curves, self._table()

    def _table(self) -> Table:
        nearest = "nearest tokens of the prompt" if self.soft else "prompt"
        return Table(
            title="The prompts",
            caption="Shares of facts answered rightly: those searched on, and those held out.",
            columns=(
                "relation",
                nearest,
                "searched on",
                "held out",
                "written",
                "randomised: searched on",
                "held out there",
                "n",
            ),
            rows=tuple(
                (
                    self.relations[i],
                    self.prompts[i],
                    *(
                        _shown(x[i])
                        for x in (self.trained, self.found, self.written, self.twin_trained, self.twin)
                    ),
                    int(self.n[i]),
                )
                for i in range(len(self.relations))
            ),
        )


def _shown(x: float) -> float | None:
    return None if np.isnan(x) else round(float(x), 3)
