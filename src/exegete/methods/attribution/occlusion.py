"""Occlusion (leave-one-out): how much does the output fall when one unit is removed?

1. remove each unit alone, by the chosen operator;
2. score of unit i = f(x) - f(x without i), for every output and for the total.

Cost: one forward a distinct removal, all in batches; every output comes from the same passes.
Reference: Li, Monroe & Jurafsky 2017, eq. 1 (the difference, not divided by f).
"""

from typing import ClassVar

import numpy as np

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.removing import RemovingMethod
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question


@register
class Occlusion(RemovingMethod):
    """How much the output falls when a unit is removed, one unit at a time."""

    id: ClassVar[str] = "occlusion"
    family: ClassVar[str] = "perturbation"
    techniques: ClassVar[tuple[str, ...]] = ("A1", "A2")
    reference: ClassVar[Reference] = Reference(
        authors="Li, Monroe & Jurafsky",
        year=2017,
        title="Understanding Neural Networks through Representation Erasure",
        where="arXiv:1612.08220",
        equation="eq. 1",
    )
    passes: ClassVar[str] = "n_units forwards"

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a unit (times `draws` for resample)."""
        return units * self.repeats, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [R, U] and total [U]: f(x) minus f without the unit."""
        game, how = self.game(q, units)
        whole = q.value()
        drop = np.append(whole, q.total(whole)) - game(~np.eye(len(units), dtype=bool))
        each = np.where(q.available(units), drop[:, :-1].T, 0.0)
        return Scores(total=drop[:, -1], each=each, notes=(how,))
