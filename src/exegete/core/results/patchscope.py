"""What a hidden state says when another prompt goes on with it."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table, banded
from exegete.core.results.finding import Finding
from exegete.core.value import Value

N_SHOWN = 10


class Told(Value):
    """One layer's state of one text, read three ways: `words` the likeliest next tokens in the prompt, `lens` those of the
    logit lens, `generated` how the prompt goes on greedily.
    """

    words: tuple[str, ...]
    lens: tuple[str, ...]
    generated: str = ""


class PatchscopeFinding(Finding):
    """Hidden states of texts, put into a prompt, and what it says then; `layers` name where the states were taken.

    `texts` are the ends of the texts up to the position read, `said` the token that the model itself says there next. `top`
    [layer][text] is the token that the prompt says with the state, `probability` [layer, text] that of `said`. Shares of texts
    [layer]: `precision` for which the prompt says what the model itself says, with `interval` [layer, 2]; `lens` the same
    for the logit lens; `unrelated` for the states of other texts (or other positions of a single one); `repeats` for which the
    prompt says the very token that was read. `copies` is the share of the texts' own last tokens that the prompt, left alone,
    repeats when they are written at its end: whether the model can do what the prompt asks. `told` [layer] is the first text.
    """

    prompt: str
    layers: tuple[str, ...]
    texts: tuple[str, ...]
    said: tuple[str, ...]
    top: tuple[tuple[str, ...], ...]
    probability: np.ndarray
    precision: np.ndarray
    interval: np.ndarray
    lens: np.ndarray
    unrelated: np.ndarray
    repeats: np.ndarray
    copies: float
    told: tuple[Told, ...]

    def figures(self) -> tuple[AnyFigure, ...]:
        """Precision by layer, the first text read layer by layer, and what the prompt says for the first texts."""
        curves = Curves(
            title="From which layer on does the state hold what the model will say?",
            caption="Share of texts for which the prompt, going on with the state, says the model's own next token. After the"
            " last layer nothing is left to go on with, and it must be all.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="share of texts",
            series=(
                banded("patchscope", self.precision, self.interval),
                Series(name="logit lens", y=self.lens),
                Series(name="says the token read", y=self.repeats),
                Series(name="states of unrelated places", y=self.unrelated, control=True),
            ),
        )  # fmt: skip
        return (curves, self._table(), self._grid())

    def _table(self) -> Table:
        return Table(
            title=f"The state at the end of {self.texts[0]!r}, layer by layer",
            caption=f"The model itself says {self.said[0].strip()!r} next.",
            columns=("taken after", "likeliest next in the prompt", "logit lens", "the prompt goes on"),
            rows=tuple(
                (name, _words(t.words), _words(t.lens), t.generated)
                for name, t in zip(self.layers, self.told)
            ),
        )

    def _grid(self) -> Grid:
        n = min(N_SHOWN, len(self.texts))
        return Grid(
            title="What the prompt says with each state",
            caption="One column a text, headed by its end and what the model says next; colour is the probability of that.",
            values=self.probability[:, :n],
            rows=self.layers,
            columns=tuple(f"{t.strip()} → {s.strip()}" for t, s in zip(self.texts[:n], self.said)),
            row_axis="layer",
            column_axis="text",
            unit="probability",
            signed=False,
            texts=tuple(row[:n] for row in self.top),
        )


def _words(tokens: tuple[str, ...]) -> str:
    return " ".join(t.strip() or repr(t) for t in tokens)
