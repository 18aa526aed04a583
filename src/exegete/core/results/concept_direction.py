"""What was found of a concept's direction: by several methods at every layer, how well each tells held-out texts apart."""

import numpy as np

from exegete.core.errors import UnknownName
from exegete.core.figure import AnyFigure, Curves, Grid, Series, banded
from exegete.core.results.finding import Finding


class ConceptDirections(Finding):
    """Directions from texts of `against` to texts of `concept`: `directions` [method, layer, d], length one.

    sites        where, one a layer; `pool` which tokens of a text were read
    threshold    projections above it are said to be of the concept [method, layer]; `gap` between the projected means
    norm         mean length of what was read [layer]
    accuracy     balanced, on held-out texts [method, layer]; `shuffled` the same learned from shuffled labels, `untrained` in the
                 model with randomised weights, of the chosen method [layer]; `interval` [layer, 2] of the chosen method
    chosen       (method, layer) that was best on texts apart from those
    agreement    cosine between methods at the chosen layer [method, method]; on the diagonal between two halves of the texts
    transfer     accuracy of the chosen method learned on one data set (row) and read on another (column); empty for one set
    """

    concept: str
    against: str
    methods: tuple[str, ...]
    sites: tuple[str, ...]
    layers: tuple[str, ...]
    pool: str
    directions: np.ndarray
    threshold: np.ndarray
    gap: np.ndarray
    norm: np.ndarray
    accuracy: np.ndarray
    interval: np.ndarray
    shuffled: np.ndarray
    untrained: np.ndarray
    chosen: tuple[int, int]
    agreement: np.ndarray
    sets: tuple[str, ...]
    transfer: np.ndarray

    def direction(self, method: str = "", layer: str = "") -> np.ndarray:
        """One direction [d], the chosen one where nothing is named. Raises `UnknownName`."""
        i, j = self.chosen
        if method:
            if method not in self.methods:
                raise UnknownName("method", method, self.methods)
            i = self.methods.index(method)
        if layer:
            if layer not in self.layers:
                raise UnknownName("layer", layer, self.layers)
            j = self.layers.index(layer)
        return self.directions[i, j]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Accuracy by method and layer, the chosen method with its controls, agreement, and transfer between data sets."""
        found: list[AnyFigure] = [self._curves(), self._grid(), self._agreement()]
        if len(self.sets) > 1:
            found.append(self._transfer())
        return tuple(found)

    def _curves(self) -> Curves:
        i = self.chosen[0]
        return Curves(
            title=f"Where does a direction tell {self.concept!r} from {self.against!r}?",
            caption=f"Balanced accuracy on held-out texts, by {self.methods[i]}, with its 95 % interval.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="accuracy",
            series=(
                banded(self.methods[i], self.accuracy[i], self.interval),
                Series(name="shuffled labels", y=self.shuffled, control=True),
                Series(name="randomised weights", y=self.untrained, control=True),
            ),
        )

    def _grid(self) -> Grid:
        return Grid(
            title="Does the method matter?",
            caption="Balanced accuracy on held-out texts. Outlined: best on other texts, and scored.",
            values=self.accuracy,
            rows=self.methods,
            columns=self.layers,
            row_axis="method",
            column_axis="layer",
            unit="accuracy",
            signed=False,
            marked=(self.chosen,),
        )

    def _agreement(self) -> Grid:
        return Grid(
            title=f"Do the methods find the same direction at {self.layers[self.chosen[1]]}?",
            caption="Cosine between directions. On the diagonal: between those of two halves of the texts.",
            values=self.agreement,
            rows=self.methods,
            columns=self.methods,
            row_axis="method",
            column_axis="method",
            unit="cosine",
        )

    def _transfer(self) -> Grid:
        return Grid(
            title="Does it hold in another data set?",
            caption="Balanced accuracy of a direction learned on held-in texts of one set (row), read on held-out ones of another.",
            values=self.transfer,
            rows=self.sets,
            columns=self.sets,
            row_axis="learned on",
            column_axis="read on",
            unit="accuracy",
            signed=False,
        )
