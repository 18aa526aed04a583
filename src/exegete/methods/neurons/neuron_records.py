"""Records of units: the texts on which each is strongest, how often it fires, and which tokens it pushes up.

1. units are the numbers of an activation (neurons, head outputs z, the residual), or made of one: features of a saved dictionary,
   saved directions (`unit_sources`);
2. all texts are read once; every unit of the chosen places keeps its k strongest texts, a fair sample of others, counts and
   moments (`ops.topk_stream`: memory does not grow with the texts);
3. shown are the units asked for, or those that peak highest above their own mean; their excerpts are read once more, token by token;
4. the tokens that a unit pushes up and down most, where it writes to the residual of a decoder's output (`pushed`).

Scores are over all units of the places, so that no unit was chosen by what it is judged on: the mean peak (k strongest texts above the
unit's mean, in its standard deviations). Controls: the same on the same tokens in random order; the same in the model with
randomised weights. What was made for one model's weights means nothing in another's, so features and directions are held against
random directions in the same model instead, of features as many on at a token: what is rarely on peaks high for that alone.
Only high values are looked at: what a unit does when it is strongly negative is not shown.

Cost: 3 forwards a text, 1 an excerpt. References: Bills et al. 2023, "Language models can explain neurons in language models";
Nanda 2022, Neuroscope; of features Bricken et al. 2023.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.neuron_records import Excerpt, NeuronRecords, UnitRecord, strongest
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.methods.neurons.pushed import pushed
from exegete.methods.neurons.unit_sources import Source, random_like, source_of
from exegete.methods.neurons.unit_texts import Unit, chosen, numbers, peaks, read_units, record, shuffled
from exegete.models.harvest import sites_at
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean
from exegete.ops.topk_parts import StreamPart, filled, joined, part_of, sampled
from exegete.ops.topk_stream import UnitStream

Records = Mapping[Site, UnitStream]
MOST_JUDGED = 4000  # units that the scores are taken over; a random choice where there are more


class UnitParts(Value):
    """What units of all sites do on the texts of a stretch: `own`, on the same tokens in random order (`blind`), and of the model with
    randomised weights (`random`; none: `why`). `numbers` [text] say which texts these are.
    """

    numbers: np.ndarray
    own: tuple[StreamPart, ...]
    blind: tuple[StreamPart, ...]
    random: tuple[StreamPart, ...] = ()
    why: str = ""


@register
class RecordedNeurons(Divided):
    """On which texts single units are strongest, how often they fire, and which tokens they push up."""

    id: ClassVar[str] = "neuron_records"
    family: ClassVar[str] = "neurons"
    techniques: ClassVar[tuple[str, ...]] = ("F7",)
    verb: ClassVar[str] = "neurons"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 400
    finds: ClassVar[type] = NeuronRecords
    part: ClassVar[type[Value]] = UnitParts
    reduces: ClassVar[bool] = True
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
    units_from: str = Field(
        "",
        description="units made of an activation instead: a dictionary of features (.exg of `exegete features`, or a folder"
        " in the SAELens layout), a saved concept_direction (.exg), or vectors (.npy, .safetensors), whose place is said by"
        " site=4.resid_post",
    )
    units: tuple[int, ...] = Field((), description="numbers of the units that are shown; none: the strongest")
    n_shown: int = Field(4, ge=1, le=100, description="how many of the strongest units are shown")
    k: int = Field(
        8, ge=2, le=1000, description="strongest texts a unit; no more than half of the texts are taken"
    )
    n_quantiles: int = Field(4, ge=0, le=100, description="texts shown beside, evenly from strong to weak")
    n_bins: int = Field(24, ge=2, le=1000, description="bins of the histograms")
    seed: int = Field(0, description="seed of the shuffled tokens and the randomised weights")

    @property
    def whole(self) -> str:
        """The random units beside those of a source are made like these."""
        return (
            "the random units beside them are on as often as they are on all texts" if self.units_from else ""
        )

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[UnitParts]:
        """What all units do on a stretch of the texts."""
        sites, by = sites_at(lab.model, self.site, self.layers), numbers(items)
        twin, why = twin_of(lab)

        def parts(lab: Lab, texts: Sequence[Text]) -> tuple[StreamPart, ...]:
            found = record(lab, texts, sites, self.k, by=by, least=0)
            return tuple(part_of(found[s]) for s in sites)

        random = () if twin is None else parts(twin, items)
        return [UnitParts(numbers=by, own=parts(lab, items), blind=parts(lab, shuffled(lab, items)), random=random, why=why)]  # fmt: skip

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[UnitParts], target: Target, n_failed: int = 0
    ) -> NeuronRecords:  # fmt: skip
        """Over all texts; excerpts, and the sampled texts of the units shown, are read now."""
        sites = sites_at(lab.model, self.site, self.layers)
        called = _called(numbers(items), [p.numbers for p in parts])
        k = self._k(items)

        def together(which: str) -> dict[Site, UnitStream]:
            some = [getattr(p, which) for p in parts]
            return {s: joined([x[i] for x in some], called, k).enough() for i, s in enumerate(sites)}

        found, blind = together("own"), together("blind")
        random = together("random") if all(p.random for p in parts) else None
        units = chosen(found, self.units, self.n_shown)
        _fill(lab, items, found, units)
        return with_failed(self._found(lab, items, (found, blind, random), units, None, parts[0].why), n_failed)  # fmt: skip

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> NeuronRecords:
        """Over all texts."""
        source = source_of(self.units_from, lab.model, self._asked()) if self.units_from else None
        sites = (source.site,) if source else sites_at(lab.model, self.site, self.layers)
        k, by = self._k(items), numbers(items)
        found = record(lab, items, sites, k, source, by)
        units = chosen(found, self.units, self.n_shown, source.letter if source else "u")
        blind = record(lab, shuffled(lab, items), sites, k, source)
        random, why = _random(lab, items, sites, k, source, found)
        return self._found(lab, items, (found, blind, random), units, source, why)

    def _k(self, items: Sequence[Text]) -> int:
        return max(2, min(self.k, len(items) // 2))

    def _found(
        self, lab: Lab, items: Sequence[Text], records: tuple[Records, Records, Records | None], units: Sequence[Unit],
        source: Source | None, why: str,
    ) -> NeuronRecords:  # fmt: skip
        """The finding from the records of the units, on shuffled tokens, and of units that nothing was learned for."""
        found, blind, random = records
        sites = tuple(found)
        told = self._units(lab, items, found, blind, units, source)
        scores = self._scores(lab, found, blind, random, why, _name(source))
        first = found[sites[0]]
        return NeuronRecords(
            title=_title(source),
            lede=_lede(told, scores, first.seen, source),
            context=_context(self.units_from, source, first.units),
            units=told,
            sites=tuple(map(str, sites)),
            peaks=_by_site(found, sites),
            peaks_shuffled=_by_site(blind, sites),
            peaks_random=_by_site(random, sites) if random else np.full(len(sites), np.nan),
            random_name=_name(source),
            silent=np.array([float((found[s].fired == 0).mean()) for s in sites]),
            n_texts=first.seen,
            n_tokens=first.tokens,
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _asked(self) -> str:
        """The place asked for of a source: "" where only a kind, or nothing, was said. Raises `UsageError`."""
        if len(self.layers) > 1:
            raise UsageError(
                f"You asked for the units in {self.units_from!r} at the layers {', '.join(map(str, self.layers))}.",
                "They belong to one place.",
                "Name one layer, or none where the file says it.",
            )
        if self.layers:
            return f"{self.layers[0]}.{self.site}"
        return self.site if "." in self.site else ""

    def _units(
        self, lab: Lab, items: Sequence[Text], found: Mapping[Site, UnitStream], blind: Mapping[Site, UnitStream],
        units: Sequence[Unit], source: Source | None,
    ) -> tuple[UnitRecord, ...]:  # fmt: skip
        """The records of the units shown; their excerpts are read together."""
        shown: list[list[tuple[int, str]]] = []
        for u in units:
            r = found[u.site]
            top = [(int(t), f"top {i + 1}") for i, t in enumerate(r.text[u.unit])]
            other, value = r.quantiles(u.unit, self.n_quantiles)
            size = self.n_quantiles + 1
            spread = [(int(t), f"{100 * (1 - (i + 1) / size):.0f} % are weaker") for i, t in enumerate(other)]
            if source is not None and source.what == "feature":  # where it is off there is nothing to see
                top = [t for t, v in zip(top, r.value[u.unit]) if v > 0] or top[:1]
                spread = [t for t, v in zip(spread, value) if v > 0]
            shown.append(top + spread)
        wanted = sorted({t for s in shown for t, _ in s})
        read = dict(zip(wanted, read_units(lab, [items[t] for t in wanted], units, source)))
        ways = pushed(lab, items, units, source)
        made = []
        for i, (u, texts) in enumerate(zip(units, shown)):
            r = found[u.site]
            shares, edges = r.histogram(u.unit, self.n_bins)
            up, down = ways.get(u, ((), ()))
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
        random: Mapping[Site, UnitStream] | None, why: str, name: str,
    ) -> tuple[Score, ...]:  # fmt: skip
        """The mean peak over units, against shuffled tokens and against units that nothing was learned for."""
        mine = np.concatenate([peaks(r) for r in found.values()])
        at = np.sort(lab.rng("judged units").permutation(len(mine))[:MOST_JUDGED])
        interval = bootstrap_mean(mine[at], self.seed)

        def score(words: str, other: Mapping[Site, UnitStream] | None, control: str) -> Score:
            theirs = np.concatenate([peaks(r) for r in other.values()]) if other else None
            if theirs is not None and len(theirs) == len(mine):
                theirs = theirs[at]
            return Score(
                name=words,
                value=float(mine[at].mean()),
                control=None if theirs is None else float(theirs.mean()),
                control_name="" if theirs is None else control,
                skipped="" if other else why,
                interval=interval,
                n=len(at),
            )

        return (
            score("mean peak of all units, in standard deviations", blind, "the same tokens in random order"),
            score(f"the same, against {name}", random, name),
        )


def _called(items: np.ndarray, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The numbers in the whole of the texts of every part; equal texts take theirs in turn."""
    where: dict[int, deque[int]] = {}
    for i, n in enumerate(items.tolist()):
        where.setdefault(n, deque()).append(i)
    return [np.array([where[n].popleft() for n in p.tolist()], dtype=np.int64) for p in parts]


def _fill(lab: Lab, items: Sequence[Text], found: Records, units: Sequence[Unit]) -> None:
    """Read the sampled texts once more, for the values of the units shown."""
    texts, of, position = sampled(next(iter(found.values())))
    wanted = sorted({*texts.tolist(), *of.tolist()})
    read = dict(zip(wanted, read_units(lab, [items[t] for t in wanted], units)))
    places = {t: {p: row for row, p in enumerate(r.positions)} for t, r in read.items()}
    for i, u in enumerate(units):
        most = np.array([read[t].values[:, i].max() for t in texts.tolist()])
        each = np.array([read[t].values[places[t][p], i] for t, p in zip(of.tolist(), position.tolist())])
        filled(found[u.site], u.unit, most, each)


def _random(
    lab: Lab, items: Sequence[Text], sites: Sequence[Site], k: int, source: Source | None, found: Mapping[Site, UnitStream]
) -> tuple[dict[Site, UnitStream] | None, str]:  # fmt: skip
    """The records of random directions, or of the model with randomised weights; None and the reason where no copy is made."""
    if source is not None:
        return record(lab, items, sites, k, random_like(source, lab, items, found)), ""
    twin, why = twin_of(lab)
    return (None, why) if twin is None else (record(twin, items, sites, k), "")


def _name(source: Source | None) -> str:
    """What the control that learned nothing is called."""
    if source is None:
        return "randomised weights"
    return "as many random directions on" if source.what == "feature" else "random directions"


def _title(source: Source | None) -> str:
    if source is None:
        return "What do single units fire on?"
    return f"What do {'features' if source.what == 'feature' else 'directions'} of {source.site} fire on?"


def _context(path: str, source: Source | None, n: int) -> tuple[tuple[str, str], ...]:
    if source is None:
        return ()
    what = f"{n:,} {source.what}s of {path}" if n > 1 else f"the {source.what} of {path}"
    return (("units", what), ("reads", str(source.site)), ("writes", str(source.out)))


def _by_site(found: Mapping[Site, UnitStream], sites: Sequence[Site]) -> np.ndarray:
    return np.array([float(peaks(found[s]).mean()) for s in sites])


def _lede(units: tuple[UnitRecord, ...], scores: tuple[Score, ...], n: int, source: Source | None) -> str:
    first = units[0]
    words = ", ".join(repr(t.strip() or t) for t in strongest(first)[:3])
    context, learned = scores
    told = (
        f"{first.name} peaks {first.peak:.1f} standard deviations above its mean, at {words}"
        f" ({first.peak_shuffled:.1f} when the tokens are shuffled), and is above zero on {first.rate:{'.0%' if first.rate >= 0.02 else '.1%'}} of tokens."
        f" Over all units of {n} texts the mean peak is {context.value:.2f}"
    )
    told += "" if context.control is None else f"; {context.control:.2f} on shuffled tokens"
    against = "with randomised weights" if source is None else "for random directions"
    against += " of which as many are on" if source is not None and source.what == "feature" else ""
    told += "." if learned.control is None else f", {learned.control:.2f} {against}."
    if context.beats_control is False:
        told += (
            " Units here peak no higher in real texts than in shuffled ones: they read words, not context."
        )
    if learned.beats_control is False:
        other = "in a model that learned nothing" if source is None else "those of random directions"
        told += f" Peaks are no higher than {other}: read the excerpts with care."
    return told
