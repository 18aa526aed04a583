"""Head redundancy: which heads look where others look, and can they be left out?

1. on half of the texts, take the attention of every head for up to `n_queries` queries a text, and the Jensen-Shannon
   divergence of every pair of heads (`ops.redundancy`);
2. compare with heads as sharp that look at unrelated places (chance), and with a model with shuffled weights (control);
3. group heads by average linkage, cut at `alike`; order them by which others stand in for them;
4. on the other half, remove heads for real in that order, in a random one, and most important first (`head_orders.taylor`).

That two heads look at the same places does not say that they do the same there: their values may differ. The curve decides.
The heads are those of the stack that reads the text.

Cost: 2 forwards a text for the maps, 1 forward and 1 backward for importance, and (2 + n_random) n_points forwards a text for
the curves. Reference: Bian et al. 2021, "On Attention Redundancy: A Comprehensive Study", sec. 3-5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.head_redundancy import HeadRedundancy
from exegete.core.site import Stack
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.attention.bench import reader
from exegete.methods.attention.head_orders import RANDOM, against_random, curves, halves, least_first, taylor
from exegete.methods.attention.head_reading import Heads, heads_of, watch
from exegete.methods.attention.head_removal import How, Removal, mean_z, posed
from exegete.methods.attention.judged import mean_score
from exegete.methods.attention.look import reread
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.models.lab import Lab
from exegete.ops.redundancy import distances, groups, nearest, scattered, stand_ins

ORDER, IMPORTANT = "redundant heads first", "important heads first"


@register
class HeadRedundancyStudy(Study):
    """Which heads look where others look: distances of all pairs, groups, and what is lost when redundant heads are removed."""

    id: ClassVar[str] = "head_redundancy"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("T7",)
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = HeadRedundancy
    reference: ClassVar[Reference] = Reference(
        authors="Bian et al.", year=2021, title="On Attention Redundancy: A Comprehensive Study",
        where="NAACL 2021", equation="sec. 3",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "gradients")
    passes: ClassVar[str] = "2 + (2 + n_random) n_points forwards and 1 backward a text"
    alike: float = Field(
        0.2, ge=0, le=1, description="distance up to which heads are grouped, as a share of ln 2"
    )
    n_queries: int = Field(24, ge=1, description="most queries of a text that heads are compared on")
    how: How = Field("mean", description="what removed heads give: zero, mean, or what even attention gives")
    n_points: int = Field(8, ge=3, description="most numbers of removed heads at which curves are measured")
    n_random: int = Field(10, ge=1, description="random orders")
    seed: int = Field(0, description="seed of queries, random orders and shuffled weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> HeadRedundancy:
        """Over texts."""
        heads = heads_of(lab, [reader(lab)])
        texts, tasks, failed = posed(lab, items, target)
        make, judge = halves(len(texts))
        maps = self._maps(lab, heads, texts[make])
        twin, reason = twin_of(lab, self.seed)
        other = None if twin is None else self._maps(twin, heads_of(twin, [reader(twin)]), texts[make])
        order = stand_ins(maps.apart)
        important = least_first(-taylor(lab, heads, tasks[make]))
        removal = Removal(lab, heads, self.how, mean_z(lab, heads, tasks[make]) if self.how == "mean" else {})
        orders = {ORDER: order, IMPORTANT: important}
        found, rises = curves(removal, tasks[judge], orders, self.n_points, self.n_random)
        near = _nearest(maps, other, reason)
        rise = against_random(f"mean rise of the loss, {ORDER}", rises[ORDER], rises[RANDOM], failed)
        return HeadRedundancy(
            title="Which heads stand in for each other?",
            lede=_words(heads, groups(maps.apart, self.alike), near, rise),
            heads=heads.names,
            layers=heads.rows,
            places=heads.places,
            apart=maps.apart,
            within=within(heads, maps.apart),
            within_scattered=within(heads, maps.chance),
            within_random=within(heads, np.full_like(maps.apart, np.nan) if other is None else other.apart),
            group=groups(maps.apart, self.alike),
            order=order,
            curves=found,
            trust=Trust(scores=(near, rise)),
        )

    def _maps(self, lab: Lab, heads: Heads, items: Sequence[Any]) -> "Maps":
        found = [self._text(lab, heads, text, i) for i, text in enumerate(items)]
        return Maps(np.stack([a for a, _ in found]), np.stack([b for _, b in found]))

    def _text(self, lab: Lab, heads: Heads, text: Any, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances of the heads on one text, and of the same with keys dealt anew [head, head]."""
        look = reread(lab, text)
        n = len(look.reads[reader(lab)].pieces)
        draw = lab.rng("queries", i)
        free = np.arange(min(1, n - 1), n)  # the first query of a causal model has no choice
        chosen = np.sort(draw.choice(free, size=min(self.n_queries, len(free)), replace=False))
        rows, seen = np.zeros((len(heads), len(chosen), n)), np.zeros((len(chosen), n), bool)

        def take(stack: Stack, layer: int, pattern: np.ndarray, visible: np.ndarray) -> None:
            rows[heads.slice(stack, layer)] = pattern[0][:, chosen]
            seen[:] |= visible[0, 0][chosen]

        watch(lab, heads, look.inputs, take)
        return distances(rows), distances(scattered(rows, seen, draw))


@dataclass(frozen=True)
class Maps:
    """Distances of heads on every text, and of heads as sharp that look at unrelated places [text, head, head]."""

    texts: np.ndarray
    scattered: np.ndarray

    @property
    def apart(self) -> np.ndarray:
        """Mean over texts [head, head]."""
        return self.texts.mean(0)

    @property
    def chance(self) -> np.ndarray:
        """The same for scattered heads [head, head]."""
        return self.scattered.mean(0)


def within(heads: Heads, apart: np.ndarray) -> np.ndarray:
    """Mean distance of the pairs of a layer [layer]; NaN for a layer of one head."""
    found = []
    for place in heads.layers:
        at = heads.slice(*place)
        block = apart[at, at]
        pairs = block[np.triu_indices(len(block), 1)]
        found.append(float(pairs.mean()) if len(pairs) else float("nan"))
    return np.array(found)


def _nearest(maps: Maps, other: Maps | None, reason: str) -> Score:
    """How near the nearest other head is, on the mean over texts of the pairs; interval over texts."""
    value, chance = (np.array([nearest(t).mean() for t in x]) for x in (maps.texts, maps.scattered))
    return mean_score(
        "distance of a head to its nearest other",
        value,
        "lower",
        chance=float(chance.mean()),
        control=None if other is None else np.array([nearest(t).mean() for t in other.texts]),
        control_name="the model with shuffled weights, whose heads attend nearly evenly",
        skipped=reason,
    )


def _words(heads: Heads, group: np.ndarray, near: Score, rise: Score) -> str:
    n = int(group.max()) + 1
    alike = "nearer than" if near.beats_chance else "no nearer than"
    even = " (but no nearer than heads of shuffled weights, which all attend nearly evenly)"
    first = f"{len(heads)} heads make {n} groups. A head's nearest other is {alike} heads as sharp that look at unrelated places"
    first += (even if near.beats_control is False else "") + "."
    won = "costs less than any" if rise.beats_control else "does not cost less than every"
    return f"{first} Removing redundant heads first {won} random order ({rise.value:.2f} nats; the mean one {rise.chance:.2f})."
