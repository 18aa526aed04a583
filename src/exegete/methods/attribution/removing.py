"""What methods that remove units share: how a unit is removed, the game that answers, and scores from Shapley estimates."""

import numpy as np
from pydantic import Field

from exegete.core.text import Unit
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.question import Question
from exegete.models.remove import Game, Removal
from exegete.ops.perturb import Game as Asked
from exegete.ops.perturb import with_total
from exegete.ops.shapley import Estimate


class RemovingMethod(AttributionMethod):
    """Base of methods that ask what the model says without some units, removed by any operator."""

    removal: Removal = Field(
        "auto", description="how a unit is removed: mask, delete, pad, unk, mean, zero, resample"
    )
    draws: int = Field(4, ge=1, le=256, description="random replacements averaged by removal='resample'")
    seed: int = Field(0, ge=0, description="seed of everything random")

    @property
    def repeats(self) -> int:
        """Forwards that one coalition takes."""
        return self.draws if self.removal == "resample" else 1

    def game(self, q: Question, units: tuple[Unit, ...]) -> tuple[Asked, str]:
        """Masks [V, U] -> values [V, R + 1], the outputs and their total; and a note that says how units are removed."""
        game = Game(q, units, self.removal, self.seed, self.draws)
        return with_total(game, q.total), f"Units are removed by {game.how}."


def active(q: Question, units: tuple[Unit, ...]) -> np.ndarray:
    """[R + 1, U] bool: whether a unit can change an output; last, the total."""
    return np.vstack([q.available(units), np.ones(len(units), dtype=bool)])


def shapley_scores(q: Question, units: tuple[Unit, ...], found: Estimate, *notes: str) -> Scores:
    """Scores from an estimate whose last output is the total; units not yet read score 0."""
    return Scores(
        total=found.values[:, -1],
        each=np.where(q.available(units), found.values[:, :-1].T, 0.0),
        stderr=found.stderr[:, -1],
        base_value=float(found.nobody[-1]),
        checks=(found.completeness(),),
        notes=notes,
    )
