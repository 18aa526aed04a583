"""Feed-forward keys: which places of the texts set a unit off most, what they share, and whether its value says what comes next.

1. the texts are read once; of every layer's units (a random choice where there are many) the t places with the largest
   coefficient, either sign, are kept, each prefix once: the unit's triggers (`ops.triggers`, memory independent of the texts).
   A place counts where a next token is known and its own token is no special one;
2. a unit's value, with the sign of the coefficient, pushes one token up most (`models.promote`): how often did that token come
   next at the triggers (agreement)?
3. how many of the triggers end in the same token, or the same two tokens?

Controls: the value of another unit of the same layer (the exact mean over all of those read); as many random places of the
same texts. Units that never fire are counted as failed.

Cost: 1 forward a text, and one of the first text. References: Geva et al. 2021, "Transformer Feed-Forward Layers Are Key-Value
Memories" (arXiv:2012.14913), sec. 3-4. Patterns named by people, and the composition of memories (sec. 5), are not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.feedforward_keys import FeedForwardKeys, KeyUnit
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.ffn_places import Places, places_of, read_triggers, standing
from exegete.models.feedforward import FeedForward, feed_forward, layers_with_units, units_of
from exegete.models.lab import Lab, Reading
from exegete.models.promote import Way, at_position, way_sites
from exegete.ops.stats import bootstrap_mean
from exegete.ops.triggers import Triggers, agreement, most_shared, others_agree

N_WORDS = 5
N_SHOWN = 3
BEFORE = 4  # tokens shown before a trigger


class Strongest(Value):
    """Of some texts, by layer: the strongest coefficients [unit, t] of the units read (0: none), and the keys of their prefixes."""

    value: tuple[np.ndarray, ...]
    key: tuple[np.ndarray, ...]


@register
class FfnKeys(Divided):
    """What sets feed-forward units off in texts, what their triggers share, and whether their values say what comes next."""

    id: ClassVar[str] = "ffn_keys"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H12",)
    verb: ClassVar[str] = "lens"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = FeedForwardKeys
    part: ClassVar[type[Value]] = Strongest
    reduces: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    reference: ClassVar[Reference] = Reference(
        authors="Geva, Schuster, Berant & Levy", year=2021, where="arXiv:2012.14913", equation="sec. 3-4",
        title="Transformer Feed-Forward Layers Are Key-Value Memories",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "1 forward a text + 1"
    n_units: int = Field(64, ge=2, description="units a layer, drawn at random where it has more")
    n_triggers: int = Field(10, ge=1, le=1000, description="triggers kept of each unit")
    n_top: int = Field(15, ge=1, le=1000, description="how many units are listed")
    n_draws: int = Field(
        20, ge=1, le=1000, description="draws of random places a unit, the control of what is shared"
    )
    seed: int = Field(0, description="seed of the units and places drawn")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Strongest]:
        """The triggers of every unit in some texts."""
        reading = lab.read(items)
        places, parts = places_of(reading, some=False), self._parts(lab)
        units = {i: self._units(lab, i, p) for i, p in parts.items()}
        kept = read_triggers(lab, reading, places, parts, units, self.n_triggers).values()
        return [Strongest(value=tuple(k.value for k in kept), key=tuple(k.key for k in kept))]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Strongest], target: Target, n_failed: int = 0
    ) -> FeedForwardKeys:
        """Over all texts."""
        reading = lab.read(items)
        places, matrices = places_of(reading), self._parts(lab)
        layers = list(matrices)
        kept = {i: Triggers.empty(*value.shape) for i, value in zip(layers, parts[0].value)}
        for p in parts:
            for i, value, key in zip(layers, p.value, p.key):
                kept[i].join(standing(places, value, key))
        units = {i: self._units(lab, i, p) for i, p in matrices.items()}
        values = {i: matrices[i].weight[torch.from_numpy(units[i])] for i in layers}
        tops = {
            i: (u.cpu().numpy(), d.cpu().numpy())
            for i, (u, d) in _way(lab, items[0]).tops(values, N_WORDS).items()
        }
        told = [self._layer(lab, i, units[i], kept[i], tops[i], places) for i in layers]
        return with_failed(self._finding(lab, told, reading, places), n_failed)

    def _parts(self, lab: Lab) -> dict[int, FeedForward]:
        """The feed-forward parts whose units can be seen, by layer."""
        return {i: feed_forward(lab.model.map, i) for i in layers_with_units(lab.model.map)}

    def _units(self, lab: Lab, layer: int, part: FeedForward) -> np.ndarray:
        size = units_of(part)
        return np.sort(lab.rng("units", layer).permutation(size)[: self.n_units])

    def _layer(
        self, lab: Lab, layer: int, units: np.ndarray, kept: Triggers, tops: tuple[np.ndarray, np.ndarray], places: "Places"
    ) -> "_Layer":  # fmt: skip
        """The figures of one layer's units [unit]."""
        found, positive = kept.found, kept.value > 0
        up, down = tops[0][:, 0], tops[1][:, 0]
        wanted = places.next[kept.place]
        mine = agreement(np.where(positive, up[:, None], down[:, None]), wanted, found)
        other = others_agree(up, down, positive, wanted, found)
        last, pair = places.token[kept.place], places.pair[kept.place]
        random = lab.rng("places", layer).integers(0, len(places.text), (self.n_draws, *found.shape))
        drawn = [[most_shared(x[r], found) for r in random] for x in (places.token, places.pair)]
        return _Layer(
            layer, units, kept, tops, mine, other,
            most_shared(last, found), most_shared(pair, found), np.mean(drawn[0], 0), np.mean(drawn[1], 0),
        )  # fmt: skip

    def _finding(self, lab: Lab, told: list["_Layer"], reading: Reading, places: "Places") -> FeedForwardKeys:
        def by_layer(name: str) -> np.ndarray:
            return np.array([_mean(getattr(x, name)) for x in told])

        def spread(name: str) -> np.ndarray:
            return np.array([_interval(getattr(x, name), self.seed) or (np.nan, np.nan) for x in told])

        scores = (
            self._score("agreement of values with what comes next", "agreement", "the value of another unit of the layer", told),
            self._score("triggers that end in the same token", "last", "as many random places", told),
            self._score("triggers that end in the same two tokens", "pair", "as many random places", told),
        )  # fmt: skip
        keys = _listed(lab, told, reading, places, self.n_top)
        return FeedForwardKeys(
            title="What sets feed-forward units off?",
            lede=_lede(
                scores, told, keys, by_layer("agreement"), by_layer("agreement_random"), spread("agreement")
            ),
            layers=tuple(x.layer for x in told),
            agreement=by_layer("agreement"),
            agreement_interval=spread("agreement"),
            agreement_random=by_layer("agreement_random"),
            last=by_layer("last"),
            last_interval=spread("last"),
            last_random=by_layer("last_random"),
            pair=by_layer("pair"),
            pair_interval=spread("pair"),
            pair_random=by_layer("pair_random"),
            keys=keys,
            n_units=max(len(x.units) for x in told),
            n_triggers=self.n_triggers,
            silent=int(sum((~x.kept.found.any(1)).sum() for x in told)),
            n_texts=len(reading.encoded),
            n_places=len(places.text),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _score(self, name: str, field: str, control_name: str, told: list["_Layer"]) -> Score:
        """The mean over all units of all layers, those left out that have too few triggers."""
        mine = np.concatenate([getattr(x, field) for x in told])
        other = np.concatenate([getattr(x, f"{field}_random") for x in told])
        n = int((~np.isnan(mine)).sum())
        return Score(
            name=name,
            value=_mean(mine),
            control=_mean(other) if n else None,
            control_name=control_name if n else "",
            skipped="" if n else "no unit has triggers enough",
            interval=_interval(mine, self.seed),
            n=n,
            n_failed=int(np.isnan(mine).sum()),
        )


@dataclass(frozen=True)
class _Layer:
    """One layer: units [unit], their triggers, top tokens (up, down) [unit, k], and figures [unit] with their controls."""

    layer: int
    units: np.ndarray
    kept: Triggers
    tops: tuple[np.ndarray, np.ndarray]
    agreement: np.ndarray
    agreement_random: np.ndarray
    last: np.ndarray
    pair: np.ndarray
    last_random: np.ndarray
    pair_random: np.ndarray


def _way(lab: Lab, item: Any) -> Way:
    """The way to the logits, at the last token of one text."""
    bound = lab.model.map
    stack, reading = bound.stacks[-1], lab.read([item])
    pick = at_position(torch.tensor([reading.lengths[0] - 1]))
    sites: tuple[Site, ...] = way_sites(bound, stack)
    seen = lab.run(
        reading.inputs, reduce=dict.fromkeys(sites, pick), rows=torch.zeros(1, 1, dtype=torch.long)
    )
    return Way(bound, stack, {s: seen[s] for s in sites})


def _listed(lab: Lab, told: list[_Layer], reading: Reading, places: Places, n: int) -> tuple[KeyUnit, ...]:
    """The units that agree most, among equals those whose triggers share most."""
    every = [(x, u) for x in told for u in range(len(x.units)) if x.kept.found[u].any()]
    every.sort(key=lambda e: (-e[0].agreement[e[1]], -np.nan_to_num(e[0].last[e[1]])))
    return tuple(_key(lab, x, u, reading, places) for x, u in every[:n])


def _key(lab: Lab, x: _Layer, u: int, reading: Reading, places: Places) -> KeyUnit:
    at = x.kept.place[u][x.kept.found[u]]
    value = x.kept.value[u][x.kept.found[u]]
    tokens, counts = np.unique(places.token[at], return_counts=True)
    return KeyUnit(
        layer=x.layer,
        unit=int(x.units[u]),
        triggers=tuple(_shown(lab, reading, places, int(p)) for p in at[:N_SHOWN]),
        coefficients=tuple(float(v) for v in value[:N_SHOWN]),
        nexts=lab.pieces(places.next[at[:N_SHOWN]].tolist()),
        up=lab.pieces(x.tops[0 if (value > 0).mean() >= 0.5 else 1][u].tolist()),
        agreement=float(x.agreement[u]),
        shared=lab.pieces([int(tokens[counts.argmax()])])[0],
        share=float(counts.max() / counts.sum()),
    )


def _shown(lab: Lab, reading: Reading, places: Places, place: int) -> str:
    """The end of a text up to a place."""
    p = int(places.position[place])
    ids = [t.id for t in reading.encoded[int(places.text[place])].tokens[max(0, p - BEFORE) : p + 1]]
    return str(lab.model.tokenizer.decode(ids))


def _mean(x: np.ndarray) -> float:
    """The mean of what is not NaN; NaN where all is."""
    return float(np.nanmean(x)) if (~np.isnan(x)).any() else float("nan")


def _interval(x: np.ndarray, seed: int) -> tuple[float, float] | None:
    return bootstrap_mean(x[~np.isnan(x)], seed)


def _lede(
    scores: tuple[Score, ...], told: list[_Layer], keys: tuple[KeyUnit, ...],
    own: np.ndarray, other: np.ndarray, interval: np.ndarray,
) -> str:  # fmt: skip
    agree, last, pair = scores
    above = [str(x.layer) for x, low, o in zip(told, interval[:, 0], other) if low > o]
    where = f"in {len(above)} of {len(told)} layers ({', '.join(above)})" if above else "in no layer"
    best = int(np.nanargmax(own)) if (~np.isnan(own)).any() else 0
    tail = (
        ""
        if agree.beats_control
        else " Over all layers values say what comes next no more often than other units' values."
    )
    shared = (
        f" {last.value:.0%} of a unit's triggers end in the same token ({last.control or 0.0:.0%} of random places),"
        f" {pair.value:.0%} in the same two ({pair.control or 0.0:.0%})."
        if last.n
        else " No unit has two triggers that could share anything."
    )
    return (
        f"Unit {keys[0].layer}.{keys[0].unit} ({keys[0].share:.0%} of its triggers end in {keys[0].shared.strip()!r}) says"
        f" {keys[0].up[0].strip()!r}, which came next at {keys[0].agreement:.0%} of them."
        if keys
        else "No unit fires."
    ) + (
        f" Values say what comes next at {agree.value:.1%} of their triggers ({agree.control or 0.0:.1%} for other units'"
        f" values), more than the control {where}, most in layer {told[best].layer}.{shared}{tail}"
    )
