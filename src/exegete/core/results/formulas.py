"""What compositional explanations find: a logical formula of grammar for the words that a unit fires on."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Series, Table, banded
from exegete.core.results.finding import Finding
from exegete.core.value import Value

READ = (
    ' "after DET": the word before is a determiner; "before DET": the next one is. IoU: words on which unit and formula are both'
    " on, over those on which either is."
)


class UnitFormula(Value):
    """One unit: its `formula` in words, of `length` concepts; `iou` on held-out sentences, `searched` on those it was searched on;
    `shuffled` of the formula found for the unit's activations in random order, `other` of another unit's formula on this unit,
    `twin` with randomised weights (held out; NaN where there is none). `density`: share of held-out words on which it is on;
    `words` are those on which it is on most often.
    """

    name: str
    formula: str
    length: int
    iou: float
    searched: float
    shuffled: float
    other: float
    twin: float
    density: float
    words: tuple[str, ...] = ()


class Formulas(Finding):
    """Formulas of units: `units`, and `curve` [length] the mean held-out IoU of formulas of at most 1, 2, ... concepts with its
    `interval` [length, 2], `curve_searched`, `curve_shuffled` and `curve_twin` [length] (NaN where skipped). `layers` [unit].
    `n_concepts` were given to `n_searched` words; the formulas are judged on `n_held` others.
    """

    units: tuple[UnitFormula, ...]
    layers: np.ndarray
    curve: np.ndarray
    interval: np.ndarray
    curve_searched: np.ndarray
    curve_shuffled: np.ndarray
    curve_twin: np.ndarray
    n_concepts: int
    n_searched: int
    n_held: int

    def figures(self) -> tuple[AnyFigure, ...]:
        """The units, and what longer formulas gain."""
        return (self._table(), self._lengths())

    def _table(self) -> Table:
        best = sorted(self.units, key=lambda u: -u.iou)
        return Table(
            title="Which formula says where each unit fires?",
            caption=f"Best first, of {self.n_concepts} concepts of grammar, position and single words.{READ} Beside it: the same"
            " search on the unit's activations in random order, another unit's formula, and the same unit with randomised weights.",
            columns=(
                "unit", "formula", "IoU, held out", "shuffled", "another unit's", "randomised", "IoU, searched", "on at", "words",
            ),
            rows=tuple(
                (
                    u.name, u.formula, _number(u.iou), _number(u.shuffled), _number(u.other), _number(u.twin),
                    _number(u.searched), f"{u.density:.1%} of words", " ".join(u.words),
                )
                for u in best
            ),
        )  # fmt: skip

    def _lengths(self) -> Curves:
        lengths = np.arange(1, len(self.curve) + 1)
        return Curves(
            title="Do longer formulas say more?",
            caption=f"Mean over {len(self.units)} units, on {self.n_held:,} words of sentences that were held out; band: 95 %. Where"
            " the sentences of the search rise and the held-out ones do not, the longer formula says only what chance put there.",
            x=lengths.astype(np.float64),
            x_axis="concepts in the formula, at most",
            x_names=tuple(map(str, lengths)),
            y_axis="IoU",
            series=tuple(
                s
                for s in (
                    banded("held-out sentences", self.curve, self.interval),
                    Series(name="sentences of the search", y=self.curve_searched),
                    Series(name="activations shuffled, held out", y=self.curve_shuffled, control=True),
                    Series(name="randomised weights, held out", y=self.curve_twin, control=True),
                )
                if np.isfinite(s.y).all()
            ),
        )


def _number(x: float) -> float | None:
    return round(x, 3) if np.isfinite(x) else None
