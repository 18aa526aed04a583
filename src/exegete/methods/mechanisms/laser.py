"""LASER: does a model know facts better when one of its weights has a lower rank?

1. facts are dealt in two halves: one chooses, the other is held out; every fact is asked in all its wordings;
2. every matrix of every layer is replaced by its best approximation of each rank tried (`models.rank_reduction`), and the
   facts are asked again, from that layer on;
3. the layer, type and rank that raise the answer's log-probability most on the choosing half are the edit; it is scored
   on the half that was held out.

Chance is the model left alone (0). Controls: a random projection of the same rank of the same weight; and the same share
kept of any other weight. The finding is the edit: save it, and `models.rewrite` applies and undoes it exactly.

Cost: a forward a wording, and for each matrix and rank about half a forward a wording; one decomposition a matrix. The
residual before each layer tried is kept. Reference: Sharma, Ash & Misra 2023, "The Truth is in There: Improving Reasoning in
Language Models with Layer-Selective Rank Reduction" (arXiv:2312.13558), sec. 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Fact
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.edits import WeightDelta
from exegete.core.results.low_rank import LowRank
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.fact_sheet import Sheet, fact_sheet
from exegete.models.lab import Lab
from exegete.models.rank_reduction import Matrix, matrices, truncated
from exegete.ops.stats import bootstrap_mean

RANDOM, OTHERS = "a random projection of the same rank", "the same share kept of another weight"


class Lowered(Value):
    """One fact: log-probability of its answer and share of wordings answered rightly, `before` [2] and with every matrix at every
    rank, `after` [matrix, share, 2]; or `why` it was not asked.
    """

    before: np.ndarray = np.zeros(0)
    after: np.ndarray = np.zeros(0)
    why: str = ""


@register
class Laser(Divided):
    """Finds the weight whose rank is better reduced: facts choose it, others that were held out say whether it helps."""

    id: ClassVar[str] = "laser"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H30",)
    verb: ClassVar[str] = "edit"
    asks: ClassVar[Any] = "facts"
    least: ClassVar[int] = 2
    finds: ClassVar[type] = LowRank
    part: ClassVar[type[Value]] = Lowered
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="Sharma, Ash & Misra", year=2023, where="arXiv:2312.13558", equation="sec. 4",
        title="The Truth is in There: Improving Reasoning in Language Models with Layer-Selective Rank Reduction",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "weights")
    passes: ClassVar[str] = "about n_matrices * n_ranks / 2 forwards a wording"
    keep: tuple[float, ...] = Field(
        (0.01, 0.05, 0.1, 0.25, 0.5), min_length=1, description="shares of the full rank that are tried"
    )
    types: tuple[str, ...] = Field(
        (), description="only matrices whose place in the block has one of these words; none: all"
    )
    n_layers: int = Field(12, ge=1, description="most layers that are tried, spread evenly")
    n_draws: int = Field(5, ge=1, le=1000, description="random projections, the control")
    seed: int = Field(0, description="seed of the halves and the random projections")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Lowered]:
        """Every matrix and rank on all facts."""
        if not all(0 < k <= 1 for k in self.keep):
            raise UsageError(
                f"You asked to keep the shares {self.keep} of the rank.",
                "A share lies above 0 and is at most 1.",
                "Give for example keep=0.01,0.1,0.5.",
            )
        tried = self._matrices(lab)
        sheet, failed = fact_sheet(lab, items, sorted({m.layer for m in tried}))
        before, after = np.zeros((0, 2)), np.zeros((0, 0, 0, 2))
        if sheet is not None:
            before = sheet.before
            after = np.stack([self._of_matrix(lab, sheet, m) for m in _shown(lab, tried)], 0).transpose(
                2, 0, 1, 3
            )
        why, asked = {id(fact): words for fact, words in failed}, iter(zip(before, after))
        parts = []
        for fact in items:
            if id(fact) in why:
                parts.append(Lowered(why=why[id(fact)]))
                continue
            own, changed = next(asked)
            parts.append(Lowered(before=own, after=changed))
        return parts

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Lowered], target: Target, n_failed: int = 0
    ) -> LowRank:
        """One half of the facts chooses; the other is held out, and asked with random projections too."""
        failed = [(fact, p.why) for fact, p in zip(items, parts) if p.why]
        facts, kept = [f for f, p in zip(items, parts) if not p.why], [p for p in parts if not p.why]
        if len(kept) < 2:
            why = failed[0][1] if failed else "There is one fact."
            raise InputError(
                f"You asked which weight is better reduced for {len(items)} facts.",
                f"Two are needed, one to choose and one to be held out: {why}",
                "Give more facts that the model can be asked.",
            )
        tried = self._matrices(lab)
        chooses = np.zeros(len(facts), dtype=bool)
        chooses[lab.rng("halves").permutation(len(chooses))[: len(chooses) // 2]] = True
        before = np.stack([p.before for p in kept])
        change = np.stack([p.after for p in kept], 2) - before
        best = np.unravel_index(int(change[:, :, chooses, 0].mean(-1).argmax()), change.shape[:2])
        chosen, share = tried[int(best[0])], int(best[1])
        held = [f for f, c in zip(facts, chooses) if not c]
        random = self._random(lab, held, chosen) - before[~chooses]
        found = _Found(tried, self.keep, change, chooses, chosen, share, random, before)
        return found.finding(failed, n_failed)

    def _matrices(self, lab: Lab) -> tuple[Matrix, ...]:
        every = matrices(lab.model.map)
        layers = sorted({m.layer for m in every})
        picks = np.linspace(0, len(layers) - 1, min(self.n_layers, len(layers))).round().astype(int)
        wanted = {layers[i] for i in picks}
        found = tuple(
            m for m in every
            if m.layer in wanted and (not self.types or any(t in m.type for t in self.types))
        )  # fmt: skip
        if not found:
            raise UsageError(
                f"You asked to reduce the weights {', '.join(self.types)}.",
                "No matrix of a block is called so.",
                f"Known: {', '.join(dict.fromkeys(m.type for m in every))}.",
            )
        return found

    def _of_matrix(self, lab: Lab, sheet: Sheet, m: Matrix) -> np.ndarray:
        """What is said about each fact [share, fact, 2] with the matrix at each rank."""
        parts = m.decomposed()
        return np.stack([sheet.asked(lab, m, truncated(parts, m.rank(k))) for k in self.keep])

    def _random(self, lab: Lab, facts: Sequence[Fact], m: Matrix) -> np.ndarray:
        """The same [draw, share, fact, 2] with random projections."""
        rng = lab.rng("projections", m.name)
        sheet, _ = fact_sheet(lab, facts, [m.layer])
        if sheet is None:
            return np.zeros((self.n_draws, len(self.keep), 0, 2))
        return np.stack([
            np.stack([sheet.asked(lab, m, m.projected(m.rank(k), rng)) for k in self.keep]) for _ in range(self.n_draws)
        ])  # fmt: skip


def _shown(lab: Lab, tried: Sequence[Matrix]) -> Any:
    """The matrices, one after the other, with progress."""
    with lab.working(len(tried), "reducing weights") as step:
        for m in tried:
            yield m
            step()


@dataclass(frozen=True, eq=False)
class _Found:
    """`change` [matrix, share, fact, 2] of (log-probability, rightness); `random` [draw, share, held-out fact, 2]."""

    tried: tuple[Matrix, ...]
    keep: tuple[float, ...]
    change: np.ndarray
    chooses: np.ndarray
    chosen: Matrix
    share: int
    random: np.ndarray
    before: np.ndarray

    def finding(self, failed: list[tuple[Fact, str]], n_failed: int) -> LowRank:
        """The edit with its scores."""
        types = tuple(dict.fromkeys(m.type for m in self.tried))
        layers = sorted({m.layer for m in self.tried})
        held, right = self._grid(~self.chooses, 0), self._grid(~self.chooses, 1)
        m, k = self.chosen, self.chosen.rank(self.keep[self.share])
        new = truncated(m.decomposed(), k)
        delta = WeightDelta(parameter=m.name, whole=(new - m.parameter.detach().double()).cpu().numpy())
        scores = self._scores(len(failed) + n_failed)
        return LowRank(
            title="Is a weight better made smaller?",
            lede=self._lede(scores, k),
            claim=f"{m.name} has rank {k} of {m.full}",
            deltas=(delta,),
            types=types,
            layers=tuple(f"layer {i}" for i in layers),
            keep=self.keep,
            chosen_on=self._grid(self.chooses, 0),
            held_out=held,
            right=right,
            random=self.random[..., 0].mean((0, 2)),
            place=(types.index(m.type), layers.index(m.layer), self.share),
            rank=k,
            trust=Trust(
                scores=scores,
                notes=tuple(f"{fact.prompt!r} was not asked: {why}" for fact, why in failed[:5]),
            ),
        )

    def _grid(self, facts: np.ndarray, j: int) -> np.ndarray:
        """Mean change [type, layer, share] over some facts."""
        types = list(dict.fromkeys(m.type for m in self.tried))
        layers = sorted({m.layer for m in self.tried})
        grid = np.full((len(types), len(layers), len(self.keep)), np.nan)
        for m, values in zip(self.tried, self.change[:, :, facts, j].mean(-1)):
            grid[types.index(m.type), layers.index(m.layer)] = values
        return grid

    def _scores(self, n_failed: int) -> tuple[Score, ...]:
        mine = self.tried.index(self.chosen)
        held = self.change[:, self.share][:, ~self.chooses]  # [matrix, fact, 2]
        random = self.random[:, self.share].mean((0, 1))
        rest = [i for i in range(len(self.tried)) if i != mine]
        others = held[rest].mean((0, 1)) if rest else None
        names = (
            "log-probability of the answer gained on held-out facts, nats",
            "wordings answered rightly gained on held-out facts",
        )
        made = [
            Score(
                name=names[j], value=float(held[mine, :, j].mean()), chance=0.0, control=float(random[j]), control_name=RANDOM,
                interval=bootstrap_mean(held[mine, :, j]), n=held.shape[1], n_failed=n_failed,
            )
            for j in range(2)
        ]  # fmt: skip
        if others is not None:
            made.append(made[0].model_copy(
                update={"name": f"{names[0]}, by this weight", "control": float(others[0]), "control_name": OTHERS}
            ))  # fmt: skip
        return tuple(made)

    def _lede(self, scores: tuple[Score, ...], k: int) -> str:
        m, gain = self.chosen, scores[0]
        base = self.before[~self.chooses].mean(0)
        words = [
            f"Of {len(self.tried)} weights at {len(self.keep)} ranks, {m.type} of layer {m.layer} at rank {k} of {m.full} was best on "
            f"{int(self.chooses.sum())} facts. On {gain.n} others the log-probability of the answer goes from {base[0]:.3f} to "
            f"{base[0] + gain.value:.3f} nats, and {base[1]:.1%} to {base[1] + scores[1].value:.1%} of the wordings are answered rightly; "
            f"{RANDOM} changes it by {gain.control:+.3f}."
        ]  # fmt: skip
        if not gain.beats_chance:
            words.append("That is no gain beyond leaving the model alone.")
        return " ".join(words)
