"""Occlusion (leave-one-out): how much does the output fall when one unit is removed?

1. remove each unit alone, by the chosen operator;
2. score of unit i = f(x) - f(x without i), for every output and for the total.

Cost: one forward a distinct removal, all in batches; every output comes from the same passes.
Reference: Li, Monroe & Jurafsky 2017, eq. 1 (the difference, not divided by f).
"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.methods.attribution.contract import AttributionMethod, Scores
from exegete.models.question import Question
from exegete.models.remove import Game, Removal


@register
class Occlusion(AttributionMethod):
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

    removal: Removal = Field(
        "auto", description="how a unit is removed: mask, delete, pad, unk, mean, zero, resample"
    )
    draws: int = Field(4, ge=1, le=256, description="random replacements averaged by removal='resample'")
    seed: int = Field(0, ge=0, description="seed of removal='resample'")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a unit (times `draws` for resample)."""
        return units * (self.draws if self.removal == "resample" else 1), 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Scores [R, U] and total [U]: f(x) minus f without the unit."""
        game = Game(q, units, self.removal, self.seed, self.draws)
        whole = q.value()
        without = game(~np.eye(len(units), dtype=bool))
        total = q.total(whole) - q.total(without)
        each = np.where(q.available(units), (whole - without).T, 0.0)
        return Scores(total=total, each=each, notes=(f"Units are removed by {game.how}.",))
