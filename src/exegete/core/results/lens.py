"""What lenses find: the model's guess after every layer, at every position; and a trained lens itself."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series
from exegete.core.results.finding import Finding


class LensGrid(Finding):
    """What each layer would say if it were the last [layer, token].

    `tokens` are what was read; `layers` name the rows. `top` [layer][token] is the most probable next token, `probability`
    its probability, `rank` the rank (0 best) of the token that the model finally says, `entropy` of the guess in nats, `kl`
    the divergence KL(final || guess) in nats.
    """

    tokens: tuple[str, ...]
    layers: tuple[str, ...]
    top: tuple[tuple[str, ...], ...]
    probability: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray
    kl: np.ndarray
    kl_control: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """The grid of guesses coloured by probability, then KL by layer."""
        curve = Curves(
            title="How far each layer is from the output",
            caption="Mean over tokens of KL(output || guess).",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="KL (nats)",
            series=(
                Series(name="this lens", y=self.kl.mean(1)),
                Series(name="shuffled positions", y=self.kl_control.mean(1), control=True),
            ),
        )
        return (guesses(self), curve)


class TunedLensGrid(Finding):
    """The same grid through trained translators, and the translators: the saved lens.

    Fields of the grid as in `LensGrid`. `weight` [layer, d, d] and `bias` [layer, d] translate the residual before layer 0
    and after every layer but the last: h + h @ weight + bias. On texts the training never saw, by row of the grid: `held_out`
    [layer + 1] is the mean KL(output || guess) of this lens, with `held_out_interval` [layer + 1, 2], `held_out_plain` that of
    the logit lens; `blind` is the KL of the best guess that reads nothing.
    """

    tokens: tuple[str, ...]
    layers: tuple[str, ...]
    top: tuple[tuple[str, ...], ...]
    probability: np.ndarray
    rank: np.ndarray
    entropy: np.ndarray
    kl: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    held_out: np.ndarray
    held_out_interval: np.ndarray
    held_out_plain: np.ndarray
    blind: float

    def figures(self) -> tuple[AnyFigure, ...]:
        """The grid of guesses, then KL by layer on held-out texts."""
        low, high = self.held_out_interval.T
        curve = Curves(
            title="How far each layer is from the output, on texts the training never saw",
            caption="Mean KL(output || guess), with its 95 % interval over texts.",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="KL (nats)",
            series=(
                Series(name="tuned lens", y=self.held_out, low=low, high=high),
                Series(name="logit lens", y=self.held_out_plain),
                Series(
                    name="a guess that reads nothing", y=np.full(len(self.layers), self.blind), control=True
                ),
            ),
        )
        return (guesses(self), curve)


def guesses(found: LensGrid | TunedLensGrid) -> Grid:
    """The grid of guesses, coloured by probability."""
    return Grid(
        title="What each layer would say next",
        caption="One row a layer, one column a token read; colour is the probability of the guess.",
        values=found.probability,
        rows=found.layers,
        columns=found.tokens,
        row_axis="layer",
        column_axis="token",
        unit="probability",
        signed=False,
        texts=found.top,
    )
