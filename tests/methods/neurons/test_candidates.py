"""A description that fits every unit is not chosen, though it fits best; with weight 0 it is."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import norm

from exegete.methods.neurons.candidates import lengths, select
from exegete.methods.neurons.neuron_description import NeuronDescription
from exegete.models.load import load
from exegete.ops.clues import Clue, Clues
from exegete.ops.description_choice import LEAST, log_common, log_given
from exegete.terrarium.material import material

WORDS = list("abcdefgh")
UNITS = 6
GENERIC = Clues(0.0, (Clue("before", "x", 1.0, 1),))


def own(unit: int) -> Clues:
    return Clues(0.0, (Clue("word", WORDS[unit], 1.0, 1),))


def given(noise: float) -> list[list[tuple[Sequence[str], np.ndarray]]]:
    """Every unit fires after x, and on its own word; the latter is `noise` weaker, so that the generic description fits better."""
    rng = np.random.default_rng(0)
    texts = [[*rng.permutation(WORDS).tolist(), "x", "z"] for _ in range(20)]
    return [
        [(t, np.array([(1 - noise) * (w == WORDS[u]) + (w == "z") for w in t])) for t in texts]
        for u in range(UNITS)
    ]


def test_what_fits_all_units_is_not_chosen_though_it_fits_best():
    made = [(GENERIC, own(u)) for u in range(UNITS)]
    best, _ = select(given(0.005), made, 0.0)
    told, rows = select(given(0.005), made, 0.2)
    assert best == (GENERIC,) * UNITS
    assert told == tuple(own(u) for u in range(UNITS))
    for of in rows:
        chosen, other = of
        assert chosen.chosen and not other.chosen
        assert other.given > chosen.given  # the better fit
        assert other.common > chosen.common  # for all of them


def test_a_much_worse_fit_is_not_chosen_for_being_rare():
    made = [(GENERIC, own(u)) for u in range(UNITS)]
    assert select(given(0.5), made, 0.2)[0] == (GENERIC,) * UNITS


def test_probabilities_are_those_of_bayes_rule():
    """Densities of as many examples as texts around the foretold, at the spread that is most likely, and the price of each number."""
    error, clues, n = np.array([[0.5, 0.2, 0.9], [0.7, 1.0, 0.01]]), [1, 3, 0], 12
    for row, found in zip(error, np.exp(log_given(error, clues, n))):
        # the mean log density at spread sqrt(e) of examples whose mean square is e
        like = np.array([np.exp(n * norm.logpdf(np.sqrt(e), scale=np.sqrt(e))) for e in row])
        like *= np.array([n ** (-c / 2) for c in clues])
        assert found == pytest.approx(like / like.sum())
    assert np.exp(log_common(error, clues, n)).sum() == pytest.approx(1)
    assert np.isfinite(log_given(np.array([[0.0, LEAST]]), [0, 0], 5)).all()


def test_the_study_chooses_from_its_candidates_and_shows_them():
    assert lengths(8, 4) == (8, 4, 2, 1)
    assert lengths(1, 4) == (1,)
    study = NeuronDescription(layers=(1,), n_shown=3, n_candidates=3)
    found = study(load("terrarium/decoder"), material("texts", "causal", n=60))
    for unit, of in zip(found.units, found.candidates):
        (picked,) = (c for c in of if c.chosen)
        assert picked.words == unit.words
        assert picked.value == max(c.value for c in of)
    assert len(found.figures()) == 2
