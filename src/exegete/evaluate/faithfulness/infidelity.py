"""Infidelity: how far are the scores of random subsets from what removing them changes?

    INFD = E_S ( a * sum of the scores of S - (f(x) - f(x without S)) )^2  /  E_S ( f(x) - f(x without S) )^2

1. draw subsets S from the text and the seed (`n_sizes` sizes, `n_subsets` each); sizes count alike, subsets of a size too;
2. remove each; 3. the mean squared error of the sums of scores. Lower is better.

With `scaled` the scores are multiplied by the best factor a >= 0 first (the paper's optimal scaling) and the error is divided by
that of scores of zero, so that methods of any unit compare: 0 is perfect, 1 says no more than nothing. A factor below zero is not
allowed, else the opposite of the truth would be perfect too. Without `scaled` a is 1 and nothing is divided: squared units of f.
Not defined (NaN) where no removal changes anything but by rounding.

Cost: n_sizes * n_subsets forwards a text, shared by all explanations and with sensitivity-n.
Reference: Yeh et al. 2019, definition 2.1 with removal of subsets as the perturbation (section 2.2), scaling of appendix A.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.evaluate.contract import Better, Ranking, outcome, whole
from exegete.evaluate.faithfulness.subset_metric import SubsetMetric
from exegete.models.remove import Game
from exegete.ops.rounding import alike


@register
class Infidelity(SubsetMetric):
    """The squared error of the scores of random subsets as a forecast of what removing the subsets changes."""

    id: ClassVar[str] = "infidelity"
    reference: ClassVar[Reference] = Reference(
        authors="Yeh et al.",
        year=2019,
        title="On the (In)fidelity and Sensitivity of Explanations",
        where="arXiv:1901.09392",
        equation="definition 2.1",
    )
    better: ClassVar[Better] = "lower"
    undefined: ClassVar[str] = "no removal moves the value"

    scaled: bool = Field(
        True, description="scale the scores by the best factor, and divide by the error of scores of zero"
    )

    def score_orders(self, game: Game, ranking: Ranking) -> np.ndarray:
        """INFD [K]."""
        gone = self.drawn(game)
        weight = np.concatenate([np.full(len(g), 1 / (len(gone) * len(g))) for g in gone])
        falls = np.concatenate(self.falls(game, gone))
        sums = ranking.scores @ np.concatenate(gone).T
        if not self.scaled:
            return ((sums - falls) ** 2) @ weight
        size, nothing = (sums**2) @ weight, float((falls**2) @ weight)
        if alike(outcome(game, whole(game)) - np.append(0.0, falls)):
            return np.full(len(ranking), np.nan)
        along = ((sums * falls) @ weight).clip(min=0)
        factor = np.divide(along, size, out=np.zeros(len(ranking)), where=size > 0)
        return ((factor[:, None] * sums - falls) ** 2) @ weight / nothing
