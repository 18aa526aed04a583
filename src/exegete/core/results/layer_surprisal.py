"""In which layers a model is surprised by what is not said so."""

import numpy as np

from exegete.core.figure import AnyFigure, Grid, Series, Table, banded, by_layer
from exegete.core.results.finding import Finding


class LayerSurprisalResult(Finding):
    """Surprisal of the worse sentence minus that of the better, under a Gaussian of each layer's usual activations.

    `names` [pair] are the phenomena, `gap` [pair, layer] the differences in nats (NaN: a pair that cannot be read). Over all
    pairs: `share` [layer] in which the worse one is the more surprising, with `interval` [layer, 2] over pairs, `share_twin`
    [layer] on the model with randomised weights. `phenomena`, `n` [phenomenon], `shares` and `sizes` [phenomenon, layer] are the
    shares and the mean gap in standard deviations of each, `shares_twin` the shares on the randomised model, `shares_unigram`
    [phenomenon] those of token frequencies alone.
    """

    layers: tuple[str, ...]
    names: tuple[str, ...]
    gap: np.ndarray
    share: np.ndarray
    interval: np.ndarray
    share_twin: np.ndarray
    unigram: float
    phenomena: tuple[str, ...]
    n: np.ndarray
    shares: np.ndarray
    sizes: np.ndarray
    shares_twin: np.ndarray
    shares_unigram: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Shares by layer, then by phenomenon and layer, then the phenomena as a table."""
        flat = np.ones(len(self.layers))
        series = [banded("this model", self.share, self.interval)]
        series += [
            Series(name=name, y=y, control=True)
            for name, y in (
                ("randomised weights", self.share_twin),
                ("token frequencies", flat * self.unigram),
                ("chance", flat * 0.5),
            )
            if not np.isnan(y).any()
        ]
        curve = by_layer(
            range(len(self.layers)),
            "In which layers is the worse sentence the stranger one?",
            "Share of the pairs in which the worse sentence is the more surprising. Band: 95 % over pairs.",
            "share of pairs",
            tuple(series),
        ).model_copy(update={"x_names": self.layers})
        grid = Grid(
            title="How much stranger, by what is wrong?",
            caption="Mean difference of surprisal in standard deviations of the pairs; above zero: the worse sentence is stranger.",
            values=self.sizes,
            rows=self.phenomena,
            columns=self.layers,
            row_axis="what is wrong",
            column_axis="layer",
            unit="standard deviations",
        )
        return curve, grid, self._table()

    def _table(self) -> Table:
        """Every phenomenon where it stands out the most."""
        rows = []
        for i, name in enumerate(self.phenomena):
            if np.isnan(self.sizes[i]).all():
                rows.append((name, int(self.n[i]), None, None, None, None, None))
                continue
            at = int(np.nanargmax(self.sizes[i]))
            twin = self.shares_twin[i, at]
            rows.append(
                (
                    name,
                    int(self.n[i]),
                    self.layers[at],
                    round(float(self.sizes[i, at]), 2),
                    round(float(self.shares[i, at]), 3),
                    None if np.isnan(twin) else round(float(twin), 3),
                    round(float(self.shares_unigram[i]), 3),
                )
            )
        return Table(
            title="Where does each kind stand out the most?",
            caption="The layer is chosen on the same pairs: read its share as an upper bound.",
            columns=(
                "what is wrong",
                "pairs",
                "layer",
                "gap (sd)",
                "share stranger",
                "randomised, same layer",
                "token frequencies",
            ),
            rows=tuple(rows),
        )
