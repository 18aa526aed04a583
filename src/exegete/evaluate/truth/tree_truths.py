"""Truths for probes of trees: trees that are in the geometry of the words from one layer on (`planted_trees`, `planted_impact`).

    structural_probe, poincare_probe, dependency_probe   the layer at which the tree comes in: UUAS, or UAS, by layer
    jabberwocky          the word that names the tree is one that becomes a pseudo-word, or all others are: the trees that the probe
                         reads must go, or stay
    perturbed_masking    each word reads its head alone: the heads found by masking

Control: trees of other sentences; for masking, the model with randomised weights. Cost: that of the study, twice a draw.
References: Hewitt & Manning 2019; Chen et al. 2021; Hall Maudslay & Cotterell 2021; Wu et al. 2020.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from exegete.core.results.truth import TruthRow
from exegete.evaluate.truth.known_layer import Curve, layer_row
from exegete.evaluate.truth.planted_impact import read_sentences, reader
from exegete.evaluate.truth.planted_trees import LAYERS, sentences, tree_model
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, truth_row
from exegete.methods.contracts.study import Study
from exegete.methods.probing.dependency_probe import DependencyProbe
from exegete.methods.probing.jabberwocky import Jabberwocky
from exegete.methods.probing.perturbed_masking import PerturbedMasking
from exegete.methods.probing.poincare_probe import PoincareProbe
from exegete.methods.probing.structural_probe import StructuralProbe

NAME = "known trees"
SAYS = "a model in which distances between words become those of the sentence's tree at one layer"
TREES = 60
READ, READERS = 6, 3
READ_NAME, READ_SAYS = "known heads", "a masked model in which each word reads its head and no other word"
AT = tuple(range(1, LAYERS + 1))  # the layers at which they are planted
PLACES = tuple((f"trees at layer {i}", i) for i in AT)


def _by_layer(study: Callable[[int], Study]) -> Callable[[int], tuple[TruthRow, ...]]:
    """The row of a study whose first measure is asked by layer."""

    def rows(seed: int) -> tuple[TruthRow, ...]:
        def ask(i: int, draw: int, shuffled: bool) -> Curve:
            found: Any = study(draw)(tree_model(AT[i]), sentences(TREES, draw, shuffled))
            return found.values[0], float(found.chance[0]), 1.0, found.cost

        control = "the same with trees of other sentences"
        return (layer_row(study(0), NAME, PLACES, ask, TREES, seed, "trees whose layer is named", control),)

    return rows


def _structural(draw: int) -> Study:
    return StructuralProbe(rank=16, n_steps=80, rate=0.03, n_seeds=1, seed=draw)


def _poincare(draw: int) -> Study:
    return PoincareProbe(rank=16, n_steps=80, rate=0.03, seed=draw)


def _dependency(draw: int) -> Study:
    return DependencyProbe(rank=32, n_steps=80, rate=0.03, seed=draw)


def _jabberwocky(seed: int) -> tuple[TruthRow, ...]:
    """Whether trees stay where meaning is taken away: they do where the word that names them stays."""
    draws = []
    for i, layer in enumerate(AT):
        draw = 1000 * seed + i
        hits, misses, cost = [], [], []
        for kind, named_by, words in (("stay", "PUNCT", "NOUN"), ("go", "NOUN", "DET")):
            study = Jabberwocky(rank=16, n_steps=80, rate=0.03, seed=draw)
            found: Any = study(tree_model(layer), sentences(TREES, draw, False, named_by, words))
            blind: Any = study(tree_model(layer), sentences(TREES, draw, True, named_by, words))
            hits.append((kind, float(_told(found) == kind)))
            misses.append(float(_told(blind) == kind))
            cost.append(found.cost)
        value = float(np.mean([x for _, x in hits]))
        draws.append(
            Draw(
                value,
                float(np.mean(misses)),
                cost[0] + cost[1],
                2 * TREES,
                parts=tuple(hits),
                trials=len(hits),
            )
        )
    measure, control = (
        "trees told to stay or to go with the meaning",
        "the same with trees of other sentences",
    )
    return (truth_row(Jabberwocky(), NAME, measure, draws, 0.5, control),)


def _told(found: Any) -> str:
    """What became of the trees at the layer of the probe: "" where it found none to begin with."""
    at, guess = found.best[0], found.chance[0]
    real, pseudo = found.by_control[0, 0, at] - guess, found.values[0, at] - guess
    if real < (1 - guess) / 2:
        return ""
    return "stay" if pseudo > real / 2 else "go"


def _masking(seed: int) -> tuple[TruthRow, ...]:
    """UUAS of trees made of what masking changes, at the layer that other sentences choose."""
    draws = []
    for draw in (1000 * seed + i for i in range(READERS)):
        found: Any = PerturbedMasking(seed=draw)(reader(draw), read_sentences(READ, draw))
        at = found.best[0]
        value, blind = float(found.values[0, at]), float(found.by_control[0, 0].max())
        draws.append(Draw(value, blind, found.cost, READ, float(found.chance[0]), trials=READ))
    measure, says = "arcs found (UUAS)", "the same of randomised weights"
    return (truth_row(PerturbedMasking(), READ_NAME, measure, draws, None, says),)


TRUTHS: dict[str, StudyTruth] = {
    "structural_probe": StudyTruth(NAME, SAYS, _by_layer(_structural)),
    "poincare_probe": StudyTruth(NAME, SAYS, _by_layer(_poincare)),
    "dependency_probe": StudyTruth(NAME, SAYS, _by_layer(_dependency)),
    "perturbed_masking": StudyTruth(READ_NAME, READ_SAYS, _masking),
    "jabberwocky": StudyTruth(NAME, SAYS, _jabberwocky),
}
NO_TRUTH: dict[str, str] = {}
