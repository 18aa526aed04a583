"""Split integrated gradients: leave out the part of the path on which the model has already made up its mind.

1. along the straight path from the baseline x' to the input x, find a* = the first a at which f has moved the share `phi`
   of f(x) - f(x') (a grid of 32 forwards, refined three times);
2. part="left": integrate the gradient over 0..a*, where the output still moves; part="right": over a*..1, where it is
   saturated. Left and right together are integrated gradients;
3. self-check: the scores sum to the change of f over the part.

Cost: 99 forwards for a*, then as integrated gradients. Memory is bounded by the token budget.
Reference: Miglani, Kokhlikyan, Alsallakh, Martin & Reblitz-Richardson 2020, sec. 3 (arXiv:2010.12697).
"""

import dataclasses
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.path import Lines, PathMethod, line_to, path_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question
from exegete.ops.paths import crossing

Part = Literal["left", "right"]


@register
class SplitIG(PathMethod):
    """Integrated gradients over the part of the path on which the output still moves."""

    id: ClassVar[str] = "split_ig"
    family: ClassVar[str] = "gradient"
    techniques: ClassVar[tuple[str, ...]] = ("A11",)
    reference: ClassVar[Reference] = Reference(
        authors="Miglani, Kokhlikyan, Alsallakh, Martin & Reblitz-Richardson",
        year=2020,
        title="Investigating Saturation Effects in Integrated Gradients",
        where="arXiv:2010.12697",
        equation="sec. 3",
    )
    needs: ClassVar = ("gradients",)
    passes: ClassVar[str] = (
        "99 forwards, then n_steps forwards + n_steps backwards (auto: 17 to max_steps of each)"
    )

    phi: float = Field(
        0.9, gt=0, le=1, description="share of f(input) - f(baseline) at which the path is cut"
    )
    part: Part = Field(
        "left", description="left: until f has moved that far (unsaturated); right: from there on"
    )
    per_output: bool = Field(
        False, description="also score every output of a longer target, one backward each"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One path, and the forwards that find where it saturates."""
        forwards, backwards = self.path_passes(outputs if self.per_output else 1)
        return forwards + 99, backwards

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [U] that sum to the change of f over the part, and [R, U] of the outputs where asked."""
        whole = line_to(q, units, self.baseline, self.per_output)
        cut = crossing(lambda t: whole.values(np.zeros(len(t), dtype=np.int64), t), self.phi)
        lines = self._half(whole, cut)
        integral = self.integrate(lines)
        note = f"f has moved {self.phi:g} of its way at {cut:.4f} of the path."
        return path_scores(units, lines, integral, integral.parts[0], self.complete(integral), note)

    def _half(self, whole: Lines, cut: float) -> Lines:
        at = whole.points(np.zeros(1, dtype=np.int64), np.array([cut]))[0]
        if self.part == "left":
            return dataclasses.replace(whole, end=at, end_value=None)
        return dataclasses.replace(whole, start=at)
