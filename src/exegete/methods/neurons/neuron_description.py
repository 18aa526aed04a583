"""Descriptions of units in words, by clues or by a language model, each judged on texts that its writer never saw.

1. texts are made distinct, and cut in two by a draw: half to explain, half to test; none is in both;
2. the units asked for, or those that peak highest on the half to explain, are read token by token;
3. the writer (`ops.clues`) makes a description of each from its strongest texts and as many random ones; with `n_pruned`, the
   contexts of its strongest tokens are cut to what it needs (`pruned`), their patterns are shown, and the description speaks of no
   other words before a token;
4. with `n_candidates` above 1, of descriptions of several lengths the one that says most about the unit alone is chosen (`candidates`);
5. every description foretells every unit's activations on the test texts: its own unit's, and, swapped, the others';
6. descriptions and test texts are embedded (`models.embedder`; by the model's own middle layer, or by an `embedder`).

Scores (`ops.description_scores`), means over units: simulation (correlation), detection and fuzzing (balanced accuracy), intruder
(share found among three texts), embedding (AUROC of cosines). An empty description gets 0, 1/2, 1/2, 1/3 and 1/2. A unit fires where it is above half of its largest
value on the texts to explain. Units whose test texts all fire, or none does, cannot be judged by the last four; they count as
failed. Chance: what an empty description gets. Control: the descriptions of the other units on the same texts.

With a `writer` other than "embedded", a language model writes and judges descriptions of the same units too
(`told_by_chat`), and both are judged on the same `n_judged` of the test texts, for each answer is a call.

Cost: 2 forwards a text to explain, 2 a test text, 1 a description; calls are said, and refused where too many, before the first. References: Bills
et al. 2023 (explain, simulate, score); Foote et al. 2023, Neuron to Graph; Paulo et al. 2024 (detection, fuzzing, intruder, embedding);
Hernandez et al. 2022 (candidates).
Descriptions from needed contexts alone say what a unit was seen to hang on, but foretell no better: on the embedded models, 12 units
each, the simulation falls from 0.654 to 0.647 (decoder neurons), 0.418 to 0.396 (its stream) and 0.921 to 0.899 (encoder neurons).
Clues are patterns of words: where what sets a unit off is a meaning that words of the texts do not show, they fail, and the
scores say so.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.neuron_description import KINDS, Described, NeuronDescriptions
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.neurons.candidates import Excerpts, lengths, select
from exegete.methods.neurons.pruned import frequent, pruned
from exegete.methods.neurons.told_by_chat import SHOWN, Case, Told, excerpt, picked, tell
from exegete.methods.neurons.unit_texts import Read, chosen, read_units, record
from exegete.models.chat.open import chat
from exegete.models.embedder import embedded
from exegete.models.harvest import sites_at
from exegete.models.lab import Lab
from exegete.ops.clues import Clues, describe
from exegete.ops.description_scores import (
    CROWD,
    detection,
    embedding,
    fuzzing,
    intruder,
    nearness,
    simulation,
    trials,
)
from exegete.ops.needed_words import Pattern, merged
from exegete.ops.needed_words import told as told_pattern
from exegete.ops.stats import bootstrap_mean

CHANCE = (0.0, 0.5, 0.5, 1 / CROWD, 0.5)


@register
class NeuronDescription(Study):
    """What single units fire on, in words; judged by how well the words foretell them on other texts."""

    id: ClassVar[str] = "neuron_description"
    family: ClassVar[str] = "neurons"
    techniques: ClassVar[tuple[str, ...]] = ("F7", "F9", "F12")
    verb: ClassVar[str] = "neurons"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 400
    finds: ClassVar[type] = NeuronDescriptions
    reference: ClassVar[Reference] = Reference(
        authors="Bills et al.", year=2023, title="Language models can explain neurons in language models",
        where="OpenAI",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "sites")
    passes: ClassVar[str] = (
        "2 forwards a text to explain, 2 a test text, 1 a description; a few dozen short ones a pruned text"
    )
    site: str = Field("mlp_act", description="kind of unit: mlp_act (neurons), resid_post, z (head outputs)")
    layers: tuple[int, ...] = Field((), description="layers that are read; none: all")
    units: tuple[int, ...] = Field(
        (), description="numbers of the units that are described; none: the strongest"
    )
    n_shown: int = Field(6, ge=2, le=100, description="how many of the strongest units are described")
    k: int = Field(20, ge=1, le=1000, description="strongest texts that the writer reads, and as many random")
    n_clues: int = Field(8, ge=1, le=100, description="most clues of a description")
    n_candidates: int = Field(
        1,
        ge=1,
        le=10,
        description="descriptions of each unit, each half as long as the one before, from which one is chosen; 1: the longest, which foretells best",
    )
    weight: float = Field(
        0.2,
        ge=0,
        le=1,
        description="how much a description loses by fitting other units too; 0: the best fit is chosen",
    )
    n_pruned: int = Field(
        0,
        ge=0,
        le=1000,
        description="strongest texts of a unit that are cut to the words it needs; 0: none, which foretells a little better",
    )
    writer: str = Field(
        "embedded",
        description="who writes: embedded (no language model), or beside it script:FILE, local:NAME, http://HOST/v1#MODEL",
    )
    n_judged: int = Field(24, ge=2, le=1000, description="test texts that a language model is asked about")
    embedder: str = Field(
        "",
        description="Hugging Face encoder whose vectors the embedding score compares; none: the model's own middle layer",
    )
    most_calls: int = Field(2000, ge=1, description="most calls of a language model; more are refused")
    seed: int = Field(0, description="seed of the two halves and of the draws")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> NeuronDescriptions:
        """Over all texts."""
        teller = None if self.writer == "embedded" else chat(self.writer)
        explain, test, repeated = halves(lab, items)
        k = min(self.k, len(explain))
        found = record(lab, explain, sites_at(lab.model, self.site, self.layers), k)
        units = chosen(found, self.units, self.n_shown)
        seen, held = read_units(lab, explain, units), read_units(lab, test, units)
        made, given, strongest, peaks, needs = [], [], [], [], []
        before, fillers = lab.meter.forwards, frequent(lab, explain) if self.n_pruned else ()
        with lab.working(len(units), "writing descriptions") as done:
            for i, u in enumerate(units):
                top = found[u.site].text[u.unit].tolist()
                other = lab.rng("others", str(u)).permutation(len(explain))[:k].tolist()
                patterns = None
                if self.n_pruned:
                    mean = float(found[u.site].mean[u.unit])
                    cut = pruned(lab, [explain[t] for t in top[: self.n_pruned]], u, mean, fillers)
                    patterns = merged(cut)
                    needs.append(tuple((told_pattern(p.code), p.value) for p in patterns))
                texts = [seen[t] for t in dict.fromkeys([*top, *other])]
                given.append([(r.tokens, r.values[:, i]) for r in texts if r.tokens])
                made.append(self._describe(lab, given[-1], patterns))
                strongest.append(tuple(excerpt(seen[t], i) for t in top[:SHOWN] if seen[t].tokens))
                peaks.append(float(found[u.site].value[u.unit, 0]))
                done()
        spent = lab.meter.forwards - before
        clues, candidates = tuple(of[0] for of in made), ()
        if self.n_candidates > 1:
            clues, candidates = select(given, made, self.weight)
        bars = [p / 2 for p in peaks]
        if teller is not None:
            held = picked(lab, held, bars, self.n_judged)
        foretold = [[d.simulate(r.tokens) for r in held] for d in clues]
        rows = []
        with lab.working(len(units), "judging descriptions") as done:
            for i, u in enumerate(units):
                true = [r.values[:, i] for r in held]
                rows.append([_scores(lab, f, true, bars[i], str(u)) for f in foretold])
                done()
        table = np.array(rows)  # [unit, description, kind]
        near = self._near(lab, [d.text for d in clues], held, bars)
        table = np.concatenate([table, near], 2)
        names = [str(u) for u in units]
        described = _described(names, [d.text for d in clues], table)
        told, its, mine = None, (), ()
        if teller is not None:
            cases = [
                Case(n, peaks[i], strongest[i], tuple(r.values[:, i] for r in held), bars[i])
                for i, n in enumerate(names)
            ]
            told = tell(lab, teller, cases, held, self.most_calls)
            near = self._near(lab, told.words, held, bars)
            its = _described(
                names,
                ["(could not be written)" if w is None else w for w in told.words],
                np.concatenate([told.table, near], 2),
            )
            mine = tuple(self._score(n, its, (_short(teller.name), told)) for n in range(len(KINDS)))
        scores = tuple(self._score(n, described) for n in range(len(KINDS)))
        return NeuronDescriptions(
            title="What does each unit fire on, in words?",
            lede=_lede(described, scores)
            + (_told_lede(_short(teller.name), mine, told) if teller and told else ""),
            context=_context(told, spent if self.n_pruned else None),
            units=described,
            needs=tuple(needs),
            candidates=candidates,
            writer="clues, no language model",
            n_explain=len(explain),
            n_test=len(held),
            repeated=repeated,
            embedder=self.embedder or "the model's own middle layer",
            told=its,
            teller=_short(teller.name) if teller else "",
            asked=told.asked if told else (),
            failed=told.failed if told else (),
            trust=Trust(scores=(*scores, *mine), seed=self.seed),
        )

    def _describe(self, lab: Lab, texts: Excerpts, patterns: Sequence[Pattern] | None) -> tuple[Clues, ...]:
        """The candidates of one unit; models that read both ways may also be described by what comes next."""
        ahead = not lab.model.causal
        return tuple(
            describe(texts, n, ahead=ahead, patterns=patterns)
            for n in lengths(self.n_clues, self.n_candidates)
        )

    def _near(
        self, lab: Lab, words: Sequence[str | None], held: Sequence[Read], bars: Sequence[float]
    ) -> np.ndarray:
        """Embedding scores [unit, description, 1]; NaN for descriptions that could not be written."""
        texts = [str(lab.model.tokenizer.decode(list(r.ids))) if r.ids else "" for r in held]
        vectors = embedded(lab, [*(w or "" for w in words), *texts], self.embedder)
        near = nearness(vectors[: len(words)], vectors[len(words) :])
        found = [
            [
                np.nan if w is None else embedding(x, [r.values[:, i] for r in held], bar)
                for w, x in zip(words, near)
            ]
            for i, bar in enumerate(bars)
        ]
        return np.array(found)[..., None]

    def _score(self, kind: int, units: tuple[Described, ...], by: tuple[str, Told] | None = None) -> Score:
        """One kind of score, mean over units that can be judged by it. `by` a language model: n counts its answers, own and
        swapped; n_failed those that could not be read, and units that cannot be judged.
        """
        own = np.array([u.own[kind] for u in units])
        other = np.array([u.swapped[kind] for u in units])
        good = np.isfinite(own) & np.isfinite(other)
        words = "the descriptions of other units on the same texts"
        name = f"{KINDS[kind]} on texts the writer never saw"
        why = "no unit fires on some test texts and not on others"
        n, lost = int(good.sum()), int((~good).sum())
        if by is not None:
            name = f"{name}, by {by[0]}"
        if by is not None and kind < len(by[1].asked):  # the embedding asks nothing
            why = "no unit has answers that could be read, and test texts on which it fires and does not"
            n = by[1].asked[kind] - by[1].failed[kind] if n else 0
            lost += by[1].failed[kind]
        return Score(
            name=name,
            value=float(own[good].mean()) if good.any() else float("nan"),
            chance=CHANCE[kind],
            control=float(other[good].mean()) if good.any() else None,
            control_name=words if good.any() else "",
            skipped="" if good.any() else why,
            interval=bootstrap_mean(own[good], self.seed),
            n=n,
            n_failed=lost,
        )


def halves(lab: Lab, items: Sequence[Text]) -> tuple[tuple[Text, ...], tuple[Text, ...], int]:
    """Texts to explain and texts to test, none in both, and how many were left out as repeated.

    Raises `InputError` for fewer than two different texts.
    """
    distinct = list({t.model_copy(update={"id": ""}): t for t in items}.values())
    if len(distinct) < 2:
        raise InputError(
            f"You asked for descriptions from {len(items)} texts.",
            f"{len(distinct)} of them are different: there is none to explain with, or none to test on.",
            "Give at least two different texts, better some hundreds.",
        )
    order = lab.rng("halves").permutation(len(distinct))
    cut = (len(distinct) + 1) // 2
    explain, test = (tuple(distinct[i] for i in np.sort(part)) for part in (order[:cut], order[cut:]))
    return explain, test, len(items) - len(distinct)


def _scores(
    lab: Lab, foretold: list[np.ndarray], true: list[np.ndarray], bar: float, name: str
) -> tuple[float, ...]:
    """One description's scores on one unit [kind]; every description is asked about the same marks."""
    return (
        simulation(foretold, true),
        detection(foretold, true, bar),
        fuzzing(foretold, true, bar, lab.rng("marks", name)),
        intruder(foretold, trials(true, bar, lab.rng("trials", name))),
    )


def _context(told: Told | None, spent: int | None) -> tuple[tuple[str, str], ...]:
    """What it took beyond reading the texts."""
    found = [] if told is None else [("Language model", told.note)]
    if spent is not None:
        found.append(("Needed contexts", f"{spent:,} forwards of short texts"))
    return tuple(found)


def _described(names: Sequence[str], words: Sequence[str], table: np.ndarray) -> tuple[Described, ...]:
    """Units with their own and the others' scores, from scores [unit, description, kind]."""
    return tuple(
        Described(name=n, words=w, own=table[i, i], swapped=_others(table[i], i))
        for i, (n, w) in enumerate(zip(names, words))
    )


def _others(table: np.ndarray, i: int) -> np.ndarray:
    """The mean scores [kind] of the other descriptions [description, kind] that have one; NaN with none."""
    rest = np.delete(table, i, 0)
    judged = np.isfinite(rest)
    n = judged.sum(0)
    return np.where(n > 0, np.where(judged, rest, 0.0).sum(0) / np.maximum(n, 1), np.nan)


def _lede(units: tuple[Described, ...], scores: tuple[Score, ...]) -> str:
    best = max(units, key=lambda u: float(np.nan_to_num(u.own[0], nan=-2.0)))
    first = scores[0]
    if not first.n:
        return "No description could be judged: give more texts, or at least two units."
    told = (
        f"{best.name} {best.words or 'could not be described'} (correlation {best.own[0]:.2f} on new texts)."
    )
    told += (
        f" Over {first.n} units descriptions foretell activations with a correlation of {first.value:.2f};"
    )
    told += f" those of other units {first.control or 0.0:.2f}."
    weak = [k for k, s in zip(KINDS, scores) if not (s.beats_chance and s.beats_control)]
    return told + (f" Not beaten: chance or the swapped descriptions in {', '.join(weak)}." if weak else "")


def _short(name: str) -> str:
    """The name of a chat without what is said about it in brackets, which the note holds."""
    return name.split(" (")[0]


def _told_lede(name: str, scores: tuple[Score, ...], told: Told) -> str:
    """What came of the language model's descriptions."""
    lost, asked = sum(told.failed), sum(told.asked)
    parts = [
        f"{k} {s.value:.2f} (swapped {s.control:.2f})"
        if s.control is not None
        else f"{k} could not be judged"
        for k, s in zip(KINDS, scores)
    ]
    words = f" Descriptions by {name}: {', '.join(parts)}."
    weak = [k for k, s in zip(KINDS, scores) if not (s.beats_chance and s.beats_control)]
    if weak:
        words += f" They do not beat chance and the swapped descriptions in {', '.join(weak)}."
    return words + (f" {lost:,} of {asked:,} answers could not be read." if lost else "")
