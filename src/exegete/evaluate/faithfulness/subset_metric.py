"""What metrics that remove random subsets share: the subsets come from the text and a seed, never from an explanation.

So all explanations of a text are held against the same passes, and so are the metrics with one another.
Shapes: U units, S subsets of one size. Cost: n_sizes * n_subsets forwards a text at most, whatever the number of explanations.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.seed import generator
from exegete.evaluate.contract import FaithfulnessMetric, outcome, whole
from exegete.models.remove import Game
from exegete.ops.subsets import spread_sizes, subsets_of_size


class SubsetMetric(FaithfulnessMetric):
    """Base of the metrics that hold sums of scores against what removing random subsets changes."""

    passes: ClassVar[str] = "n_sizes * n_subsets forwards a text, shared by all explanations"
    by_order: ClassVar[bool] = False

    n_sizes: int = Field(
        5, ge=1, le=1000, description="sizes of the subsets, spread from one unit to all but one"
    )
    n_subsets: int = Field(
        20, ge=2, le=100_000, description="random subsets of each size; all where fewer exist"
    )
    seed: int = Field(0, ge=0, description="seed of the subsets")

    def drawn(self, game: Game) -> tuple[np.ndarray, ...]:
        """The subsets that are removed, [S, U] bool for each size."""
        rng = generator(self.seed, "removed subsets", game.question.ids.tolist(), game.n)
        sizes = spread_sizes(game.n, self.n_sizes)
        return tuple(subsets_of_size(game.n, int(k), self.n_subsets, rng) for k in sizes)

    def falls(self, game: Game, gone: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """f(x) - f(x without each subset), [S] for each size; all sizes go forward together."""
        left = outcome(game, ~np.concatenate(gone))
        return np.split(outcome(game, whole(game)) - left, np.cumsum([len(g) for g in gone])[:-1])
