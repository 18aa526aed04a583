"""What a model loses when a layer goes, and how later parts make up for a lost head."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding


class LayerRemoval(Finding):
    """What is lost when one layer is skipped, or swapped with the next.

    `layers` are named from the input on. `kl_removed` and `kl_noise` [layer, text] are KL(model || changed model) in nats when
    the layer is skipped, and when what it adds is replaced by noise of the same length; `kl_swapped` [layer, text] when it
    changes places with the next one (NaN for the last, and where layers cannot be swapped). `kept` [layer] is the share of
    texts on which the skipped model still gives the same answer, `kept_swapped` the same for swaps.
    """

    layers: tuple[str, ...]
    kl_removed: np.ndarray
    kl_swapped: np.ndarray
    kl_noise: np.ndarray
    kept: np.ndarray
    kept_swapped: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves over layers, then the shares of answers kept."""
        x = np.arange(len(self.layers), dtype=np.float64)
        curves = Curves(
            title="What is lost with each layer",
            caption="Mean over texts of KL(model || changed model); a layer whose loss lies below that of noise is made up for.",
            x=x,
            x_axis="layer",
            x_names=self.layers,
            y_axis="KL (nats)",
            series=(
                Series(name="layer skipped", y=self.kl_removed.mean(1)),
                Series(name="swapped with the next", y=self.kl_swapped.mean(1)),
                Series(name="replaced by noise of the same length", y=self.kl_noise.mean(1), control=True),
            ),
        )
        table = Table(
            title="Answers kept",
            columns=(
                "layer",
                "same answer when skipped",
                "same answer when swapped",
                "KL skipped",
                "KL noise",
            ),
            rows=tuple(
                (name, float(a), None if np.isnan(b) else float(b), float(k), float(n))
                for name, a, b, k, n in zip(
                    self.layers, self.kept, self.kept_swapped, self.kl_removed.mean(1), self.kl_noise.mean(1)
                )
            ),
        )
        return (curves, table)


class SelfRepair(Finding):
    """Direct against total effect of ablating each head [layer, head], mean over texts, on the scale of the target.

    `direct` is what the output loses if only the path from the head straight to the unembedding is cut, `total` what it
    loses in truth. `repaired` = direct - total: what later parts make up for. `backup` lists the (layer, head, gain) whose
    direct contribution rises most when the `lost` head is gone.
    """

    direct: np.ndarray
    total: np.ndarray
    lost: tuple[int, int]
    backup: tuple[tuple[int, int, float], ...]

    @property
    def repaired(self) -> np.ndarray:
        """What later parts make up for [layer, head]."""
        return self.direct - self.total

    def figures(self) -> tuple[AnyFigure, ...]:
        """Repair by head, direct effects, and the backup heads."""
        layers, heads = (tuple(map(str, range(n))) for n in self.direct.shape)

        def grid(title: str, caption: str, values: np.ndarray) -> Grid:
            return Grid(
                title=title,
                caption=caption,
                values=values,
                rows=tuple(f"layer {i}" for i in layers),
                columns=tuple(f"head {i}" for i in heads),
                row_axis="layer",
                column_axis="head",
                unit="effect on the target",
            )

        return (
            grid(
                "Direct effect",
                "What the output loses when only the head's own path to it is cut.",
                self.direct,
            ),
            grid("Total effect", "What the output loses when the head is ablated.", self.total),
            grid(
                "Made up for by later parts",
                "Direct minus total effect; positive is self-repair.",
                self.repaired,
            ),
            Table(
                title=f"Heads that step in when {self.lost[0]}.h{self.lost[1]} is gone",
                caption="Change of each later head's direct contribution.",
                columns=("layer", "head", "gain"),
                rows=self.backup,
            ),
        )
