"""What the statistics of structure find: specialised heads, banded weights, units that follow a transformation."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series
from exegete.core.results.finding import Finding


class LayerStatistic(Finding):
    """One statistic a layer, against its permutation null and a control.

    `layers` name the x axis; `value`, `null_low`, `null_mean`, `null_high` [layer] are the statistic and the 2.5 %, mean and
    97.5 % of its null; `control` [layer] the same statistic where there is nothing to find. `statistic` names it. `detail`
    [layer, column] with `columns` says what it is made of (share of each type a head, bands by row and column ...), `details`
    names its rows.
    """

    statistic: str
    layers: tuple[str, ...]
    value: np.ndarray
    null_low: np.ndarray
    null_mean: np.ndarray
    null_high: np.ndarray
    control: np.ndarray
    control_name: str
    detail: np.ndarray
    details: tuple[str, ...]
    columns: tuple[str, ...]
    detail_title: str

    def figures(self) -> tuple[AnyFigure, ...]:
        """The profile over layers with its null, then what it is made of."""
        curve = Curves(
            title=f"{self.statistic}, layer by layer",
            caption="The band holds 95 % of the permuted values; what lies above it is structure.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis=self.statistic,
            series=(
                Series(name="this model", y=self.value),
                Series(
                    name="permuted", y=self.null_mean, low=self.null_low, high=self.null_high, control=True
                ),
                Series(name=self.control_name, y=self.control, control=True),
            ),
        )
        grid = Grid(
            title=self.detail_title,
            values=self.detail,
            rows=self.details,
            columns=self.columns,
            row_axis="",
            column_axis="",
            signed=bool((self.detail < 0).any()),
        )
        return (curve, grid)
