"""Exact Shapley values: the average contribution of a unit over all orders in which units can join the text.

1. ask the model about every subset of the units (the others removed by the chosen operator);
2. phi_i = sum over S without i of |S|! (U - |S| - 1)! / U! (v(S + i) - v(S)), for every output and the total.

The scores add up to f(x) - f(nothing left). Nothing is sampled, so that the standard error is 0.
Cost: 2^n_units forwards, for at most 12 units.
Reference: Shapley 1953; Lundberg & Lee 2017, eq. 4.
"""

from typing import ClassVar

from exegete.core.errors import UsageError
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.removing import RemovingMethod, shapley_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question
from exegete.ops.shapley import exhaustive


@register
class ExactShapley(RemovingMethod):
    """Shapley values from all subsets of at most 12 units: exact, and the truth that estimators are held to."""

    id: ClassVar[str] = "exact_shapley"
    family: ClassVar[str] = "surrogate"
    techniques: ClassVar[tuple[str, ...]] = ("A17", "A19")
    reference: ClassVar[Reference] = Reference(
        authors="Lundberg & Lee",
        year=2017,
        title="A Unified Approach to Interpreting Model Predictions",
        where="arXiv:1705.07874",
        equation="eq. 4",
    )
    most_units: ClassVar[int] = 12
    passes: ClassVar[str] = "2^n_units forwards (at most 12 units)"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a subset."""
        return 2 ** min(units, self.most_units) * self.repeats, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Shapley values [R, U] and of the total [U]. Raises `UsageError` for more than 12 units."""
        if len(units) > self.most_units:
            raise UsageError(
                f"You asked for exact Shapley values of {len(units)} units.",
                f"They take 2^{len(units)} model passes; the method stops at {self.most_units} units.",
                "Use kernel_shap, permutation_shapley or partition_shapley, or larger units (unit='sentence').",
            )
        game, how = self.game(q, units)
        return shapley_scores(q, units, exhaustive(game, len(units)), how)
