"""Input reduction: the shortest input that the model still answers in the same way.

1. leave out each unit that is left, in turn;
2. of the inputs whose answer (argmax at the first output) is unchanged, keep the `beam_width` that the model is surest of;
3. repeat until every further removal would change the answer.

What is left is the reduced input; it is often nonsense to a reader, which is what the method is for. The score of a unit
is its rank: the order in which it was given up, and for units of the reduced input, the order in which the answer's
probability needs them; divided by the number of units, so that the most needed unit scores 1.
Cost: at most beam_width n_units^2 / 2 forwards.
Reference: Feng et al. 2018, section 2 (exact leave-one-out in place of its gradient approximation).
"""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.text import Unit
from exegete.core.trust import Check
from exegete.methods.contracts.attribution import AttributionMethod, Scores
from exegete.models.question import Branch, Question
from exegete.models.remove import Game, operator, token_id

Path = tuple[int, ...]  # units in the order in which they were given up


@register
class InputReduction(AttributionMethod):
    """Rank of each unit when units are given up one by one as long as the model's answer stays the same."""

    id: ClassVar[str] = "input_reduction"
    family: ClassVar[str] = "perturbation"
    techniques: ClassVar[tuple[str, ...]] = ("A4",)
    reference: ClassVar[Reference] = Reference(
        authors="Feng et al.",
        year=2018,
        title="Pathologies of Neural Models Make Interpretations Difficult",
        where="D18-1407",
        equation="section 2.2",
    )
    passes: ClassVar[str] = "at most beam_width x n_units^2 / 2 forwards"

    beam_width: int = Field(1, ge=1, le=64, description="how many reduced inputs are followed at a time")
    removal: Literal["delete", "mask", "pad", "unk"] = Field("delete", description="how a unit is removed")

    def estimate(self, units: int, outputs: int) -> tuple[int, int]:
        """One forward a unit that is left, at every removal."""
        return self.beam_width * units * (units + 1) // 2 + 1, 0

    def attribute(self, q: Question, units: tuple[Unit, ...]) -> Scores:
        """Ranks of the total [U] in (0, 1]; magnitudes, not signed."""
        game = _Answers(q, units, self.removal)
        path = self._search(game, len(units))
        kept = [u for u in range(len(units)) if u not in path]
        rest = [kept[i] for i in np.argsort(-game.sure([(*path, u) for u in kept]), kind="stable")]
        rank = np.empty(len(units))
        rank[[*path, *rest]] = (1 + np.arange(len(units))) / len(units)
        before, after = np.exp(game.sure([(), path]))
        same = game.same([path])[0]
        words = "1 when the model answers the reduced input otherwise than the whole one"
        return Scores(
            total=rank,
            signed=False,
            checks=(Check.at_most("answer changed", float(not same), 0.0, words),),
            notes=(
                f"Reduced input: {' '.join(units[u].text for u in kept)!r} ({len(kept)} of {len(units)} units); "
                f"probability of the answer {before:.3g} -> {after:.3g}.",
                *game.notes,
            ),
        )

    def _search(self, game: "_Answers", n: int) -> Path:
        """The longest path of removals that keeps the answer; of equal ones the one the model is surest of at its end."""
        beam: list[Path] = [()]
        while len(beam[0]) < n - 1:
            longer = {frozenset(p) | {u}: (*p, u) for p in reversed(beam) for u in range(n) if u not in p}
            paths = list(longer.values())
            paths = [p for p, same in zip(paths, game.same(paths)) if same]
            if not paths:
                break
            order = np.argsort(-game.sure(paths), kind="stable")[: self.beam_width]
            beam = [paths[i] for i in order]
        return beam[0]


class _Answers:
    """The model's answer, and how sure it is of the original one, when units are given up."""

    def __init__(self, q: Question, units: tuple[Unit, ...], how: str) -> None:
        self.slots, self.how, self.n = Game(q, units, how).slots, operator(q, how), len(units)
        self.answer = int(q.argmax(q.ids[None])[0])
        row = q.branches[0].rows[0]
        self.notes: tuple[str, ...] = (
            ()
            if row.id == self.answer
            else ("The answer that is kept is what the model predicts, not the target.",)
        )
        if q.n_outputs > 1:
            self.notes += ("Only the answer at the first output is kept.",)
        asked = Branch((replace(row, id=self.answer, foil=None),), q.branches[0].tail)
        self.q = replace(q, branches=(asked,), scale="logprob", against="", _memo={}, _answers={})

    def same(self, paths: list[Path]) -> np.ndarray:
        """Whether the answer is the original one [V] bool."""
        return self.q.argmax(*self._inputs(paths)) == self.answer

    def sure(self, paths: list[Path]) -> np.ndarray:
        """Log-probability of the original answer [V]."""
        return self.q.ask(*self._inputs(paths))[:, 0]

    def _inputs(self, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        keep = np.array([[u not in p for u in range(self.n)] for p in paths]).reshape(len(paths), self.n)
        slots, ids = self.slots(keep), self.q.ids
        if self.how == "delete":
            return np.broadcast_to(ids, slots.shape), slots
        return np.where(slots, ids, token_id(self.q, self.how)), np.ones(slots.shape, dtype=bool)
