"""What direct logit attribution finds: the share of every part of the model in a logit."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class LogitPart(Value):
    """One part: what it is, its mean share in the logit, that share's interval, and the size of its share in random tokens' logits."""

    name: str
    sort: str
    share: float
    interval: tuple[float, float] | None = None
    random: float = 0.0


class LogitAttribution(Finding):
    """Shares of the logit (less the foil's, where there is one) before a soft cap; all but `parts` are means over texts.

    `heads` and `cross_heads` [layer, head], `feed_forward` [layer], `embedding`; the constants `projection_bias`, `norm_bias`
    and `head_bias` belong to no input. All of these sum to `logit`. `group` query heads share a key-value head. `parts` lists every head, feed-forward part and the embedding, largest share first;
    `units` are (layer, unit, share) of the hidden units with the largest shares. `after` [layer + 1] is the logit that the
    parts so far (constants left out) add up to. For one text, `sources` [layer, token] splits what all heads of a layer add by
    the token they read (in the main stack), and `source_heads` [row, token] the heads named in `source_names`; `tokens` are
    the text's.
    """

    answers: tuple[str, ...]
    foils: tuple[str, ...] = ()
    logit: float
    embedding: float
    heads: np.ndarray
    cross_heads: np.ndarray | None = None
    feed_forward: np.ndarray
    projection_bias: float
    norm_bias: float
    head_bias: float
    after: np.ndarray
    group: int = 1
    capped: bool = False
    parts: tuple[LogitPart, ...]
    units: tuple[tuple[int, int, float], ...] = ()
    tokens: tuple[str, ...] = ()
    sources: np.ndarray | None = None
    source_heads: np.ndarray | None = None
    source_names: tuple[str, ...] = ()

    def figures(self) -> tuple[AnyFigure, ...]:
        """Layers by heads and feed-forward part, where the heads read, the sum by depth, the largest parts and units."""
        found: list[AnyFigure] = [self._grid()]
        if self.source_heads is not None:
            found.append(self._sources())
        found += [self._depth(), self._table()]
        if self.units:
            found.append(_units(self.units))
        return tuple(found)

    def _grid(self) -> Grid:
        blocks = [self.heads, *([] if self.cross_heads is None else [self.cross_heads])]
        names = [f"h{h}" for h in range(self.heads.shape[1])]
        if self.cross_heads is not None:
            names += [f"cross h{h}" for h in range(self.cross_heads.shape[1])]
        shared = f" Each {self.group} heads in a row share a key-value head." if self.group > 1 else ""
        return Grid(
            title="What each part adds to the logit",
            caption="One row a layer; its heads and its feed-forward part (MLP)."
            f" The embedding adds {self.embedding:+.3g}; biases that no input moves add {self._constants:+.3g}.{shared}",
            values=np.concatenate([*blocks, self.feed_forward[:, None]], 1),
            rows=tuple(f"layer {i}" for i in range(len(self.heads))),
            columns=(*names, "MLP"),
            row_axis="layer",
            column_axis="part",
            unit="share of the logit",
        )

    @property
    def _constants(self) -> float:
        return self.projection_bias + self.norm_bias + self.head_bias

    def _sources(self) -> Grid:
        values = self.source_heads if self.source_heads is not None else np.zeros((0, len(self.tokens)))
        return Grid(
            title="Which token the strongest heads carry it from",
            caption="One row a head; a row sums to the head's share.",
            values=values,
            rows=self.source_names,
            columns=self.tokens,
            row_axis="head",
            column_axis="token",
            unit="share of the logit",
        )

    def _depth(self) -> Curves:
        n = len(self.after)
        return Curves(
            title="What the parts add up to, by depth",
            caption="With the scale of the final norm held as it is; biases left out.",
            x=np.arange(n, dtype=np.float64),
            x_axis="layer",
            x_names=("embedding", *(f"layer {i}" for i in range(n - 1))),
            y_axis="logit so far",
            series=(Series(name="sum of shares", y=self.after),),
        )

    def _table(self) -> Table:
        rows = tuple(
            (
                p.name,
                p.sort,
                p.share,
                "" if p.interval is None else f"[{p.interval[0]:.3g}, {p.interval[1]:.3g}]",
                p.random,
            )
            for p in self.parts
        )
        return Table(
            title="The parts, largest share first",
            caption="The last column is the usual size of the part's share when a random token stands in the answer's place.",
            columns=("part", "kind", "share", "95 % interval", "random tokens"),
            rows=rows,
        )


def _units(units: tuple[tuple[int, int, float], ...]) -> Table:
    return Table(
        title="The hidden units with the largest shares",
        caption="A unit's share is its activation times what its output row says about the answer.",
        columns=("layer", "unit", "share"),
        rows=units,
    )
