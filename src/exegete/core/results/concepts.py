"""What TCAV found: for every concept and layer, on how many texts its direction raises the target, against random sets."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding


class ConceptBoard(Finding):
    """Concepts by layers. Every unit is a concept vector of its own from texts that no other unit reads.

    share, share_random    share of the explained texts whose target rises along the vector: mean over the units of a concept
                           [concept, layer], over random-against-random units [layer]
    effect                 how far the target moves, to first order, when a text moves from the random to the concept side
                           [concept, layer], in units of the target (logits); `effect_random` mean size of random units [layer]
    p, p_corrected         of the shares, two-sided; corrected by Holm over all cells, shares and effects together
                           [concept, layer]; `p_effect`, `p_effect_corrected` the same of the effects
    accuracy, stability    of the vectors: balanced accuracy on the texts of the other units, mean cosine between units
                           [concept, layer], and of random units [layer]
    refused                cells [concept, layer] whose vectors do not tell the concept from random texts
    units, units_random    the shares themselves [concept, layer, unit], [layer, unit]
    vectors                the vector from all texts of a concept [concept, layer, d], length one
    alpha                  the level of what counts as significant
    """

    concepts: tuple[str, ...]
    layers: tuple[str, ...]
    target: str
    n_texts: int
    set_size: int
    share: np.ndarray
    share_random: np.ndarray
    effect: np.ndarray
    effect_random: np.ndarray
    p: np.ndarray
    p_corrected: np.ndarray
    p_effect: np.ndarray
    p_effect_corrected: np.ndarray
    accuracy: np.ndarray
    accuracy_random: np.ndarray
    stability: np.ndarray
    stability_random: np.ndarray
    refused: np.ndarray
    units: np.ndarray
    units_random: np.ndarray
    vectors: np.ndarray
    alpha: float

    @property
    def significant(self) -> np.ndarray:
        """Cells [concept, layer] that stand out from random sets by share or effect, and whose vectors are good enough."""
        return (np.minimum(self.p_corrected, self.p_effect_corrected) < self.alpha) & ~self.refused

    def figures(self) -> tuple[AnyFigure, ...]:
        """The board of shares, the board of effects, how good the vectors are, and every cell as a row."""
        return (self._shares(), self._effects(), self._quality(), self._cells())

    def _shares(self) -> Grid:
        texts = [
            ["refused" if r else f"{s:.0%}" for s, r in zip(*pair)] for pair in zip(self.share, self.refused)
        ]
        return Grid(
            title=f"On which share of the texts does the concept raise {self.target}?",
            caption="Mean over vectors from separate texts; colour is the distance from one half, where a direction that means "
            f"nothing stands. Outlined: other than random sets (corrected p < {self.alpha:g}). Refused: the vector does not tell "
            "the concept from random texts. Last row: random sets against random sets.",
            values=np.vstack([np.where(self.refused, np.nan, self.share), self.share_random]) - 0.5,
            rows=(*self.concepts, "random sets"),
            columns=self.layers,
            row_axis="concept",
            column_axis="layer",
            unit="share of texts less one half",
            texts=(*map(tuple, texts), tuple(f"{s:.0%}" for s in self.share_random)),
            marked=self._marked(self.p_corrected),
        )

    def _effects(self) -> Grid:
        return Grid(
            title="How far does it move it?",
            caption=f"Change of {self.target}, to first order, when all tokens of a text move from the side of the random "
            "texts to the side of the concept. Outlined: other than random sets. Last row: mean size for random sets.",
            values=np.vstack([np.where(self.refused, np.nan, self.effect), self.effect_random]),
            rows=(*self.concepts, "random sets"),
            columns=self.layers,
            row_axis="concept",
            column_axis="layer",
            unit="change of the target",
            marked=self._marked(self.p_effect_corrected),
        )

    def _quality(self) -> Curves:
        return Curves(
            title="How well do the vectors tell the concept from random texts?",
            caption="Balanced accuracy of a vector on texts that it was not made from.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="accuracy",
            series=(
                *(Series(name=c, y=a) for c, a in zip(self.concepts, self.accuracy)),
                Series(name="random sets", y=self.accuracy_random, control=True),
            ),
        )

    def _cells(self) -> Table:
        rows = [
            (
                c, layer, self._word(i, j), float(self.share[i, j]), float(self.p_corrected[i, j]), float(self.effect[i, j]),
                float(self.p_effect_corrected[i, j]), float(self.accuracy[i, j]), float(self.stability[i, j]),
            )
            for i, c in enumerate(self.concepts)
            for j, layer in enumerate(self.layers)
        ]  # fmt: skip
        return Table(
            title="Every concept and layer",
            caption="p of the share and of the effect: two-sided, corrected over all rows and both kinds together, by Holm. "
            "Stability: mean cosine between vectors from separate texts (random sets: "
            f"{float(np.nanmean(self.stability_random)):.2f}).",
            columns=("concept", "layer", "verdict", "share", "p share", "effect", "p effect", "accuracy", "stability"),
            rows=tuple(rows),
        )  # fmt: skip

    def _word(self, i: int, j: int) -> str:
        if self.refused[i, j]:
            return "refused"
        return "used" if self.significant[i, j] else "as random sets"

    def _marked(self, p: np.ndarray) -> tuple[tuple[int, int], ...]:
        return tuple((int(i), int(j)) for i, j in np.argwhere((p < self.alpha) & ~self.refused))
