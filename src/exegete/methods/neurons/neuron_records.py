"""Records of units: the texts on which each is strongest, how often it fires, and which tokens it pushes up.

1. all texts are read once; every unit of the chosen places keeps its k strongest texts, a fair sample of others, counts and
   moments (`ops.topk_stream`: memory does not grow with the texts);
2. shown are the units asked for, or those that peak highest above their own mean; their excerpts are read once more, token by token;
3. for units of feed-forward layers of decoders: the tokens that the unit's output weights push up and down most, on the direct
   way to the logits (`models.promote`).

Scores are over all units of the places, so that no unit was chosen by what it is judged on: the mean peak (k strongest texts above the
unit's mean, in its standard deviations). Controls: the same on the same tokens in random order; the same in the model with
randomised weights. Only high values are looked at: what a unit does when it is strongly negative is not shown.

Cost: 3 forwards a text, 1 an excerpt. References: Bills et al. 2023, "Language models can explain neurons in language models";
Nanda 2022, Neuroscope.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import SiteError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.neuron_records import Excerpt, NeuronRecords, UnitRecord, strongest
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.methods.neurons.unit_texts import Unit, chosen, peaks, read_units, record, shuffled
from exegete.models.feedforward import feed_forward
from exegete.models.harvest import sites_at
from exegete.models.lab import Lab
from exegete.models.promote import Way, at_position, way_sites
from exegete.ops.stats import bootstrap_mean
from exegete.ops.topk_stream import UnitStream

MOST_JUDGED = 4000  # units that the scores are taken over; a random choice where there are more


@register
class RecordedNeurons(Study):
    """On which texts single units are strongest, how often they fire, and which tokens they push up."""

    id: ClassVar[str] = "neuron_records"
    family: ClassVar[str] = "neurons"
    techniques: ClassVar[tuple[str, ...]] = ("F7",)
    verb: ClassVar[str] = "neurons"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 400
    finds: ClassVar[type] = NeuronRecords
    reference: ClassVar[Reference] = Reference(
        authors="Bills et al.", year=2023, title="Language models can explain neurons in language models",
        where="OpenAI",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites", "weights")
    passes: ClassVar[str] = "3 forwards a text, 1 an excerpt"
    site: str = Field(
        "mlp_act", description="kind of unit: mlp_act (neurons), resid_post, z (head outputs), mlp_out, ..."
    )
    layers: tuple[int, ...] = Field((), description="layers that are read; none: all")
    units: tuple[int, ...] = Field((), description="numbers of the units that are shown; none: the strongest")
    n_shown: int = Field(4, ge=1, le=100, description="how many of the strongest units are shown")
    k: int = Field(
        8, ge=2, le=1000, description="strongest texts a unit; no more than half of the texts are taken"
    )
    n_quantiles: int = Field(4, ge=0, le=100, description="texts shown beside, evenly from strong to weak")
    n_bins: int = Field(24, ge=2, le=1000, description="bins of the histograms")
    seed: int = Field(0, description="seed of the shuffled tokens and the randomised weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> NeuronRecords:
        """Over all texts."""
        sites = sites_at(lab.model, self.site, self.layers)
        k = max(2, min(self.k, len(items) // 2))
        found = record(lab, items, sites, k)
        units = chosen(found, self.units, self.n_shown)
        blind = record(lab, shuffled(lab, items), sites, k)
        random, why = _randomised(lab, items, sites, k)
        told = self._units(lab, items, found, blind, units)
        scores = self._scores(lab, found, blind, random, why)
        first = found[sites[0]]
        return NeuronRecords(
            title="What do single units fire on?",
            lede=_lede(told, scores, first.seen),
            units=told,
            sites=tuple(map(str, sites)),
            peaks=_by_site(found, sites),
            peaks_shuffled=_by_site(blind, sites),
            peaks_random=_by_site(random, sites) if random else np.full(len(sites), np.nan),
            silent=np.array([float((found[s].fired == 0).mean()) for s in sites]),
            n_texts=first.seen,
            n_tokens=first.tokens,
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _units(
        self, lab: Lab, items: Sequence[Text], found: Mapping[Site, UnitStream], blind: Mapping[Site, UnitStream], units: Sequence[Unit]
    ) -> tuple[UnitRecord, ...]:  # fmt: skip
        """The records of the units shown; their excerpts are read together."""
        shown: list[list[tuple[int, str]]] = []
        for u in units:
            r = found[u.site]
            top = [(int(t), f"top {i + 1}") for i, t in enumerate(r.text[u.unit])]
            other, _ = r.quantiles(u.unit, self.n_quantiles)
            size = self.n_quantiles + 1
            spread = [(int(t), f"{100 * (1 - (i + 1) / size):.0f} % are weaker") for i, t in enumerate(other)]
            shown.append(top + spread)
        wanted = sorted({t for s in shown for t, _ in s})
        read = dict(zip(wanted, read_units(lab, [items[t] for t in wanted], units)))
        pushed = _pushed(lab, items[0], units)
        made = []
        for i, (u, texts) in enumerate(zip(units, shown)):
            r = found[u.site]
            shares, edges = r.histogram(u.unit, self.n_bins)
            up, down = pushed.get(u, ((), ()))
            made.append(
                UnitRecord(
                    name=str(u),
                    rate=float(r.rate[u.unit]),
                    mean=float(r.mean[u.unit]),
                    spread=float(r.spread[u.unit]),
                    peak=float(peaks(r)[u.unit]),
                    peak_shuffled=float(peaks(blind[u.site])[u.unit]),
                    excerpts=tuple(
                        Excerpt(
                            tokens=read[t].tokens,
                            values=read[t].values[:, i],
                            at=int(read[t].values[:, i].argmax()),
                            why=why,
                        )
                        for t, why in texts
                    ),
                    histogram=shares,
                    edges=edges,
                    up=up,
                    down=down,
                )
            )
        return tuple(made)

    def _scores(
        self, lab: Lab, found: Mapping[Site, UnitStream], blind: Mapping[Site, UnitStream],
        random: Mapping[Site, UnitStream] | None, why: str,
    ) -> tuple[Score, ...]:  # fmt: skip
        """The mean peak over units, against shuffled tokens and against randomised weights."""
        mine = np.concatenate([peaks(r) for r in found.values()])
        at = np.sort(lab.rng("judged units").permutation(len(mine))[:MOST_JUDGED])
        interval = bootstrap_mean(mine[at], self.seed)

        def score(name: str, other: Mapping[Site, UnitStream] | None, control: str) -> Score:
            theirs = np.concatenate([peaks(r) for r in other.values()])[at] if other else None
            return Score(
                name=name,
                value=float(mine[at].mean()),
                control=None if theirs is None else float(theirs.mean()),
                control_name="" if theirs is None else control,
                skipped="" if other else why,
                interval=interval,
                n=len(at),
            )

        return (
            score("mean peak of all units, in standard deviations", blind, "the same tokens in random order"),
            score("the same, against a model that learned nothing", random, "randomised weights"),
        )


def _randomised(
    lab: Lab, items: Sequence[Text], sites: Sequence[Site], k: int
) -> tuple[dict[Site, UnitStream] | None, str]:
    """The records of the model with randomised weights; None and the reason where no copy is made."""
    twin, why = twin_of(lab)
    return (record(twin, items, sites, k) if twin else None), why


def _pushed(
    lab: Lab, item: Text, units: Sequence[Unit], n: int = 5
) -> dict[Unit, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The tokens that units of feed-forward layers of a decoder push up and down most; nothing for others."""
    mine = [u for u in units if u.site.kind == "mlp_act" and u.site.layer is not None]
    if not mine or lab.model.task != "causal":
        return {}
    bound = lab.model.map
    stack = bound.stacks[-1]
    layers = sorted({u.site.layer for u in mine if u.site.layer is not None})
    by_layer = {i: [u for u in mine if u.site.layer == i] for i in layers}
    try:
        values = {i: feed_forward(bound, i).weight[[u.unit for u in by_layer[i]]] for i in layers}
        reading = lab.read([item.model_copy(update={"truncate": True})])
        pick = at_position(torch.tensor([reading.lengths[0] - 1]))
        sites = way_sites(bound, stack)
        seen = lab.run(
            reading.inputs, reduce=dict.fromkeys(sites, pick), rows=torch.zeros(1, 1, dtype=torch.long)
        )
        tops = Way(bound, stack, {s: seen[s] for s in sites}).tops(values, n)
    except SiteError:
        return {}  # no straight way from the unit to the logits is known for this family: the card shows none
    return {
        u: (lab.pieces(tops[i][0][j].tolist()), lab.pieces(tops[i][1][j].tolist()))
        for i in layers
        for j, u in enumerate(by_layer[i])
    }


def _by_site(found: Mapping[Site, UnitStream], sites: Sequence[Site]) -> np.ndarray:
    return np.array([float(peaks(found[s]).mean()) for s in sites])


def _lede(units: tuple[UnitRecord, ...], scores: tuple[Score, ...], n: int) -> str:
    first = units[0]
    words = ", ".join(repr(t.strip() or t) for t in strongest(first)[:3])
    context, learned = scores
    told = (
        f"{first.name} peaks {first.peak:.1f} standard deviations above its mean, at {words}"
        f" ({first.peak_shuffled:.1f} when the tokens are shuffled), and fires on {first.rate:.0%} of tokens."
        f" Over all units of {n} texts the mean peak is {context.value:.2f}"
    )
    told += "" if context.control is None else f"; {context.control:.2f} on shuffled tokens"
    told += "." if learned.control is None else f", {learned.control:.2f} with randomised weights."
    if context.beats_control is False:
        told += (
            " Units here peak no higher in real texts than in shuffled ones: they read words, not context."
        )
    if learned.beats_control is False:
        told += " Peaks are no higher than in a model that learned nothing: read the excerpts with care."
    return told
