"""What the toy model of superposition shows: how many features are kept in few dimensions, and at what price."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, banded
from exegete.core.results.finding import Finding

PHASES = ("not kept", "alone", "shared")


class Superposition(Finding):
    """Toy models over sparsities.

    `density` [sparsity] is the share of features that are not zero. `kept` [sparsity, seed] is how many features are kept,
    `kept_linear` [sparsity, seed] in a model without ReLU; `interval` [sparsity, 2] that of the mean of `kept`.
    `dimensionality` [sparsity, feature] and `capacity` [sparsity] (its sum) of the seed of lowest loss. `phase` [importance,
    sparsity] says what becomes of a second feature in one dimension (0 not kept, 1 alone, 2 shared), at `phase_importance`
    and `phase_density`.
    """

    dimensions: int
    density: np.ndarray
    kept: np.ndarray
    kept_linear: np.ndarray
    interval: np.ndarray
    dimensionality: np.ndarray
    capacity: np.ndarray
    phase: np.ndarray
    phase_importance: np.ndarray
    phase_density: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Features kept by sparsity, dimensionality of every feature, the phase diagram, the capacity."""
        m, names = self.dimensions, tuple(f"{d:.2g}" for d in self.density)
        x = np.arange(len(names), dtype=np.float64)
        many = Curves(
            title="How many features are kept in so few dimensions?",
            caption=f"Features with |W_i|^2 over 1/4, divided by the {m} dimensions; mean over seeds with its interval.",
            x=x,
            x_axis="share of features that are on (sparser to the right)",
            x_names=names,
            y_axis="features a dimension",
            series=(
                banded("with ReLU", self.kept.mean(1) / m, self.interval / m),
                banded("linear", self.kept_linear.mean(1) / m, np.full((len(x), 2), np.nan)).model_copy(
                    update={"control": True}
                ),
            ),
        )
        shares = Grid(
            title="How much of a dimension does each feature have?",
            caption="1: a dimension to itself; 1/2: shared with one other (an antipodal pair); 0: not kept. Features by "
            "importance, the most important first.",
            values=self.dimensionality,
            rows=names,
            columns=tuple(str(i) for i in range(self.dimensionality.shape[1])),
            row_axis="share on",
            column_axis="feature",
            unit="dimensionality",
            signed=False,
        )
        phases = Grid(
            title="What becomes of a second feature in one dimension?",
            caption="Two features, one dimension: the second is dropped, takes the dimension, or shares it.",
            values=self.phase.astype(np.float64),
            rows=tuple(f"{v:.2g}" for v in self.phase_importance),
            columns=tuple(f"{v:.2g}" for v in self.phase_density),
            row_axis="importance of the second",
            column_axis="share on",
            unit="phase",
            signed=False,
            texts=tuple(tuple(PHASES[int(v)] for v in row) for row in self.phase),
        )
        filled = Curves(
            title="How much of the dimensions is used?",
            caption=f"Sum of dimensionalities; it cannot be more than the {m} dimensions.",
            x=x,
            x_axis="share of features that are on (sparser to the right)",
            x_names=names,
            y_axis="sum of dimensionalities",
            series=(
                banded("with ReLU", self.capacity, np.full((len(x), 2), np.nan)),
                banded("all there is", np.full(len(x), float(m)), np.full((len(x), 2), np.nan)).model_copy(
                    update={"control": True}
                ),
            ),
        )
        return many, shares, phases, filled
