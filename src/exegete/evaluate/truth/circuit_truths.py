"""Truths for studies of parts, paths and weights: the compiled models, whose circuits are known edge by edge.

    activation_patching        heads of the gold circuit, by the share that their output carries from one text to the other
    attribution_patching       the same by estimate
    path_patching              gold writers, for every receiver of the gold circuit that more than the embedding writes to
    direct_logit_attribution   the parts that write to the logits
    composition                (kind, writer, reader) of gold edges from head to head
    weight_tables              heads that were set to copy what they read
    attention_map              where the head of the circuit looks from the place that answers

Control and chance: random orders (`ranked`). Cost: that of the studies on 6 pairs of 6 tiny models.
References: as for `blueprint`; the models prove themselves edge by edge in the tests.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from exegete.core.results.attention import AttentionMaps
from exegete.core.results.composition import KINDS, Composition
from exegete.core.results.direct import LogitAttribution
from exegete.core.results.patching import PatchEstimate, Patching
from exegete.core.results.tables import WeightTables
from exegete.core.results.truth import TruthRow
from exegete.core.target import Target
from exegete.core.trust import Cost
from exegete.evaluate.truth.compiled import Compiled, compiled, compiled_names
from exegete.evaluate.truth.ranked import Ranked, ranked_row
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, told, truth_row
from exegete.methods.attention.attention_map import AttentionMap
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.activation_patching import ActivationPatching
from exegete.methods.mechanisms.attribution_patching import AttributionPatching
from exegete.methods.mechanisms.composition import CompositionStudy
from exegete.methods.mechanisms.direct_logit_attribution import DirectLogitAttribution
from exegete.methods.mechanisms.path_patching import PathPatching
from exegete.methods.mechanisms.weight_tables import WeightTablesStudy

PAIRS = 6
COPIERS = {"copy": (0, 1), "induction": (1, 0), "indirect_object": (2, 1), "by_place": (1, 2)}
SAYS = "the edges of transformers whose weights are set by hand"
made: Callable[[str], Compiled] = cache(compiled)


def models() -> tuple[Compiled, ...]:
    """All compiled models."""
    return tuple(made(n) for n in compiled_names())


def heads_of(c: Compiled) -> set[tuple[int, int]]:
    """(layer, head) of the heads in the gold circuit."""
    return {_head(n) for n in c.nodes if ".h" in n}


def _head(name: str) -> tuple[int, int]:
    layer, head = name.split(".h")
    return int(layer), int(head)


def table(shape: tuple[int, ...], gold: Sequence[tuple[int, ...]] | set[tuple[int, int]]) -> np.ndarray:
    """A mask of `shape` that is true at `gold`, flat."""
    found = np.zeros(shape, dtype=bool)
    for at in gold:
        found[at] = True
    return found.ravel()


# -- patching ------------------------------------------------------------------------------------------------------------


def _of_heads(study: Study, kind: type[Patching] | type[PatchEstimate], seed: int) -> tuple[TruthRow, ...]:
    """Gold heads among all heads, by the size of a patch's effect."""
    cases = []
    for c in models():
        found = told(kind, study, c.model, c.pairs(PAIRS, seed))
        effect = found.grids[0].effect
        gold = table(effect.shape, heads_of(c))
        cases.append(Ranked(c.name, np.abs(effect).ravel(), gold, found.cost, PAIRS))
    return (ranked_row(study, "compiled circuits: heads", "AUROC of gold heads", cases, seed),)


def _activation(seed: int) -> tuple[TruthRow, ...]:
    return _of_heads(ActivationPatching(sites=("z",), seed=seed), Patching, seed)


def _attribution(seed: int) -> tuple[TruthRow, ...]:
    return _of_heads(AttributionPatching(sites=("z",), n_exact=3, seed=seed), PatchEstimate, seed)


def receivers(c: Compiled) -> dict[str, set[str]]:
    """Gold writers by receiver, of receivers behind the first layer's heads."""
    found: dict[str, set[str]] = {}
    for writer, reader in c.edges:
        if not reader.startswith("0.h"):
            found.setdefault(reader, set()).add(writer)
    return found


def _path(seed: int) -> tuple[TruthRow, ...]:
    """Gold writers among all that come before a receiver."""
    cases = []
    for c in models():
        for receiver, writers in receivers(c).items():
            found = told(Patching, PathPatching(receiver=receiver, seed=seed), c.model, c.pairs(PAIRS, seed))
            grid = found.grids[0]
            names = [w if w == "embed" else f"{r}.{w}" for r in grid.rows for w in grid.columns]
            effect = grid.effect.ravel()
            there = np.isfinite(effect)
            gold = np.array([n in writers for n in names])
            name = f"{c.name}, into {receiver}"
            cases.append(Ranked(name, np.abs(effect[there]), gold[there], found.cost, PAIRS))
    return (ranked_row(PathPatching(), "compiled circuits: paths", "AUROC of gold writers", cases, seed),)


def _direct(seed: int) -> tuple[TruthRow, ...]:
    """The parts that write to the logits, by their share in the right answer less the wrong one."""
    study, cases = DirectLogitAttribution(n_random=10, seed=seed), []
    for c in models():
        writers, shares, spent = {w for w, r in c.edges if r == "logits"}, [], Cost()
        for p in c.pairs(PAIRS, seed):
            target = Target(label=p.answer, against=p.against)
            found = told(LogitAttribution, study, c.model, [p.clean.text], target)
            spent += found.cost
            by_head = {f"{i}.h{j}": x for (i, j), x in np.ndenumerate(found.heads)}
            by_layer = {f"{i}.mlp": x for i, x in enumerate(found.feed_forward)}
            shares.append({**by_head, **by_layer, "embed": found.embedding})
        names = tuple(shares[0])
        mean = np.array([np.mean([abs(s[n]) for s in shares]) for n in names])
        gold = np.array([n in writers for n in names])
        cases.append(Ranked(c.name, mean, gold, spent, PAIRS))
    name = "compiled circuits: last writers"
    return (ranked_row(study, name, "AUROC of the parts that write the answer", cases, seed),)


# -- weights -------------------------------------------------------------------------------------------------------------


def compositions(c: Compiled) -> set[tuple[str, str, str]]:
    """(kind, writer, reader) of gold edges from head to head."""
    split = [(w, *r.rsplit(".", 1)) for w, r in c.edges if ".h" in w and ".h" in r]
    return {(kind, writer, reader) for writer, reader, kind in split}


def _composition(seed: int) -> tuple[TruthRow, ...]:
    """Gold compositions among all pairs of heads and all three kinds."""
    study, cases = CompositionStudy(seed=seed), []
    for c in models():
        gold = compositions(c)
        if not gold:
            continue
        found = told(Composition, study, c.model)
        there = np.argwhere(np.isfinite(found.excess))
        names = [(KINDS[k], found.heads[w], found.heads[r]) for k, w, r in there]
        truth = np.array([n in gold for n in names])
        excess = found.excess[np.isfinite(found.excess)]
        cases.append(Ranked(c.name, excess, truth, found.cost))
    return (ranked_row(study, "compiled circuits: compositions", "AUROC of gold compositions", cases, seed),)


def _tables(seed: int) -> tuple[TruthRow, ...]:
    """Heads that copy among all heads."""
    study, cases = WeightTablesStudy(seed=seed), []
    for name, at in COPIERS.items():
        found = told(WeightTables, study, made(name).model)
        gold = table(found.copying.shape, {at})
        cases.append(Ranked(name, found.copying.ravel(), gold, found.cost))
    return (ranked_row(study, "heads set to copy", "AUROC of copying heads", cases, seed),)


# -- attention -----------------------------------------------------------------------------------------------------------


def looks_at(name: str, words: Sequence[str]) -> int:
    """The place (the beginning of the text is 0) that the head which answers looks at from the last word, by the rule."""
    if name == "copy":
        return 1 + ("one", "two", "three", "four", "five", "six").index(words[-1])
    if name == "induction":
        return 2 + words.index(words[-1])
    if name == "by_place":
        return len(words) - 3
    return 1 + next(i for i in (1, 3) if words[i] != words[6])  # indirect_object: who does not give


def _maps(seed: int) -> tuple[TruthRow, ...]:
    """Whether the map of the head that copies shows it looking where the rule says; beside the other heads' maps."""
    study, draws = AttentionMap(), []
    for name, (layer, head) in COPIERS.items():
        c, right, other, guess, spent = made(name), [], [], [], Cost()
        for p in c.pairs(PAIRS, seed):
            words = (p.clean.text or "").split()
            if "third" in p.id:
                continue
            found = told(AttentionMaps, study, c.model, p.clean.text)
            spent += found.cost
            maps, want = found.maps[0], looks_at(name, words)
            hits = maps.patterns[:, -1].argmax(-1) == want
            own = np.array([at == (layer, head) for at in zip(maps.layers, maps.heads)])
            right.append(float(hits[own].mean()))
            other.append(float(hits[~own].mean()))
            guess.append(1 / maps.patterns.shape[-1])
        hit, rest, lucky = (float(np.mean(x)) for x in (right, other, guess))
        draws.append(Draw(hit, rest, spent, len(right), lucky, ((name, hit),), len(right)))
    measure = "share of texts in which the head looks most where its rule says"
    return (
        truth_row(study, "attention set by hand", measure, draws, control_name="the maps of all other heads"),
    )


TRUTHS: dict[str, StudyTruth] = {
    "activation_patching": StudyTruth("compiled circuits: heads", SAYS, _activation),
    "attribution_patching": StudyTruth("compiled circuits: heads", SAYS, _attribution),
    "path_patching": StudyTruth("compiled circuits: paths", SAYS, _path),
    "direct_logit_attribution": StudyTruth("compiled circuits: last writers", SAYS, _direct),
    "composition": StudyTruth("compiled circuits: compositions", SAYS, _composition),
    "weight_tables": StudyTruth(
        "heads set to copy", "four heads that were set by hand to copy the word they read", _tables
    ),
    "attention_map": StudyTruth(
        "attention set by hand",
        "four heads of which a rule says at which word they look from the last one",
        _maps,
    ),
}
