"""What studies of identifiability find: how much of a hidden state is its own token, how much of attention can matter."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Maps, Series
from exegete.core.results.finding import Finding
from exegete.core.value import Value


class HiddenTokenAttribution(Finding):
    """Contributions of input tokens to hidden states, before the first layer and after each (`layers`).

    `own` [text, layer]: mean over tokens of the share that the token at the same place contributes; `first` [text, layer]: share
    of tokens to which their own contributes most. `own_control`, `first_control`: those of the model with randomised weights
    (NaN where skipped); `even` [text]: the share if all visible tokens contributed alike. `tokens` and `shares`
    [layer, hidden, input] show the first text.
    """

    layers: tuple[str, ...]
    own: np.ndarray
    first: np.ndarray
    own_control: np.ndarray
    first_control: np.ndarray
    even: np.ndarray
    tokens: tuple[str, ...]
    shares: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The curves over layers, then the first text."""
        curve = Curves(
            title="How much of a hidden state is its own token",
            caption="Mean over texts. Share of the own token, and share of tokens whose own contributes most.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="after",
            x_names=self.layers,
            y_axis="share",
            series=(
                Series(name="own token", y=self.own.mean(0)),
                Series(name="own contributes most", y=self.first.mean(0)),
                Series(name="own token, randomised weights", y=self.own_control.mean(0), control=True),
            ),
        )
        maps = Maps(
            title="Contributions to hidden states",
            caption="Rows are hidden states, columns input tokens; a row sums to 1.",
            patterns=self.shares,
            names=self.layers,
            groups=self.layers,
            queries=self.tokens,
            keys=self.tokens,
            unit="share of gradient norm",
        )
        return curve, maps


class EffectiveMaps(Value):
    """One attention on one text: weights `pattern` and `effective` [layer, head, query, key] float32; its tokens."""

    name: str
    pattern: np.ndarray
    effective: np.ndarray
    queries: tuple[str, ...]
    keys: tuple[str, ...]


class EffectiveAttention(Finding):
    """How much of attention the values of its head carry on.

    `attentions` name the rows [attention]. By head, means over texts [attention, head]: `kept` share of the squared norm of
    attention that is effective, `agree` correlation of effective with raw weights, `open` share of queries whose attention is
    not identifiable. `special_raw` and `special_effective` [attention]: share of absolute weight on tokens that stand for no
    text. `maps` show the first text.
    """

    attentions: tuple[str, ...]
    kept: np.ndarray
    agree: np.ndarray
    open: np.ndarray
    special_raw: np.ndarray
    special_effective: np.ndarray
    maps: tuple[EffectiveMaps, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Heads, special tokens, maps."""
        special = Curves(
            title="Attention on special tokens, raw and effective",
            x=np.arange(len(self.attentions), dtype=np.float64),
            x_axis="attention",
            x_names=self.attentions,
            y_axis="share of absolute weight",
            series=(
                Series(name="raw", y=self.special_raw),
                Series(name="effective", y=self.special_effective),
            ),
        )
        return (
            self._grid(
                "Effective share of attention",
                "Squared norm of the effective weights, of that of all.",
                self.kept,
            ),
            self._grid("Queries whose attention is not identifiable", "Share of queries.", self.open),
            special,
            *(self._map(m) for m in self.maps),
        )

    def _grid(self, title: str, caption: str, values: np.ndarray) -> Grid:
        heads = tuple(f"h{i}" for i in range(values.shape[1]))
        return Grid(
            title=title, caption=caption, values=values, rows=self.attentions, columns=heads,
            row_axis="attention", column_axis="head", unit="share", signed=False,
        )  # fmt: skip

    def _map(self, m: EffectiveMaps) -> Maps:
        layers, heads = m.effective.shape[:2]
        return Maps(
            title=f"Effective attention: {m.name}",
            caption="Attention without the part that no value of the head carries; rows of a picture are queries, columns keys.",
            patterns=m.effective.reshape(-1, *m.effective.shape[2:]),
            names=tuple(f"{k}.h{h}" for k in range(layers) for h in range(heads)),
            groups=tuple(f"layer {k}" for k in range(layers) for _ in range(heads)),
            queries=m.queries,
            keys=m.keys,
            unit="effective attention",
            signed=True,
        )
