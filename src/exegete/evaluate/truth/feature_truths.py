"""Truths for dictionaries of features: a residual that is a sum of known directions (`planted_features`), and a calculation.

    sparse_autoencoder   mean max cosine of the directions that the residual is made of with the dictionary learned
    transcoder           the same with the directions that the feed-forward part adds
    feature_show         a feature near to a known direction is shown: the tokens on which it is strongest must hold that direction
    superposition        what becomes of a second feature in one dimension must be what costs least (`toy_phases`)

Controls: the same of the model with randomised weights; another direction; cells in random order. Cost: that of the studies, twice.
References: Sharkey et al. 2022; Bricken et al. 2023; Dunefsky et al. 2024; Elhage et al. 2022.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from exegete.core.results.truth import TruthRow
from exegete.core.seed import generator
from exegete.evaluate.truth.planted_features import (
    Features,
    mean_max_cosine,
    random_cosine,
    superposed,
)
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, truth_row
from exegete.evaluate.truth.toy_phases import clear, toy_phases
from exegete.methods.features.feature_show import FeatureShowStudy
from exegete.methods.features.sparse_autoencoder import SparseAutoencoder
from exegete.methods.features.superposition import SuperpositionStudy
from exegete.methods.features.transcoder import Transcoder
from exegete.models.randomise import randomised

NAME, SAYS = (
    "known features",
    "a model in whose residual each word is a sum of two out of 36 directions, in 24 dimensions",
)
DRAWS, TEXTS, N_SHOWN = 3, 140, 4
WIDE, STEPS, RATE = 2.0, 200, 0.01


def _dictionary(seed: int) -> SparseAutoencoder:
    return SparseAutoencoder(
        site="0.resid_pre",
        width=WIDE,
        k=2,
        n_steps=STEPS,
        batch=256,
        rate=RATE,
        n_held_out=20,
        n_shown=2,
        seed=seed,
    )


def _transcoder(seed: int) -> Transcoder:
    return Transcoder(
        width=WIDE, k=2, n_steps=STEPS, batch=256, rate=RATE, n_held_out=20, n_shown=2, seed=seed
    )


def _learned(
    study: Callable[[int], Any], known: Callable[[Features], np.ndarray]
) -> Callable[[int], tuple[TruthRow, ...]]:
    """The row of a study that learns a dictionary."""

    def rows(seed: int) -> tuple[TruthRow, ...]:
        draws = []
        for draw in (1000 * seed + i for i in range(DRAWS)):
            what = superposed(draw)
            found = study(draw)(what.model, what.texts(TEXTS, draw))
            blind = study(draw)(randomised(what.model), what.texts(TEXTS, draw))
            value, other = (mean_max_cosine(known(what), f.dictionary.decoder) for f in (found, blind))
            chance = random_cosine(known(what), len(found.dictionary.decoder), draw)
            draws.append(Draw(value, other, found.cost, TEXTS, chance, trials=len(known(what))))
        measure, control = (
            "mean max cosine with the known directions",
            "the same learned on randomised weights",
        )
        return (truth_row(study(0), NAME, measure, draws, None, control),)

    return rows


def _shown(seed: int) -> tuple[TruthRow, ...]:
    """The tokens that a feature is strongest on, of features of a learned dictionary that are nearest to known directions."""
    draws = []
    for draw in (1000 * seed + i for i in range(DRAWS)):
        what = superposed(draw)
        texts = what.texts(TEXTS, draw)
        made = _dictionary(draw)(what.model, texts)
        near = np.abs(what.read_directions @ _unit(made.dictionary.decoder).T)
        known = np.argsort(-near.max(1))[:N_SHOWN]
        with TemporaryDirectory() as folder:
            path = str(Path(folder) / "features.exg")
            made.save(path)
            studies = [
                FeatureShowStudy(
                    saved=path, feature=int(near[j].argmax()), n_examples=8, n_ascent=1, n_draws=2, seed=draw
                )
                for j in known
            ]
            found: list[Any] = [s(what.model, texts) for s in studies]
        values = [_holding(what, f, j) for f, j in zip(found, known)]
        others = [_holding(what, f, j) for f, j in zip(found, np.roll(known, 1))]
        chance = float((what.held > 0).mean())
        draws.append(
            Draw(float(np.mean(values)), float(np.mean(others)), found[0].cost, TEXTS, chance, trials=N_SHOWN)
        )
    measure, control = "strongest tokens that hold the direction", "the direction of another feature"
    return (truth_row(FeatureShowStudy(), NAME, measure, draws, None, control),)


def _holding(what: Features, found: Any, direction: int) -> float:
    """The share of texts whose strongest token holds a direction."""
    tokens = [t[int(np.argmax(v))].strip() for t, v in zip(found.texts, found.values)]
    return float(
        np.mean([what.held[what.words.index(t), direction] > 0 if t in what.words else False for t in tokens])
    )


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _phases(seed: int) -> tuple[TruthRow, ...]:
    """The share of settings in which the toy model does what costs least."""
    draws = []
    for draw in (1000 * seed + i for i in range(DRAWS)):
        study = SuperpositionStudy(
            n_features=4, n_dimensions=2, densities=(1.0, 0.1), n_seeds=3, n_points=6, n_steps=500, seed=draw
        )
        found: Any = study(superposed(0).model)
        gold = toy_phases(found.phase_importance, found.phase_density)
        sure = clear(found.phase_importance, found.phase_density)
        right = float((found.phase == gold)[sure].mean())
        turned = generator(draw, "cells").permutation(found.phase[sure])
        usual = float(np.bincount(gold[sure]).max() / sure.sum())
        draws.append(
            Draw(right, float((turned == gold[sure]).mean()), found.cost, 1, usual, trials=int(sure.sum()))
        )
    measure = "settings in which the toy model does what costs least"
    return (truth_row(SuperpositionStudy(), "toy phases", measure, draws, None, "settings in random order"),)


TRUTHS: dict[str, StudyTruth] = {
    "sparse_autoencoder": StudyTruth(NAME, SAYS, _learned(_dictionary, lambda f: f.read_directions)),
    "transcoder": StudyTruth(NAME, SAYS, _learned(_transcoder, lambda f: f.written_directions)),
    "feature_show": StudyTruth(NAME, SAYS, _shown),
    "superposition": StudyTruth(
        "toy phases", "what costs a toy model of superposition least, by calculation", _phases
    ),
}
NO_TRUTH: dict[str, str] = {}
