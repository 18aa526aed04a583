"""ROAR where one word of a text decides its label: without it nothing can be learned, without any other word everything can."""

from typing import ClassVar

import numpy as np
import pytest

from exegete.core.errors import UsageError
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.store import open_result
from exegete.evaluate.sanity.remove_and_retrain import RemoveAndRetrainStudy, without
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.food_and_rooms import FOOD, ROOM, food_and_rooms


def items(n=88):
    return food_and_rooms(n)


@pytest.fixture(scope="module", autouse=True)
def methods():
    """One that knows the word that decides, and one that points anywhere else."""
    METHODS.load()
    before = dict(METHODS._things)

    @register
    class Knows(Occlusion):
        """Points at the word that decides."""

        id: ClassVar[str] = "knows"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="knows")
        sign: ClassVar[float] = 1.0

        def attribute(self, q, units):
            return Scores(total=np.array([self.sign * (u.text in (*FOOD, *ROOM)) for u in units]))

    @register
    class Hides(Knows):
        """Points anywhere else."""

        id: ClassVar[str] = "hides"
        sign: ClassVar[float] = -1.0

    @register
    class Fails(Knows):
        """Knows, but cannot explain texts of rooms."""

        id: ClassVar[str] = "fails"

        def attribute(self, q, units):
            if any(u.text in ROOM for u in units):
                raise ZeroDivisionError("planted")
            return super().attribute(q, units)

    yield
    METHODS._things = before


@pytest.fixture(scope="module")
def found(methods):
    study = RemoveAndRetrainStudy(
        explainers=("knows", "hides"), fractions=(0.2, 0.6), n_seeds=1, n_steps=80, width=16
    )
    return study(load(tiny("gpt2")), items())


def test_without_the_word_that_decides_accuracy_is_a_guess(found):
    assert found.rows == ("knows", "hides", "random words")
    assert found.fractions.tolist() == [0, 0.2, 0.6]
    assert found.majority == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(found.accuracy[:, 0], 1, atol=0.04)
    np.testing.assert_allclose(found.accuracy[0, 1:], 0.5, atol=0.25)
    np.testing.assert_allclose(found.accuracy[1, 1:], 1, atol=0.1)
    knows, hides = found.trust.scores
    assert knows.beats_chance
    assert knows.beats_control
    assert not hides.beats_control
    assert found.drop[1] < found.drop[2] < found.drop[0]
    assert "knows loses surely more" in found.lede


def test_texts_that_could_not_be_explained_are_counted_and_not_scored(methods):
    study = RemoveAndRetrainStudy(explainers=("fails",), fractions=(0.2,), n_seeds=1, n_steps=10, width=8)
    found = study(load(tiny("gpt2")), items(24))
    (score,) = found.trust.scores
    assert (score.n, score.n_failed) == (3, 3)  # half of the six held-out texts are of rooms
    assert any("ZeroDivisionError" in note for note in found.trust.notes)


def test_random_words_are_held_against_the_method_text_by_text(found):
    for s in found.trust.scores:
        assert s.over_control[0] <= s.value - s.control <= s.over_control[1]


def test_the_area_is_the_mean_fall_of_the_curve(found):
    np.testing.assert_allclose(found.drop, (found.accuracy[:, :1] - found.accuracy[:, 1:]).mean(1))
    assert [s.value for s in found.trust.scores] == pytest.approx(found.drop[:2])
    assert all(s.control == pytest.approx(found.drop[2]) for s in found.trust.scores)


def test_words_are_masked_from_the_highest_down():
    scores = np.array([0.1, 3.0, -1.0, 2.0])
    assert without("a b c d", scores, 0.5) == "a <mask> c <mask>"
    assert without("a b c d", scores, 0.01) == "a <mask> c d"
    assert without("a b c d", scores, 1.0) == "<mask> <mask> <mask> <mask>"


def test_opens_again(found, tmp_path):
    assert open_result(found.save(tmp_path / "r.exg")) == found


def test_letters():
    with pytest.raises(UsageError, match="shares lie above 0"):
        RemoveAndRetrainStudy(fractions=(0.0, 0.5))(load(tiny("gpt2")), items())
