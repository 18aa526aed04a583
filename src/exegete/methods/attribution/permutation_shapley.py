"""Shapley values by permutations: units join the text in random orders.

1. draw orders of the units, each followed by its reverse;
2. the contribution of a unit in an order is f(those before it and itself) - f(those before it);
3. the score is the mean over orders; its standard error that of the mean over the independent pairs of orders.

The scores add up to f(x) - f(nothing left) exactly, whatever the number of orders; pairwise interactions are exact too.
Cost: n_samples (n_units - 1) + 2 forwards.
Reference: Castro, Gomez & Tejada 2009, algorithm 1; reversed orders: Mitchell et al. 2022, section 3.
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.methods.attribution.removing import RemovingMethod, shapley_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question
from exegete.ops.shapley import permutation


@register
class PermutationShapley(RemovingMethod):
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

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a unit and order; the empty and the whole text once."""
        return (self.n_samples * (units - 1) + 2) * self.repeats, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Estimated Shapley values [R, U], of the total [U], and their standard errors [U]."""
        game, how = self.game(q, units)
        rng = generator(self.seed, self.id)
        return shapley_scores(q, units, permutation(game, len(units), self.n_samples, rng), how)
