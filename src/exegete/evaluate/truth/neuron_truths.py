"""Truths for studies of neurons: hidden units whose functions are known, among units that answer to anything (`planted_units`).

    probeless, linguistic_correlation, gaussian_probe, sparse_probe   the units of the classes must come first in the ranking
    cross_model_correlation   another model has the same units and other free ones: those shared must come first
    neuron_ablation           the units carry what the model says, or nobody reads them: does taking them away raise the loss?
    neuron_translation        likewise: can a word's class at the last layer be turned by them?
    neuron_records            the strongest texts of a unit must be at its words
    neuron_description, summarize_and_score, compositional   the words, or the formula, of a unit must be those planted
    neuron_description, again   its writer describes functions of text that are known (`synthetic_functions`): what the description
                                foretells is put to the unit tests of the function

Controls: shuffled classes; a model without the units; random orders; the words of another unit. Cost: that of the studies, twice.
References: as in `planted_units`; Sajjad et al. 2022; Antverg & Belinkov 2022; Bills et al. 2023; Singh et al. 2023; Mu & Andreas 2020.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost
from exegete.evaluate.truth.planted_units import (
    LENGTH,
    N_CLASSES,
    N_FREE,
    PLANTED,
    TAGS,
    WORDS,
    agreement,
    by_unit,
    marked_words,
    mentioned,
    parsed_words,
    plain_texts,
    save_with_norms,
    units,
)
from exegete.evaluate.truth.study_truth import Draw, StudyTruth, truth_row
from exegete.evaluate.truth.synthetic_functions import embedded, functions, unit_tests
from exegete.methods.contracts.study import Study
from exegete.methods.neurons.compositional import CompositionalExplanations
from exegete.methods.neurons.cross_model_correlation import CrossModelCorrelation
from exegete.methods.neurons.gaussian_probe import GaussianProbe
from exegete.methods.neurons.linguistic_correlation import LinguisticCorrelation
from exegete.methods.neurons.neuron_ablation import NeuronAblationStudy
from exegete.methods.neurons.neuron_description import NeuronDescription
from exegete.methods.neurons.neuron_records import RecordedNeurons
from exegete.methods.neurons.neuron_translation import NeuronTranslationStudy
from exegete.methods.neurons.probeless import Probeless
from exegete.methods.neurons.sparse_probe import SparseProbe
from exegete.methods.neurons.summarize_and_score import SummarizeAndScore

NAME = "known neurons"
SAYS = f"a language model with units that fire on the words of one class each, among {N_FREE} that answer to anything"
USE_NAME = "used and unused neurons"
USE = "two models that say the same: in one its class neurons carry it, in the other nothing reads them"
DRAWS, USES, TEXTS, N_UNITS = 3, 8, 50, N_CLASSES + 1
OTHER_UNIT = "the words of another unit"
MLP = "mlp_act"


def _first(found: Any, n: int) -> float:
    """The share of the planted units that are among the first n of a ranking."""
    return float(np.mean(np.asarray(found.ranked.unit[:n]) < n))


def _ranking(study: Callable[[int], Study]) -> Callable[[int], tuple[TruthRow, ...]]:
    """The row of a study that ranks neurons by classes of words."""

    def rows(seed: int) -> tuple[TruthRow, ...]:
        draws = []
        for draw in (1000 * seed + i for i in range(DRAWS)):
            model = units(True, draw)
            found, blind = (study(draw)(model, marked_words(TEXTS, draw, s)) for s in (False, True))
            draws.append(
                Draw(_first(found, N_CLASSES), _first(blind, N_CLASSES), found.cost, TEXTS, trials=N_CLASSES)
            )
        measure, chance = f"class neurons among the first {N_CLASSES}", N_CLASSES / (N_UNITS + N_FREE)
        return (truth_row(study(0), NAME, measure, draws, chance, "the same with shuffled classes"),)

    return rows


def _shared(seed: int) -> tuple[TruthRow, ...]:
    """Neurons that another model has too come first; the other model of the control has none of them."""
    draws = []
    for draw in (1000 * seed + i for i in range(DRAWS)):
        values, cost = [], Cost()
        for there in (True, False):
            with TemporaryDirectory() as folder:
                save_with_norms(Path(folder), draw + 500, there)
                study = CrossModelCorrelation(others=(folder,), site=MLP, n_random=2, k=N_UNITS, seed=draw)
                found = study(units(True, draw), marked_words(TEXTS, draw))
            values.append(_first(found, N_UNITS))
            cost = found.cost if there else cost
        draws.append(Draw(values[0], values[1], cost, TEXTS, trials=N_UNITS))
    measure, chance = f"shared neurons among the first {N_UNITS}", N_UNITS / (N_UNITS + N_FREE)
    control = "another model without them"
    return (truth_row(CrossModelCorrelation(), NAME, measure, draws, chance, control),)


def _ablation(seed: int) -> tuple[TruthRow, ...]:
    def moved(found: Any, at: int) -> tuple[bool, Sequence[bool]]:
        curve = found.loss
        return bool(curve.ranked[at] - curve.base > RISE), (curve.random[:, at] - curve.base > RISE).tolist()

    return _use(lambda d: NeuronAblationStudy(site=MLP, n_texts=16, n_random=3, seed=d), moved, seed)


def _translation(seed: int) -> tuple[TruthRow, ...]:
    def moved(found: Any, at: int) -> tuple[bool, Sequence[bool]]:
        curve = found.turned
        return bool(curve.ranked[at] > 0.5), (curve.random[:, at] > 0.5).tolist()

    return _use(lambda d: NeuronTranslationStudy(site=MLP, n_texts=16, n_random=3, seed=d), moved, seed)


RISE = 0.2  # nats that the loss must rise by


def _use(
    study: Callable[[int], Study], moved: Callable[[Any, int], tuple[bool, Sequence[bool]]], seed: int
) -> tuple[TruthRow, ...]:
    """Whether the model is said to need neurons that it uses, and not those that it does not."""
    draws = []
    for draw in (1000 * seed + i for i in range(USES)):
        parts, blind, cost = [], [], Cost()
        for used in (True, False):
            found: Any = study(draw)(units(used, draw), marked_words(TEXTS, draw))
            at = int(np.flatnonzero(found.k >= N_CLASSES)[0])
            own, random = moved(found, at)
            parts.append(("used" if used else "unused", float(own == used)))
            blind += [float(r == used) for r in random]
            cost += found.cost
        value = float(np.mean([x for _, x in parts]))
        draws.append(
            Draw(value, float(np.mean(blind)), cost, 2 * TEXTS, parts=tuple(parts), trials=len(parts))
        )
    return (
        truth_row(
            study(0), USE_NAME, "neurons told to be used or unused", draws, 0.5, "random orders", paired=True
        ),
    )


def _told(
    study: Callable[[int], Study], measure: str, score: Callable[[Any, int, int], float], chance: float
) -> Callable[[int], tuple[TruthRow, ...]]:
    """The row of a study that says something of each planted unit: `score` of what it says of unit i, held against unit j."""

    def rows(seed: int) -> tuple[TruthRow, ...]:
        draws = []
        for draw in (1000 * seed + i for i in range(DRAWS)):
            found: Any = study(draw)(units(True, draw), plain_texts(2 * TEXTS, draw))
            parts = by_unit(lambda i, found=found: score(found, i, i))
            others = [score(found, i, (i + 1) % N_UNITS) for i in range(N_UNITS)]
            draws.append(
                Draw(
                    _mean(parts),
                    float(np.mean(others)),
                    found.cost,
                    2 * TEXTS,
                    parts=parts,
                    trials=len(parts),
                )
            )
        return (truth_row(study(0), NAME, measure, draws, chance, OTHER_UNIT),)

    return rows


def _mean(parts: Sequence[tuple[str, float]]) -> float:
    return float(np.mean([x for _, x in parts]))


def _at_its_words(found: Any, i: int, j: int) -> float:
    """The share of the strongest excerpts of unit i that are at a word that sets unit j off."""
    strongest = [e for e in found.units[i].excerpts if e.why.startswith(STRONGEST)]
    words = PLANTED[j] if j < N_CLASSES else PLANTED[j][1:]
    return float(np.mean([e.tokens[e.at].strip() in words for e in strongest]))


STRONGEST = "top "


def _described(found: Any, i: int, j: int) -> float:
    return agreement(mentioned(found.units[i].words), frozenset(PLANTED[j]))


def _summed_up(found: Any, i: int, j: int) -> float:
    return agreement(mentioned(found.modules[i].words), frozenset(PLANTED[j]))


def _functions(seed: int) -> tuple[TruthRow, ...]:
    """What the embedded writer says of functions that are known, put to their unit tests; control: what it says of the next one."""
    draws = []
    for draw in (1000 * seed + i for i in range(DRAWS)):
        every = functions()
        said = [embedded(f, seed=draw) for f in every]
        parts = tuple((f.name, unit_tests(s.simulate, f)) for f, s in zip(every, said))
        others = [unit_tests(s.simulate, f) for f, s in zip(every, [*said[1:], said[0]])]
        draws.append(Draw(_mean(parts), float(np.mean(others)), Cost(), len(every), 0.5, parts, len(parts)))
    measure = "unit tests passed by descriptions of known functions (FIND)"
    return (truth_row(NeuronDescription(), NAME, measure, draws, 0.5, "what is said of another function"),)


def _formulas(seed: int) -> tuple[TruthRow, ...]:
    """Whether a unit's formula is the part of speech that its class has; free units must not have it."""
    names = tuple(TAGS.values())
    draws = []
    for draw in (1000 * seed + i for i in range(DRAWS)):
        free = tuple(range(N_UNITS, N_UNITS + N_CLASSES))
        study = CompositionalExplanations(
            units=(*range(N_CLASSES), *free), quantile=0.05, length=2, beam=4, n_words=60, seed=draw
        )
        found: Any = study(units(True, draw), parsed_words(TEXTS, draw))
        told = [u.formula for u in found.units]
        parts = tuple((name, float(told[i] == name)) for i, name in enumerate(names))
        blind = [float(told[N_CLASSES + i] == name) for i, name in enumerate(names)]
        chance = 1 / found.n_concepts
        draws.append(Draw(_mean(parts), float(np.mean(blind)), found.cost, TEXTS, chance, parts, len(parts)))
    measure, control = "formulas that are the one planted", "units that answer to anything"
    return (truth_row(CompositionalExplanations(), NAME, measure, draws, None, control),)


_EVERY = tuple(range(N_UNITS))
_SHARE = float(np.mean([len(p) for p in PLANTED])) / len(WORDS)  # F1 of as many words at random

_words_named = _told(
    lambda d: NeuronDescription(units=_EVERY, seed=d), "words named (F1)", _described, _SHARE
)

TRUTHS: dict[str, StudyTruth] = {
    "probeless": StudyTruth(NAME, SAYS, _ranking(lambda d: Probeless(site=MLP, n_random=2, seed=d))),
    "linguistic_correlation": StudyTruth(
        NAME, SAYS, _ranking(lambda d: LinguisticCorrelation(site=MLP, n_random=2, seed=d))
    ),
    "gaussian_probe": StudyTruth(
        NAME, SAYS, _ranking(lambda d: GaussianProbe(site=MLP, n_random=2, n_greedy=N_CLASSES, seed=d))
    ),
    "sparse_probe": StudyTruth(
        NAME, SAYS, _ranking(lambda d: SparseProbe(site=MLP, n_random=2, largest=4, seed=d))
    ),
    "cross_model_correlation": StudyTruth(NAME, SAYS, _shared),
    "neuron_ablation": StudyTruth(USE_NAME, USE, _ablation),
    "neuron_translation": StudyTruth(USE_NAME, USE, _translation),
    "neuron_records": StudyTruth(
        NAME,
        SAYS,
        _told(
            lambda d: RecordedNeurons(units=_EVERY, k=6, seed=d),
            "strongest places that are at its words",
            _at_its_words,
            1 / LENGTH,
        ),
    ),
    "neuron_description": StudyTruth(
        NAME,
        SAYS,
        lambda seed: (*_words_named(seed), *_functions(seed)),
    ),
    "summarize_and_score": StudyTruth(
        NAME,
        SAYS,
        _told(
            lambda d: SummarizeAndScore(units=_EVERY, longest=2, n_ngrams=400, n_random=2, seed=d),
            "words named (F1)",
            _summed_up,
            _SHARE,
        ),
    ),
    "compositional": StudyTruth(NAME, SAYS, _formulas),
}
NO_TRUTH: dict[str, str] = {}
