"""What a lens finds: the model's guess after every layer, at every position."""

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
        grid = Grid(
            title="What each layer would say next",
            caption="One row a layer, one column a token read; colour is the probability of the guess.",
            values=self.probability,
            rows=self.layers,
            columns=self.tokens,
            row_axis="layer",
            column_axis="token",
            unit="probability",
            signed=False,
            texts=self.top,
        )
        curve = Curves(
            title="How far each layer is from the output",
            caption="Mean over tokens of KL(output || guess).",
            x=np.arange(len(self.layers), dtype=np.float64),
            x_axis="layer",
            x_names=self.layers,
            y_axis="KL (nats)",
            series=(
                Series(name="this lens", y=self.kl.mean(1)),
                Series(name="shuffled layers' residuals", y=self.kl_control.mean(1), control=True),
            ),
        )
        return (grid, curve)
