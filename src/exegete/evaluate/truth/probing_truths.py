"""Truths for probes of layers: properties that are known to be absent below one layer (`planted_layers`).

    layer_probe, edge_probe   the kind of the word one, two and three places before: accuracy and F1 by layer
    mdl_probe                 the same: bits a label by layer
    layer_surprisal           pairs of which one breaks a rule about these words: share of pairs told by layer
    coreference_probe         pronouns that get to know at one layer which name is meant: accuracy by layer
    probe_attribution         the additive planted model: words that decide between the two classes must weigh more in the probe of a text
                              than words that do not (AUROC)

Each of the others must name the first layer at which it is there. Control: labels, pairs or antecedents dealt anew. Cost: that of the study, twice a
property. References: Tenney et al. 2019; Voita & Titov 2020; Li et al. 2021; Sorodoc et al. 2020.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from exegete.core.material import Marked
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth.known_layer import Curve, layer_row
from exegete.evaluate.truth.marked_texts import AGAINST, FOR, marked_row
from exegete.evaluate.truth.planted import planted
from exegete.evaluate.truth.planted_layers import (
    BACKS,
    back_marks,
    back_pairs,
    layered,
    pronoun_marks,
    usual_texts,
)
from exegete.evaluate.truth.planted_words import SAYS as DECIDING
from exegete.evaluate.truth.study_truth import StudyTruth
from exegete.methods.probing.coreference_probe import CoreferenceProbe
from exegete.methods.probing.edge_probe import EdgeProbe
from exegete.methods.probing.layer_probe import LayerProbe
from exegete.methods.probing.layer_surprisal import LayerSurprisal
from exegete.methods.probing.mdl_probe import MdlProbe
from exegete.methods.probing.probe_attribution import ProbeAttribution

NAME = "known layers"
SAYS = "a model in which a property of words is absent below a layer, and linear from there on"
TEXTS, PAIRS, PRONOUN_TEXTS, USUAL = 30, 24, 32, 200
PROPERTIES = tuple((f"kind {k} before", k) for k in BACKS)
RESOLVED = tuple((f"pronoun {i + 1}", i + 1) for i in range(len(BACKS)))


def _layer_probe(seed: int) -> tuple[TruthRow, ...]:
    def ask(i: int, draw: int, shuffled: bool) -> Curve:
        study = LayerProbe(n_seeds=1, min_count=2, seed=draw)
        found: Any = study(layered(), back_marks(BACKS[i], TEXTS, draw, shuffled))
        return found.score, found.majority, 1.0, found.cost

    return (layer_row(LayerProbe(), NAME, PROPERTIES, ask, TEXTS, seed),)


def _mdl_probe(seed: int) -> tuple[TruthRow, ...]:
    def ask(i: int, draw: int, shuffled: bool) -> Curve:
        study = MdlProbe(strengths=(10.0,), seed=draw)
        found: Any = study(layered(), back_marks(BACKS[i], TEXTS, draw, shuffled))
        return found.online, found.frequency, 0.0, found.cost

    return (layer_row(MdlProbe(), NAME, PROPERTIES, ask, TEXTS, seed),)


def _edge_probe(seed: int) -> tuple[TruthRow, ...]:
    def ask(i: int, draw: int, shuffled: bool) -> Curve:
        study = EdgeProbe(n_steps=60, project=16, hidden=8, n_seeds=1, seed=draw)
        found: Any = study(layered(), back_marks(BACKS[i], TEXTS, draw, shuffled))
        return found.f1, found.majority, 1.0, found.cost

    return (layer_row(EdgeProbe(), NAME, PROPERTIES, ask, TEXTS, seed),)


def _layer_surprisal(seed: int) -> tuple[TruthRow, ...]:
    def ask(i: int, draw: int, shuffled: bool) -> Curve:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "usual.txt"
            path.write_text("\n".join(usual_texts(BACKS[i], USUAL, draw)), encoding="utf-8")
            study = LayerSurprisal(corpus=str(path), n_corpus=USUAL, seed=draw)
            found: Any = study(layered(), back_pairs(BACKS[i], PAIRS, draw, shuffled))
        return found.share, 0.5, 1.0, found.cost

    return (layer_row(LayerSurprisal(), NAME, PROPERTIES, ask, USUAL + 2 * PAIRS, seed),)


def _coreference_probe(seed: int) -> tuple[TruthRow, ...]:
    def ask(i: int, draw: int, shuffled: bool) -> Curve:
        study = CoreferenceProbe(n_steps=60, n_folds=3, rate=0.05, seed=draw)
        found: Any = study(layered(), pronoun_marks(i, PRONOUN_TEXTS, draw, shuffled))
        return found.accuracy, found.chance, 1.0, found.cost

    return (layer_row(CoreferenceProbe(), NAME, RESOLVED, ask, PRONOUN_TEXTS, seed),)


def _probe_attribution(seed: int) -> tuple[TruthRow, ...]:
    """How well the size of the mean saliency of words tells those that decide from the others."""
    decide = {*DECIDING[FOR], *DECIDING[AGAINST]}
    what = planted("additive")

    def told(items: Sequence[Marked], draw: int) -> tuple[float, Cost]:
        found: Any = ProbeAttribution(pool="last", shares=(0.3,), n_draws=1, seed=draw)(what.model, items)
        own = np.array([w.strip() in decide for w in found.words])
        size = np.abs(found.word_saliency)
        above = size[own][:, None] - size[~own][None]
        return float((above > 0).mean() + (above == 0).mean() / 2), found.cost

    measure = "deciding words before others by saliency (AUROC)"
    return (marked_row(ProbeAttribution(), "deciding words", measure, 0.5, what, seed, told, len(decide)),)


TRUTHS: dict[str, StudyTruth] = {
    "layer_probe": StudyTruth(NAME, SAYS, _layer_probe),
    "mdl_probe": StudyTruth(NAME, SAYS, _mdl_probe),
    "edge_probe": StudyTruth(NAME, SAYS, _edge_probe),
    "layer_surprisal": StudyTruth(NAME, SAYS, _layer_surprisal),
    "probe_attribution": StudyTruth(
        "deciding words", "a classifier that adds up the weights of known words", _probe_attribution
    ),
    "coreference_probe": StudyTruth(NAME, SAYS, _coreference_probe),
}
NO_TRUTH: dict[str, str] = {}
