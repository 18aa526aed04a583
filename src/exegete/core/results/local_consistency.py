"""What is found about explanations as sets of words: do texts that share one share an answer?"""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, banded
from exegete.core.results.finding import Finding

MEASURES = ("consistency", "sufficiency")


class LocalConsistency(Finding):
    """Consistency and sufficiency of explanations that name the k highest words.

    `methods` are rows, `sizes` columns (k), measures the planes of all arrays: consistency, sufficiency. `value` [measure, method,
    size] (NaN where no explanation has a partner), `interval` [..., 2], `dealt` the same with explanations dealt out over the
    texts, `drawn` with k random words of each text, `unique` the share of texts whose explanation has no partner.
    """

    methods: tuple[str, ...]
    sizes: tuple[int, ...]
    value: np.ndarray
    interval: np.ndarray
    dealt: np.ndarray
    drawn: np.ndarray
    unique: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """A table of everything, and each measure by size where there are several."""
        rows = [
            (m, s, self.sizes[k], *_numbers(self, i, j, k))
            for j, m in enumerate(self.methods)
            for k in range(len(self.sizes))
            for i, s in enumerate(MEASURES)
        ]
        table = Table(
            title="Do texts with the same explanation get the same answer?",
            caption="Consistency: another text with the very same words as explanation; sufficiency: another text that holds them all. "
            "Without partner: explanations that no other text can confirm or refute.",
            columns=(
                "method",
                "measure",
                "words",
                "value",
                "low",
                "high",
                "dealt at random",
                "random words",
                "without partner",
            ),
            rows=tuple(rows),
        )
        if len(self.sizes) < 2:
            return (table,)
        return (table, *(self._curves(i, s) for i, s in enumerate(MEASURES)))

    def _curves(self, i: int, name: str) -> Curves:
        random = Series(name="random words", y=self.drawn[i].mean(0), control=True)
        return Curves(
            title=f"{name.capitalize()} by the number of words",
            caption="Longer explanations say more, and fewer texts share them.",
            x=np.array(self.sizes, dtype=np.float64),
            x_axis="words of an explanation",
            y_axis=name,
            series=(
                *(banded(m, self.value[i, j], self.interval[i, j]) for j, m in enumerate(self.methods)),
                random,
            ),
        )


def _numbers(f: LocalConsistency, i: int, j: int, k: int) -> tuple[float | None, ...]:
    at = (i, j, k)
    found = (f.value[at], *f.interval[at], f.dealt[at], f.drawn[at], f.unique[at])
    return tuple(float(x) if np.isfinite(x) else None for x in found)
