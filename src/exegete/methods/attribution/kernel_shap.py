"""Kernel SHAP: Shapley values from one weighted regression over sampled subsets of the units.

1. sample subsets (`sampling`, see `ops.kernel`), remove the other units, ask the model;
2. regress the outputs on which units are kept, with the Shapley kernel as weights, under the exact constraint that the
   scores add up to f(x) - f(nothing left);
3. with over="tokens" the players are the units' tokens, and the scores of a unit's tokens are added (TransSHAP).

When all subsets fit into `n_samples`, the values are exact and the standard error is 0.
Cost: at most n_samples forwards, all different.
Reference: Lundberg & Lee 2017, theorem 2; leverage sampling: Musco & Witter 2024, algorithm 1; tokens to words: Kokalj et
al. 2021, section 3.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.methods.attribution.removing import RemovingMethod, active, shapley_scores
from exegete.methods.contracts.attribution import Scores
from exegete.models.question import Question
from exegete.ops.kernel import Sampling, kernel


@register
class KernelShap(RemovingMethod):
    """Shapley values by weighted regression over sampled subsets, with standard errors."""

    id: ClassVar[str] = "kernel_shap"
    family: ClassVar[str] = "surrogate"
    techniques: ClassVar[tuple[str, ...]] = ("A17", "A18", "A19")
    reference: ClassVar[Reference] = Reference(
        authors="Lundberg & Lee; Musco & Witter",
        year=2017,
        title="A Unified Approach to Interpreting Model Predictions",
        where="arXiv:1705.07874, arXiv:2410.01917",
        equation="theorem 2; algorithm 1",
    )
    passes: ClassVar[str] = "n_samples forwards (2^n_units if that is less)"

    n_samples: int = Field(
        512, ge=4, le=1_000_000, description="most inputs asked, the whole and the empty one included"
    )
    sampling: Sampling = Field(
        "leverage", description="kernel (plain), paired (with complements) or leverage (the best)"
    )
    over: Literal["units", "tokens"] = Field(
        "units", description="players: units, or their tokens added up to units"
    )

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a sampled subset; where players are units, never more than there are subsets."""
        most = 2**units if self.over == "units" and units < 62 else self.n_samples
        return min(self.n_samples, most) * self.repeats, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Estimated Shapley values [R, U], of the total [U], and their standard errors [U]."""
        players = units if self.over == "units" else _tokens(units)
        game, how = self.game(q, players)
        found = kernel(
            game,
            len(players),
            self.n_samples,
            generator(self.seed, self.id, self.sampling),
            self.sampling,
            active=active(q, players),
            pool=np.array([[p.tokens[0] in u.tokens for p in players] for u in units], dtype=float),
        )
        notes = [how.replace("Units", self.over.capitalize())]
        if np.isnan(found.stderr[:, -1]).any():
            notes.append(
                f"{self.n_samples} samples are too few for {len(players)} players: no standard error."
            )
        return shapley_scores(q, units, found, *notes)


def _tokens(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """One player a token of the units."""
    return tuple(Unit(u.text, (t,), u.start, u.end, u.role, u.segment) for u in units for t in u.tokens)
