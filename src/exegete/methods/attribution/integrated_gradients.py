"""Integrated gradients: the difference between the input and a baseline, shared out over the tokens along a straight path.

1. x' = the input with the embeddings of all explained tokens at the baseline; other slots (specials) stay;
2. score of token i = sum over its coordinates of (x_i - x'_i) . integral over a in 0..1 of df(x' + a (x - x'))/dx_i;
3. a fixed n_steps uses a quadrature rule; n_steps="auto" halves the pieces of the path on which the gradient does not yet
   add up to the change of f, until all of it does within `tolerance` (`ops.paths.refine`); points are never computed twice;
4. self-check: the scores sum to f(x) - f(x') within `tolerance` (completeness).

Cost: n_steps forwards and backwards, and one forward for f(x') ("auto": f(x') is one of the points; 17 points at least).
With `per_output` one backward a step and output. Memory is bounded by the token budget, whatever n_steps.
Reference: Sundararajan, Taly & Yan 2017, eq. 1 (arXiv:1703.01365).
"""

from typing import ClassVar

from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.path import PathMethod, line_to, path_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question


@register
class IntegratedGradients(PathMethod):
    """The gradient summed up from a baseline to the input: shares that add up to what the text changes."""

    id: ClassVar[str] = "integrated_gradients"
    family: ClassVar[str] = "gradient"
    techniques: ClassVar[tuple[str, ...]] = ("A10",)
    reference: ClassVar[Reference] = Reference(
        authors="Sundararajan, Taly & Yan",
        year=2017,
        title="Axiomatic Attribution for Deep Networks",
        where="arXiv:1703.01365",
        equation="eq. 1",
    )
    needs: ClassVar = ("gradients",)
    passes: ClassVar[str] = "n_steps forwards + n_steps backwards + 1 forward (auto: 17 to max_steps of each)"

    per_output: bool = Field(
        False, description="also score every output of a longer target, one backward each"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward and one backward a step of the path."""
        return self.path_passes(outputs if self.per_output else 1)

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [U] that sum to f(x) - f(x'), and [R, U] of the outputs where asked."""
        lines = line_to(q, units, self.baseline, self.per_output)
        integral = self.integrate(lines)
        return path_scores(units, lines, integral, integral.parts[0], self.complete(integral))
