"""What the soft metrics share: a text of which every unit is erased a little, by as much as its score says.

1. the scores are brought to 0 .. 1 (the lowest and the highest of the text); 2. every element of a unit's embeddings stays with the
probability that its score gives it, else it becomes zero (or that element of the mask, padding or unknown token, of the mean embedding,
or of a token that is drawn); 3. the mean value over `n_draws` masks. The noise behind the masks comes from the text and the seed
alone, so that explanations compare.

How much is lost is told as a share of what is lost when nothing at all is left, within 0 .. 1, which holds on any scale.
Shapes: K explanations, U units, S slots, D draws, d width. Cost: n_draws forwards a distinct row of scores, and two.
"""

from dataclasses import dataclass, field
from typing import ClassVar, get_args

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import UsageError
from exegete.core.reference import Reference
from exegete.core.seed import generator
from exegete.core.text import Unit
from exegete.evaluate.contract import FaithfulnessMetric, Ranking
from exegete.models.question import Question
from exegete.models.remove import Game, Removing, baseline
from exegete.ops.rounding import ROUNDING


@dataclass
class SoftGame(Game):
    """A game whose units can also be left in part: `soft` gives output values for shares that stay."""

    noise_seed: int = 0
    n_draws: int = 2
    _soft: dict[bytes, np.ndarray] = field(default_factory=dict, repr=False)

    def soft(self, stay: np.ndarray) -> np.ndarray:
        """The judged value [K] when every element of unit u stays with the probability `stay` [K, U]."""
        stay = np.ascontiguousarray(stay, dtype=np.float64)
        keys = [row.tobytes() for row in stay]
        todo = [k for k in dict.fromkeys(keys) if k not in self._soft]
        rows = self._slot_shares(np.array([np.frombuffer(k) for k in todo]).reshape(-1, self.n))
        own = self.question.embeddings()
        gone = self._gone()
        noise = self._noise(own)
        draws = self.n_draws

        def points(part: slice) -> Tensor:
            at = np.arange(part.start, part.stop)
            share = torch.tensor(rows[at // draws], device=own.device, dtype=noise.dtype)
            return torch.where(noise[at % draws] < share[..., None], own, gone[at % draws % len(gone)])

        values = self.question.ask_points(points, len(todo) * draws)
        means = values.reshape(len(todo), draws, values.shape[-1]).mean(1)
        self._soft.update(zip(todo, means))
        return self.question.total(np.stack([self._soft[k] for k in keys]))

    def _gone(self) -> Tensor:
        """What erased elements become [draw, S, d]; one draw where nothing is drawn."""
        if self.how not in ("resample", "infill"):
            return baseline(self.question, self.how)[None]
        texts = self.texts(self.slots(np.zeros((1, self.n), dtype=bool)))[0]
        return torch.stack([self.question.embeddings(ids) for ids in texts])

    def _slot_shares(self, stay: np.ndarray) -> np.ndarray:
        """[K, S] from [K, U]: slots in no unit stay whole."""
        shares = np.ones((len(stay), len(self.question.ids)))
        for u, unit in enumerate(self.units):
            shares[:, list(unit.tokens)] = stay[:, u, None]
        return shares

    def _noise(self, own: Tensor) -> Tensor:
        rng = generator(self.noise_seed, "soft erasure", self.question.ids.tolist())
        return torch.tensor(rng.random((self.n_draws, *own.shape), dtype=np.float32), device=own.device)


class SoftMetric(FaithfulnessMetric):
    """Base of the soft metrics."""

    reference: ClassVar[Reference] = Reference(
        authors="Zhao & Aletras",
        year=2023,
        title="Incorporating Attribution Importance for Improving Faithfulness Metrics",
        where="arXiv:2305.10496",
        equation="section 4",
    )
    passes: ClassVar[str] = "n_draws forwards a distinct row of scores"
    by_order: ClassVar[bool] = False
    undefined: ClassVar[str] = "all scores are equal, or the text says no more than a text of nothing does"
    removals: ClassVar[tuple[str, ...]] = tuple(r for r in get_args(Removing) if r != "delete")

    removal: Removing = Field(
        "auto",
        description="what an erased element becomes: zero as published (auto), or that of the mask, pad or unk token, the mean "
        "embedding, or a drawn token (resample, infill)",
    )
    n_draws: int = Field(2, ge=1, le=10_000, description="random masks whose values are averaged")
    seed: int = Field(0, ge=0, description="seed of the masks")

    def game(self, question: Question, units: tuple[Unit, ...]) -> SoftGame:
        """The soft game. Raises `UsageError` for a removal that leaves no embedding behind."""
        if self.removal not in self.removals:
            raise UsageError(
                f"You asked for {self.id} with removal={self.removal!r}.",
                "Soft erasure takes away parts of an embedding, and that removal has no embedding to put there.",
                "Use auto (zero), mask, pad, unk, mean, resample or infill.",
            )
        how = "zero" if self.removal == "auto" else self.removal
        return SoftGame(
            question, units, how, self.draw_seed, self.draws, self.infiller,
            noise_seed=self.seed, n_draws=self.n_draws,
        )  # fmt: skip

    def lost(self, game: Game, ranking: Ranking, erase: bool) -> np.ndarray:
        """Share [K] of the value that is lost when units are erased by their scores, or (`erase` False) left by them.

        NaN for constant scores, and where the text says no more than nothing does.
        """
        if not isinstance(game, SoftGame):
            raise UsageError(
                f"You asked for {self.id} on a game of units that are in or out.",
                "It erases units in part.",
                f"Make the game with {type(self).__name__}.game(question, units).",
            )
        low, high = ranking.scores.min(1, keepdims=True), ranking.scores.max(1, keepdims=True)
        wide = (high > low)[:, 0]
        share = (ranking.scores - low) / np.where(high > low, high - low, 1)
        whole = float(game.question.total(game.question.value()))
        most = whole - float(game.question.total(game(np.zeros((1, game.n), dtype=bool)))[0])
        out = np.full(len(ranking), np.nan)
        if most > ROUNDING * abs(whole) and wide.any():
            left = game.soft(1 - share[wide] if erase else share[wide])
            out[wide] = ((whole - left) / most).clip(0, 1)
        return out
