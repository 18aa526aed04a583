"""How a model goes from the content of the right option to its letter."""

import numpy as np

from exegete.core.figure import AnyFigure, Curves, Grid, Series, Table
from exegete.core.results.finding import Finding


class MultipleChoice(Finding):
    """Which heads bring the correct letter to the end of a multiple-choice prompt.

    `letters` name the options. `accuracy` and `accuracy_blind` are over letters, with the question and without it. `effect`
    [layer, head] is the mean change of logit(correct letter) - logit(the letter of the other order) when the head's output
    at the last token is taken from the same question with its options in another order. `top` are the (layer, head) that
    matter most; `looks` [top, 3] is their attention from the last token to the correct option, to a wrong one (mean), and
    to everything else. `kept` and `kept_random` [rank] is the share of the logit difference that stays when the keys of the
    options, in the first of them, keep only the leading `ranks` directions, or as many random ones.
    """

    letters: tuple[str, ...]
    accuracy: float
    accuracy_blind: float
    effect: np.ndarray
    top: tuple[tuple[int, int], ...]
    looks: np.ndarray
    ranks: tuple[int, ...]
    kept: np.ndarray
    kept_random: np.ndarray

    def figures(self) -> tuple[AnyFigure, ...]:
        """Heads, where they look, and the rank of what they read."""
        layers, heads = self.effect.shape
        grid = Grid(
            title="Heads that bring the letter",
            caption="Change of the logit difference when the head's output at the last token comes from the other order.",
            values=self.effect,
            rows=tuple(f"layer {i}" for i in range(layers)),
            columns=tuple(f"head {i}" for i in range(heads)),
            row_axis="layer",
            column_axis="head",
            unit="logit difference",
            marked=self.top,
        )
        table = Table(
            title="Where these heads look from the last token",
            columns=("head", "correct option", "a wrong option (mean)", "elsewhere"),
            rows=tuple((f"{k}.h{h}", *map(float, row)) for (k, h), row in zip(self.top, self.looks)),
        )
        curve = Curves(
            title="How many directions of the keys it takes",
            caption=f"Keys of the options in head {self.top[0][0]}.h{self.top[0][1]}, cut to a subspace.",
            x=np.array(self.ranks, dtype=np.float64),
            x_axis="rank",
            y_axis="share of the logit difference kept",
            series=(
                Series(name="leading directions", y=self.kept),
                Series(name="random directions", y=self.kept_random, control=True),
            ),
        )
        return (grid, table, curve)
