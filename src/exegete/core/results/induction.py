"""What studies of induction find: which heads look behind the previous occurrence, what that is worth, and when it came."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding


class InductionHeads(Finding):
    """Heads on random tokens said twice, and what the model loses without them.

    `prefix`, `previous` [layer, head] are the mean attention on the position after the previous occurrence, and on the
    previous position; `prefix_fresh` the first of them where nothing comes back; `copying` in [-1, 1] from the weights,
    `copying_shuffled` with other tokens paired. `induction` and `previous_heads` list (layer, head). `loss`, `loss_fresh` with
    `loss_low`, `loss_high` [position] in nats, `loss_without` with the induction heads knocked out (empty without any);
    `second` is the position at which the second saying begins. `knock_outs` are rows (what, heads, in-context learning, low,
    high, what it costs).
    """

    prefix: np.ndarray
    prefix_fresh: np.ndarray
    previous: np.ndarray
    copying: np.ndarray
    copying_shuffled: np.ndarray
    induction: tuple[tuple[int, int], ...]
    previous_heads: tuple[tuple[int, int], ...]
    loss: np.ndarray
    loss_low: np.ndarray
    loss_high: np.ndarray
    loss_fresh: np.ndarray
    loss_without: np.ndarray
    second: int
    knock_outs: tuple[tuple[str, str, float, float, float, float], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """The scores of all heads, the loss by position, what knock-outs cost, and the list of heads."""
        return (
            self._grid(
                "Prefix matching",
                "Attention from a token to the position after its previous occurrence. Marked: induction heads.",
                self.prefix,
                "attention",
                self.induction,
            ),
            self._losses(),
            self._table(),
            self._grid(
                "Previous token",
                "Attention from a token to the one before. Marked: previous-token heads.",
                self.previous,
                "attention",
                self.previous_heads,
            ),
            self._grid(
                "Copying",
                "From the weights: 1 where a head raises the very tokens it reads, -1 where it lowers them.",
                self.copying,
                "sum of eigenvalues / sum of their sizes",
                self.induction,
            ),
            self._grid(
                "Control: prefix matching where nothing comes back",
                "The same positions in texts whose second half has other tokens.",
                self.prefix_fresh,
                "attention",
                (),
            ),
        )

    def _grid(
        self, title: str, caption: str, values: np.ndarray, unit: str, marked: tuple[tuple[int, int], ...]
    ) -> Grid:  # fmt: skip
        return Grid(
            title=title,
            caption=caption,
            values=values,
            rows=tuple(f"layer {i}" for i in range(values.shape[0])),
            columns=tuple(f"head {i}" for i in range(values.shape[1])),
            row_axis="layer",
            column_axis="head",
            unit=unit,
            signed=bool((values < 0).any()),
            marked=marked,
        )

    def _losses(self) -> Curves:
        series = [
            Series(name="said twice", y=self.loss, low=self.loss_low, high=self.loss_high),
            Series(name="other tokens the second time", y=self.loss_fresh, control=True),
        ]
        if len(self.loss_without):
            series.insert(1, Series(name="said twice, without the induction heads", y=self.loss_without))
        return Curves(
            title="Loss at every position",
            caption="Mean over texts, with its 95 % interval.",
            x=np.arange(1, len(self.loss) + 1, dtype=np.float64),
            x_axis="position",
            y_axis="loss (nats)",
            series=tuple(series),
            marks=((float(self.second), "said again"),),
        )

    def _table(self) -> Table:
        return Table(
            title="In-context learning when heads are knocked out",
            caption="In-context learning is the loss of the second saying minus that of the first, in nats (negative: it "
            "helps). A knocked-out head says its mean. Patterns kept: the others still look where they looked.",
            columns=("knocked out", "heads", "in-context learning", "low", "high", "cost"),
            rows=self.knock_outs,
        )


class PhaseChange(Finding):
    """The same scores at every checkpoint of a training run.

    `steps` [checkpoint] are counted by the names of the folders. `learned` [checkpoint] is in-context learning in nats
    (negative: reading once helps) with `learned_low`, `learned_high`, `learned_fresh` the same where nothing comes back.
    `prefix` and `previous` [checkpoint] are the strongest head's attention on the position after the previous occurrence and
    on the previous position, with intervals of the first. `heads` name the strongest (prefix, previous) of each checkpoint.
    `first_loss` [checkpoint] is the loss of the first saying. `windows` name the steps between which each curve changes most.
    """

    steps: np.ndarray
    learned: np.ndarray
    learned_low: np.ndarray
    learned_high: np.ndarray
    learned_fresh: np.ndarray
    prefix: np.ndarray
    prefix_low: np.ndarray
    prefix_high: np.ndarray
    prefix_fresh: np.ndarray
    previous: np.ndarray
    heads: tuple[tuple[str, str], ...]
    first_loss: np.ndarray
    windows: tuple[tuple[str, float, float], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Attention of the strongest heads, in-context learning, and the table of checkpoints."""
        marks = tuple((stop, f"{name} by here") for name, _, stop in self.windows[:1])
        heads = Curves(
            title="The heads",
            caption="Strongest head of each checkpoint; the control is the same head where nothing comes back.",
            x=self.steps,
            x_axis="training step",
            y_axis="attention",
            series=(
                Series(name="prefix matching", y=self.prefix, low=self.prefix_low, high=self.prefix_high),
                Series(name="previous token", y=self.previous),
                Series(name="prefix matching where nothing comes back", y=self.prefix_fresh, control=True),
            ),
            marks=marks,
        )
        learned = Curves(
            title="In-context learning",
            caption="Loss of the second saying minus that of the first; negative where reading once helps.",
            x=self.steps,
            x_axis="training step",
            y_axis="nats",
            series=(
                Series(name="said twice", y=self.learned, low=self.learned_low, high=self.learned_high),
                Series(name="other tokens the second time", y=self.learned_fresh, control=True),
            ),
            marks=marks,
        )
        return (learned, heads, self._table())

    def _table(self) -> Table:
        columns = (self.steps, self.learned, self.prefix, self.previous, self.first_loss)
        rows = tuple(
            (int(s), float(a), *(float(p), names[0], float(q), names[1]), float(f))
            for s, a, p, q, f, names in zip(*columns, self.heads)
        )
        return Table(
            title="Checkpoints",
            columns=(
                "step",
                "in-context learning",
                "prefix matching",
                "its head",
                "previous token",
                "the head",
                "loss, first saying",
            ),
            rows=rows,
        )
