"""Data randomisation: what never looks at the model is flagged, what reads it is not, and labels that were not learned score nothing."""

from collections import Counter
from random import Random
from typing import ClassVar

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.core.material import Marked
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.store import open_result
from exegete.evaluate.sanity import data_randomisation
from exegete.evaluate.sanity.data_randomisation import DataRandomisation
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.load import load
from exegete.models.small_classifier import answers
from exegete.models.tiny import tiny

FOOD, ROOM = ("soup", "bread", "cake", "rice"), ("bed", "lamp", "chair", "desk")
OTHER = ("the", "a", "was", "here", "and", "we", "they", "near")


def items(n=24):
    """Texts of food and of rooms: one word says which, five say nothing."""
    random, found = Random(0), {}
    while len(found) < n:
        label = ("food", "room")[len(found) % 2]
        words = [*random.sample(OTHER, 5), random.choice(FOOD if label == "food" else ROOM)]
        random.shuffle(words)
        found[" ".join(words)] = label
    return [Marked.of(t, label) for t, label in found.items()]


@pytest.fixture(scope="module", autouse=True)
def blind():
    """A method that never looks at the model."""
    METHODS.load()
    before = dict(METHODS._things)

    @register
    class Spelling(Occlusion):
        """Scores a word by its letters."""

        id: ClassVar[str] = "spelling"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="spelling")

        def attribute(self, q, units):
            return Scores(total=np.array([len(u.text) + ord(u.text[0]) / 1000 for u in units]))

    yield
    METHODS._things = before


@pytest.fixture(scope="module")
def made(blind):
    """The finding, and what each classifier was trained on and says of it."""
    seen, real = [], data_randomisation.trained

    def watched(words, labels, draw, *rest):
        model = real(words, labels, draw, *rest)
        seen.append(model)
        return model

    data_randomisation.trained = watched
    try:
        study = DataRandomisation(
            explainers=("occlusion", "spelling"), n_steps=110, width=16, n_explained=8, seed=1
        )
        found = study(load(tiny("gpt2")), items())
    finally:
        data_randomisation.trained = real
    return found, seen


def test_what_never_looks_is_flagged_and_what_looks_is_not(made):
    found, _ = made
    assert found.methods == ("occlusion", "spelling")
    assert found.flagged == (False, True)
    assert found.permuted[1] == found.again[1] == pytest.approx(1)
    assert found.permuted[0] < found.again[0]
    looks, blind = found.trust.scores
    assert looks.beats_chance
    assert blind.value == pytest.approx(0, abs=1e-9)
    assert not blind.beats_chance
    assert looks.control == pytest.approx(1 - found.again[0])
    assert looks.over_control[0] <= looks.value - looks.control <= looks.over_control[1]  # text by text
    assert blind.over_control[0] <= 0 <= blind.over_control[1]
    assert (
        blind.interval[0] == pytest.approx(0, abs=1e-9) and blind.interval[1] > 0.5
    )  # eight texts are no proof of all
    assert "spelling keeps as much" in found.lede


def test_the_third_classifier_knows_permuted_labels_by_heart(made):
    found, models = made
    texts = [m.text for m in items()]
    told = [str(m.marks[0].label) for m in items()]
    true, again, permuted = (answers(m, texts) for m in models)
    assert true == again == told
    assert Counter(permuted) == Counter(told)  # the same labels, on other texts
    assert 0.2 < np.mean([a == b for a, b in zip(permuted, told)]) < 0.8
    assert found.accuracy == (1, 1, 1)


def test_labels_that_were_not_learned_score_nothing():
    found = DataRandomisation(explainers=("occlusion",), n_steps=1, width=8, n_explained=4)(
        load(tiny("gpt2")), items()
    )
    assert np.isnan(found.permuted).all()
    assert not any(found.flagged)
    (score,) = found.trust.scores
    assert (score.n, score.n_failed) == (0, 4)
    assert "by heart" in score.verdict
    assert "Nothing is compared" in found.lede


def test_opens_again(made, tmp_path):
    assert open_result(made[0].save(tmp_path / "d.exg")) == made[0]


def test_letters():
    with pytest.raises(InputError, match="Fewer than two labels"):
        DataRandomisation()(load(tiny("gpt2")), items()[:3])
