"""Head pruning: in which order can heads be removed, and how many can go?

1. on half of the texts, measure how important every head is:
   kind of map       heads that look at a fixed key go first, then at a fixed distance, both, blocks, and last those that follow
                     no rule (E21); among heads of one kind those most surely of it go first
   gate gradient     mean |z . dL/dz|, what Michel et al. call head importance (A24, T8)
   removed alone     the rise of the loss without this head alone (the oracle)
   LRP relevance     mean |relevance| of its output for the right answers, by layer-wise propagation (A24); only when asked for
   L0 gates          how open a Hard-Concrete gate on the head stays, trained with the weights frozen (A24)
2. on the other half, remove heads for real, least important first, and draw the loss and the share of right answers against
   random orders on the same texts (`head_removal` says what the task of a model is, and how a head is removed);
3. remove as many heads as have closed gates, against as many random ones;
4. ask whether the quarter of heads that stays longest (gate gradient) are induction heads: their mean share on random tokens
   said twice (`head_evidence`), against as many random heads (T8);
5. leave out the feed-forward part of every layer in turn, against noise of the same length in its place (T8).

`how = "even"` makes removed heads attend evenly, which is how Kovaleva et al. disable heads. The model's weights are never
changed. LRP may be covered by patents (WO 2016/150472): clear commercial use first.

Cost: per text of the first half 1 forward (kinds), 1 forward and 1 backward (gradient), at most a forward a head (alone); n_steps
batch forwards and backwards (gates), n_repeats forwards (induction); per text of the second (4 + n_random) n_points + n_random + 1 + 2 n_layers forwards.
References: Michel et al. 2019, "Are Sixteen Heads Really Better than One?", eq. 4; Voita et al. 2019, sec. 6; Kovaleva et al.
2019, sec. 4.6; Bansal et al. 2022, "Rethinking the Role of Scale for In-Context Learning", sec. 4.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.head_pruning import HeadPruning
from exegete.core.results.heads import NO_TYPE
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.attention.head_evidence import mean, on_repeats
from exegete.methods.attention.head_feed_forward import FeedForward, feed_forward
from exegete.methods.attention.head_gates import Gates, train_gates
from exegete.methods.attention.head_orders import (
    RANDOM,
    against_random,
    curves,
    halves,
    least_first,
    relevance_of_heads,
    taylor,
)
from exegete.methods.attention.head_reading import Heads, heads_of, watch
from exegete.methods.attention.head_removal import How, Removal, Task, mean_z, posed
from exegete.methods.attention.look import reread
from exegete.methods.attention.map_classifier import Album
from exegete.methods.contracts.study import Study
from exegete.models.lab import Lab
from exegete.ops.map_kinds import KINDS
from exegete.ops.stats import midrank_percentile

KIND, GRADIENT, ALONE, GATES, LRP = (
    "kind of map",
    "gate gradient",
    "removed alone",
    "L0 gates",
    "LRP relevance",
)


@register
class HeadPruningStudy(Study):
    """How many heads can go, in which order: kinds of maps, gate gradients, single removals and L0 gates, each by real removal."""

    id: ClassVar[str] = "head_pruning"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("E21", "A24", "T8", "E19")
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = HeadPruning
    reference: ClassVar[Reference] = Reference(
        authors="Michel, Levy & Neubig", year=2019, title="Are Sixteen Heads Really Better than One?",
        where="arXiv:1905.10650", equation="eq. 4",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "gradients")
    passes: ClassVar[str] = (
        "about n_heads + (4 + n_random) n_points forwards a text, n_steps batch forwards and backwards"
    )
    how: How = Field("zero", description="what removed heads give: zero, mean, or what even attention gives")
    alone: bool = Field(True, description="also remove every head alone, the most costly measure")
    lrp: bool = Field(
        False, description="also relevance by layer-wise propagation, which may be covered by patents"
    )
    n_points: int = Field(8, ge=3, description="most numbers of removed heads at which curves are measured")
    n_random: int = Field(10, ge=1, description="random orders")
    n_steps: int = Field(80, ge=1, description="steps of training the gates")
    batch: int = Field(4, ge=1, description="texts a step")
    penalty: float = Field(
        1.0, gt=0, description="what keeping all gates open costs, in the units of the loss"
    )
    n_repeats: int = Field(10, ge=2, description="runs of random tokens said twice, for induction")
    repeat_length: int = Field(16, ge=3, description="tokens of a saying")
    n_maps: int = Field(120, ge=5, description="maps of each kind that the classifier is trained on")
    seed: int = Field(0, description="seed of masks, gates, maps and random orders")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> HeadPruning:
        """Over texts."""
        heads = heads_of(lab)
        texts, tasks, failed = posed(lab, items, target)
        make, judge = halves(len(texts))
        removal = Removal(lab, heads, self.how, mean_z(lab, heads, tasks[make]) if self.how == "mean" else {})
        kinds, by_kind = self._kinds(lab, heads, texts[make])
        gates = train_gates(lab, heads, tasks[make], self.n_steps, self.batch, self.penalty)
        alone = rise_alone(removal, tasks[make]) if self.alone else np.full(len(heads), np.nan)
        measures = {KIND: by_kind, GRADIENT: taylor(lab, heads, tasks[make]), GATES: gates.location}
        if self.alone:
            measures[ALONE] = alone
        if self.lrp:
            measures[LRP] = relevance_of_heads(lab, heads, tasks[make])
        orders = {name: least_first(x) for name, x in measures.items()}
        found, rises = curves(removal, tasks[judge], orders, self.n_points, self.n_random)
        scores = {
            name: against_random(f"mean rise of the loss, {name}", rises[name], rises[RANDOM], failed)
            for name in measures
        }
        parts = feed_forward(lab, heads, tasks[judge], failed)
        repeats = on_repeats(lab, heads, self.n_repeats, self.repeat_length)
        induction = mean(repeats.value)[:, repeats.types.index("induction")]
        every = (
            *scores.values(),
            *_closed(removal, tasks[judge], gates, self.n_random, failed),
            parts.score(),
            survivors(induction, orders[GRADIENT], lab.rng("survivors")),
        )
        return HeadPruning(
            title="How many heads can go?",
            lede=_words(heads, scores, gates, parts),
            heads=heads.names,
            layers=heads.rows,
            places=heads.places,
            measures=tuple(measures),
            importance=np.stack(list(measures.values())),
            alone=alone,
            open=gates.open,
            gate_loss=gates.history,
            kind=kinds,
            induction=induction,
            curves=found,
            feed_forward_layers=parts.layers,
            feed_forward=parts.rise.mean(1),
            feed_forward_low=parts.band[0],
            feed_forward_high=parts.band[1],
            feed_forward_noise=parts.noise.mean(1),
            trust=Trust(scores=every),
        )

    def _kinds(self, lab: Lab, heads: Heads, items: Sequence[Any]) -> tuple[tuple[str, ...], np.ndarray]:
        """The kind of each head's map, and its importance by kind [head]: 0 to 5, smaller for the surer of one kind."""
        album = Album(heads, len(items))
        for i, text in enumerate(items):
            watch(lab, heads, reread(lab, text).inputs, album.taker(i))
        share, _ = album.judged(album.classifiers(self.n_maps, self.seed))
        known = [bool(np.isfinite(p).all()) for p in share]
        kind = [int(np.argmax(p)) if ok else len(KINDS) - 1 for p, ok in zip(share, known)]
        sure = [float(p.max()) if ok else 0.0 for p, ok in zip(share, known)]
        names = tuple(KINDS[k] if ok else NO_TYPE for k, ok in zip(kind, known))
        return names, np.array(kind) + 1.0 - np.array(sure)


def rise_alone(removal: Removal, tasks: Sequence[Task]) -> np.ndarray:
    """Rise of the loss without each head alone, mean over texts [head]."""
    n = len(removal.heads)
    loss, _ = removal(tasks, np.concatenate([np.ones((1, n), bool), ~np.eye(n, dtype=bool)]))
    return (loss[1:] - loss[0]).mean(1)


def survivors(induction: np.ndarray, order: np.ndarray, rng: np.random.Generator) -> Score:
    """The mean induction share of the quarter of heads that stays longest, among draws of as many heads."""
    known = np.isfinite(induction)
    n = max(1, len(order) // 4)
    value = np.nan_to_num(induction)
    draws = np.array([value[rng.permutation(len(value))[:n]].mean() for _ in range(1000)])
    mine = float(value[order[-n:]].mean())
    return Score(
        name=f"induction share of the {n} heads that stay longest (gate gradient)",
        value=mine if known.any() else float("nan"),
        chance=float(draws.mean()),
        percentile=midrank_percentile(mine, draws),
        n=n if known.any() else 0,
        n_failed=0 if known.any() else n,
    )


def _closed(
    removal: Removal, tasks: Sequence[Task], gates: Gates, n_random: int, failed: int
) -> tuple[Score, ...]:
    """The rise of the loss without the heads of closed gates, against as many random ones; none where no gate closed, or all."""
    n, k = len(gates.closed), int(gates.closed.sum())
    if not 0 < k < n:
        return ()
    draws = [removal.lab.rng("random closed", i).permutation(n) >= k for i in range(n_random)]
    loss, _ = removal(tasks, np.stack([np.ones(n, bool), ~gates.closed, *draws]))
    rise = loss[1:] - loss[0]
    name = f"rise of the loss without the {k} heads whose gate closed"
    return (against_random(name, rise[0], rise[1:], failed),)


def _words(heads: Heads, scores: dict[str, Score], gates: Gates, parts: FeedForward) -> str:
    """What was found."""
    best = min(scores, key=lambda name: scores[name].value)
    s = scores[best]
    won = [name for name, x in scores.items() if x.beats_control]
    first = f"Least is lost in the order of {best}: {s.value:.2f} nats on average over the curve, {s.chance:.2f} at random."
    second = (
        f" Better than every random order: {', '.join(won)}."
        if won
        else " No order is better than every random one."
    )
    gone = f" Gates close on {int(gates.closed.sum())} of {len(heads)} heads."
    return first + second + gone + parts.words()
