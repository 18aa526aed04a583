"""What the comparison of two models' attention finds: which heads changed, and how influence flows in each."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding


class AttentionComparison(Finding):
    """Attention of two models of one architecture on the same texts.

    `change` [text, layer, head]: Jensen-Shannon divergence (nats) of the two models' attention, mean over queries that see
    several keys; `random` the same between the first model and copies of it whose weights moved as far in random directions
    (NaN where skipped). `entropy` [model, layer, head]: mean entropy of attention in nats. `flow` [model, level, token]: for the
    first text, the share of every token in the influence on `token`, traced from the last level down to the inputs (level
    0); `flow_change` and `flow_random` [text, level]: total variation distance of the flows. `moved`: heads whose change beats
    random by its 95 % interval over texts.
    """

    models: tuple[str, str]
    change: np.ndarray
    random: np.ndarray
    entropy: np.ndarray
    tokens: tuple[str, ...]
    token: int
    flow: np.ndarray
    flow_change: np.ndarray
    flow_random: np.ndarray
    moved: tuple[tuple[int, int], ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Heads, flow of the first text, flow over texts, heads as a table."""
        return self._heads(), self._flow(), self._levels(), self._table()

    def _heads(self) -> Grid:
        layers, heads = self.change.shape[1:]
        return Grid(
            title="How much the attention of each head changed",
            caption="Jensen-Shannon divergence (nats, at most 0.69), mean over texts. Marked: more than weights moved at random.",
            values=self.change.mean(0),
            rows=tuple(f"layer {k}" for k in range(layers)),
            columns=tuple(f"h{h}" for h in range(heads)),
            row_axis="layer",
            column_axis="head",
            unit="divergence",
            signed=False,
            marked=self.moved,
        )

    def _flow(self) -> Grid:
        n = self.flow.shape[1] - 1
        return Grid(
            title=f"Flow of influence on '{self.tokens[self.token]}': {self.models[1]} minus {self.models[0]}",
            caption="Share of every token at each level, traced by rollout from the last layer (top) to the input (bottom).",
            values=(self.flow[1] - self.flow[0])[::-1],
            rows=tuple("input" if k == 0 else f"layer {k - 1}" for k in reversed(range(n + 1))),
            columns=self.tokens,
            row_axis="after",
            column_axis="token",
            unit="difference of shares",
        )

    def _levels(self) -> Curves:
        n = self.flow_change.shape[1]
        return Curves(
            title="How far apart the flows are",
            caption="Total variation distance at each level, mean over texts.",
            x=np.arange(n, dtype=np.float64),
            x_axis="after",
            x_names=("input", *(f"layer {k}" for k in range(n - 1))),
            y_axis="distance",
            series=(
                Series(name="the other model", y=self.flow_change.mean(0)),
                Series(name="weights moved at random", y=self.flow_random.mean(0), control=True),
            ),
        )

    def _table(self) -> Table:
        mean, chance = self.change.mean(0), self.random.mean(0)
        order = np.argsort(-mean, axis=None, kind="stable")
        rows = []
        for layer, head in zip(*np.unravel_index(order, mean.shape)):
            at = (int(layer), int(head))
            control = float(chance[at]) if np.isfinite(chance[at]) else None
            own, other = (float(self.entropy[(m, *at)]) for m in (0, 1))
            rows.append((f"{at[0]}.h{at[1]}", float(mean[at]), control, own, other))
        return Table(
            title="Heads by change",
            columns=(
                "head",
                "divergence",
                "at random",
                f"entropy: {self.models[0]}",
                f"entropy: {self.models[1]}",
            ),
            rows=tuple(rows),
        )
