"""Shapley values by permutations: units join the text in random orders.

1. draw orders of the units, each followed by its reverse;
2. the contribution of a unit in an order is f(those before it and itself) - f(those before it);
3. the score is the mean over orders; its standard error that of the mean over the independent pairs of orders.

The scores add up to f(x) - f(nothing left) exactly, whatever the number of orders; pairwise interactions are exact too.
Cost: n_samples (n_units - 1) + 2 forwards.
Reference: Castro, Gomez & Tejada 2009, algorithm 1; reversed orders: Mitchell et al. 2022, section 3.
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.methods.attribution.contract import AttributionMethod, Scores
from exegete.models.question import Question
from exegete.models.remove import Game, Removal
from exegete.ops.perturb import with_total
from exegete.ops.shapley import permutation


@register
class PermutationShapley(AttributionMethod):
    """Shapley values from random orders of the units and their reverses, with standard errors."""

    id: ClassVar[str] = "permutation_shapley"
    family: ClassVar[str] = "surrogate"
    techniques: ClassVar[tuple[str, ...]] = ("A17", "A19")
    reference: ClassVar[Reference] = Reference(
        authors="Castro, Gomez & Tejada",
        year=2009,
        title="Polynomial calculation of the Shapley value based on sampling",
        where="doi:10.1016/j.cor.2008.04.004",
        equation="algorithm 1",
    )
    passes: ClassVar[str] = "n_samples x (n_units - 1) + 2 forwards"

    n_samples: int = Field(
        24, ge=4, le=100_000, multiple_of=2, description="orders, half of them reverses of the others"
    )
    removal: Removal = Field(
        "auto", description="how a unit is removed: mask, delete, pad, unk, mean, zero, resample"
    )
    draws: int = Field(4, ge=1, le=256, description="random replacements averaged by removal='resample'")
    seed: int = Field(0, ge=0, description="seed of the orders and of removal='resample'")

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Estimated Shapley values [R, U], of the total [U], and their standard errors [U]."""
        game = Game(q, units, self.removal, self.seed, self.draws)
        rng = generator(self.seed, self.id)
        found = permutation(with_total(game, q.total), len(units), self.n_samples, rng)
        return Scores(
            total=found.values[:, -1],
            each=np.where(q.available(units), found.values[:, :-1].T, 0.0),
            stderr=found.stderr[:, -1],
            base_value=float(found.nobody[-1]),
            checks=(found.completeness(),),
            notes=(f"Units are removed by {game.how}.",),
        )
