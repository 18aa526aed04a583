"""What patching finds: how much of what separates two texts each patched place brings over. Drawn without the model."""

from typing import Literal

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class PatchGrid(Value):
    """Effects of one site [row, column], rows are layers: a share of what separates the texts (0 nothing, 1 all of it).

    `columns` are tokens, roles of tokens or heads, as `axis` says. `low` and `high` bound the 95 % interval over pairs
    (NaN for a single pair). `best` (row, column) is the place that moves most.
    """

    site: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    axis: Literal["token", "role", "head"]
    effect: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def best(self) -> tuple[int, int]:
        """The place that moves most."""
        i, j = np.unravel_index(int(np.nanargmax(self.effect)), self.effect.shape)
        return int(i), int(j)

    def figure(self, direction: str) -> Grid:
        """The heat map; places whose interval excludes zero are marked where there are several pairs."""
        several = bool(np.isfinite(self.low).any())
        certain = np.argwhere((self.low > 0) | (self.high < 0)) if several else np.array([self.best])
        what = "brings back" if direction == "denoising" else "takes away"
        marks = "their interval over pairs excludes zero" if several else "it moves most"
        return Grid(
            title=f"What patching {self.site} {what}",
            caption=f"Share of what separates the two texts: 0 nothing, 1 all of it. Marked: {marks}.",
            values=self.effect,
            rows=self.rows,
            columns=self.columns,
            row_axis="layer",
            column_axis=self.axis,
            unit="share",
            marked=tuple((int(i), int(j)) for i, j in certain),
        )


class PatchEstimate(Finding):
    """Estimated effects of patching, a grid a site, and how they compare with exact ones on a sample of places.

    `places` [n] name the sampled places, `estimated` and `exact` [n] are their shares. `n_steps` is the number of gradients
    averaged (1: the tangent at the patched run).
    """

    direction: Literal["denoising", "noising"]
    corruption: str
    n_steps: int
    grids: tuple[PatchGrid, ...]
    clean: np.ndarray
    corrupt: np.ndarray
    places: tuple[str, ...]
    estimated: np.ndarray
    exact: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """A heat map a site, then the sampled places, the strongest first."""
        order = np.argsort(-np.abs(self.exact), kind="stable")
        table = Table(
            title="Estimated beside exact",
            caption="Shares of what separates the texts, on a random sample of places.",
            columns=("place", "estimated", "exact"),
            rows=tuple((self.places[i], float(self.estimated[i]), float(self.exact[i])) for i in order),
        )
        return (*(g.figure(self.direction) for g in self.grids), table)


class Patching(Finding):
    """Exact effects of patching, a grid a site. `clean` and `corrupt` [pair] are the target's values on both texts."""

    direction: Literal["denoising", "noising"]
    corruption: str
    grids: tuple[PatchGrid, ...]
    clean: np.ndarray
    corrupt: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """A heat map a site."""
        return tuple(g.figure(self.direction) for g in self.grids)
