"""What is lost as heads are removed in several orders: curves that findings about heads share."""

import numpy as np

from exegete.core.figure import Curves, Series
from exegete.core.value import Value


class RemovalCurves(Value):
    """`loss` [order, point] is the mean -log p of the right answers after `removed` [point] heads are gone, in each of
    `orders`; `right` [order, point] the share of answers still the likeliest; `low`, `high` the 95 % interval of the loss over
    texts. The last order is random: a mean over draws, `low` and `high` the least and the most of them. `how` says what removing
    means."""

    orders: tuple[str, ...]
    removed: np.ndarray
    loss: np.ndarray
    low: np.ndarray
    high: np.ndarray
    right: np.ndarray
    how: str

    def loss_figure(self) -> Curves:
        """Loss over removed heads."""
        return self._figure(
            self.loss, "What is lost as heads are removed", "-log p of the right answer (nats)", True
        )

    def right_figure(self) -> Curves:
        """Right answers over removed heads."""
        return self._figure(self.right, "Right answers as heads are removed", "share of right answers", False)

    def _figure(self, y: np.ndarray, title: str, axis: str, band: bool) -> Curves:
        last = len(self.orders) - 1
        return Curves(
            title=title,
            caption=f"On texts that the orders were not made from. Removed: {self.how}."
            + (" Bands: 95 % over texts; of the random orders, from the best to the worst." if band else ""),
            x=self.removed.astype(np.float64),
            x_axis="heads removed",
            y_axis=axis,
            series=tuple(
                Series(
                    name=name,
                    y=y[i],
                    low=self.low[i] if band else None,
                    high=self.high[i] if band else None,
                    control=i == last,
                )
                for i, name in enumerate(self.orders)
            ),
        )
