"""Means of a table whose rows and columns are both a sample (people and items), and how sure they are.

    draw      rows and columns are drawn again, with replacement and independently of one another; a cell counts as often as its row
              times as often as its column was drawn
    means     the mean of the cells that are known, in every such draw

The interval is for other people AND other items; drawing cells, or people alone, makes it too short where items differ. It errs on
the wide side. Shapes: table [row, column], NaN where nothing is known; draws [draw, row] and [draw, column].
Cost: O(draws * cells). Reference: Owen 2007, The Pigeonhole Bootstrap (10.1214/07-AOAS122).
"""

from dataclasses import dataclass

import numpy as np

from exegete.core.seed import generator


@dataclass(frozen=True)
class Draws:
    """How often each row [draw, row] and each column [draw, column] was drawn."""

    rows: np.ndarray
    columns: np.ndarray

    def means(self, table: np.ndarray) -> np.ndarray:
        """The mean of the known cells of `table` [row, column] in every draw [draw]; NaN where a draw has none."""
        known = np.isfinite(table)
        total = ((self.rows @ np.where(known, table, 0.0)) * self.columns).sum(1)
        count = ((self.rows @ known.astype(np.float64)) * self.columns).sum(1)
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def draw(n_rows: int, n_columns: int, seed: int = 0, n_resamples: int = 2000) -> Draws:
    """`n_resamples` draws of rows and columns. A side of one is not drawn: it says nothing of others."""
    counts = []
    for side, n in (("rows", n_rows), ("columns", n_columns)):
        if n < 2:
            counts.append(np.ones((n_resamples, n)))
            continue
        rng = generator(seed, "crossed", side, n)
        counts.append(rng.multinomial(n, np.full(n, 1 / n), n_resamples).astype(np.float64))
    return Draws(counts[0], counts[1])


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of what the draws gave [draw]; None where fewer than half of them gave anything."""
    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values) or not len(known):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def mean(table: np.ndarray) -> float:
    """The mean of the known cells; NaN where there is none."""
    known = table[np.isfinite(table)]
    return float(known.mean()) if known.size else float("nan")
