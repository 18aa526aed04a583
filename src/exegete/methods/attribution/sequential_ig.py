"""Sequential integrated gradients: each token has a baseline of its own, the input with only that token replaced.

1. for token i: x^i = the input with token i's embedding at the baseline (the mask where there is one), all others in place;
2. score of token i = sum over its coordinates of (x_i - x^i_i) . integral over a in 0..1 of df(x^i + a (x - x^i))/dx_i;
   of a unit = the sum over its tokens;
3. self-check: each token's score is f(x) - f(x^i), since nothing else moves on its path.

Cost: n_tokens x n_steps forwards and backwards ("auto": 9 or more a token), and one forward a token for f(x^i) with a fixed
n_steps. The tokens' points share their batches. Memory is bounded by the token budget.
Reference: Enguehard 2023, eq. 3 (arXiv:2305.15853).
"""

import dataclasses
from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.path import PathMethod, line_to, path_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question


@register
class SequentialIG(PathMethod):
    """Integrated gradients token by token: each from the text with only that token masked."""

    id: ClassVar[str] = "sequential_ig"
    family: ClassVar[str] = "gradient"
    techniques: ClassVar[tuple[str, ...]] = ("A15",)
    reference: ClassVar[Reference] = Reference(
        authors="Enguehard",
        year=2023,
        title="Sequential Integrated Gradients: a simple but effective method for explaining language models",
        where="arXiv:2305.15853",
        equation="eq. 3",
    )
    needs: ClassVar = ("gradients",)
    passes: ClassVar[str] = "n_tokens x n_steps forwards and backwards (auto: 9 to max_steps a token)"

    per_output: bool = Field(
        False, description="also score every output of a longer target, one backward each"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One path a unit."""
        forwards, backwards = self.path_passes(outputs if self.per_output else 1)
        return units * forwards, units * backwards

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [U], and [R, U] of the outputs where asked."""
        slots = sorted({i for u in units for i in u.tokens})
        lines = dataclasses.replace(line_to(q, units, self.baseline, self.per_output), slots=slots)
        integral = self.integrate(lines)
        parts = np.zeros((*integral.parts.shape[1:-1], len(q.ids)))
        parts[..., slots] = np.moveaxis(integral.parts[..., 0], 0, -1)
        words = "each token's score is f(input) - f(input without it), as a share of the largest; above it, take more n_steps"
        scores = path_scores(units, lines, integral, parts, self.complete(integral, words))
        return dataclasses.replace(scores, base_value=float("nan"))
