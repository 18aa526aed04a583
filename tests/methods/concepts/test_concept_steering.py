"""Steering: the dose-response against passes made by hand, saved directions, the edit, and letters."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, ModelError, UsageError
from exegete.core.store import open_result
from exegete.methods.concepts.concept_direction import ConceptDirection
from exegete.methods.concepts.concept_steering import ConceptSteeringStudy
from exegete.methods.concepts.concept_words import concept_words, share_of, shares_of
from exegete.methods.concepts.contrast import contrast
from exegete.methods.concepts.under_edits import outputs
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.rewrite import edited
from exegete.terrarium import material
from support.concept_texts import texts

LIGHT = ConceptSteeringStudy(n_random=2, n_texts=6, doses=(-2.0, 0.0, 2.0), n_generated=3, most_drift=20.0)


@pytest.fixture(scope="module")
def model():
    return load("terrarium/sentiment")


@pytest.fixture(scope="module")
def found(model):
    return LIGHT(model, texts(n=15))


def test_the_answer_rises_with_the_dose_and_random_directions_do_nothing(found):
    assert found.target == "the probability of 'positive'"
    assert found.dose == 2.0
    assert found.response[0] < found.response[1] < found.response[2]
    assert (
        np.abs(found.response_random[:, 2] - found.response[1]).max() < found.response[2] - found.response[1]
    )
    assert found.drift[1] == 0
    assert found.trust.scores[0].beats_control


def test_the_saved_edit_is_the_dose(found, model, tmp_path):
    again = open_result(found.save(tmp_path / "s.exg"))
    asked = [str(t.text) for t in material.texts("sequence", 6)]
    with torch.no_grad(), edited(model, again):
        p = np.exp(outputs(Lab(model), asked, [None]).said[0])
    positive = list(model.labels).index("positive")
    assert p[:, positive].mean() == pytest.approx(found.response[2], abs=1e-4)


def test_a_saved_direction_is_applied_and_refused_elsewhere(model, tmp_path):
    made = ConceptDirection(n_shuffles=1, methods=("mean difference",))(model, texts(n=15))
    path = str(made.save(tmp_path / "d.exg"))
    steered = LIGHT.model_copy(update={"direction": path, "layer": 2})(model, texts(n=15))
    v = steered.sites[0].value
    assert v @ made.direction(layer="layer 2") == pytest.approx(np.linalg.norm(v), rel=1e-5)
    other = load("terrarium/decoder")
    with pytest.raises(ModelError, match="weights differ"):
        LIGHT.model_copy(update={"direction": path})(other, texts(n=15))
    with pytest.raises(UsageError, match="It has 4 layers"):
        LIGHT.model_copy(update={"layer": 9})(model, texts(n=15))


def test_texts_that_the_direction_was_learned_on_are_not_steered(model, tmp_path):
    items = texts(n=15)
    pairs = contrast(items, "", "", Lab(model).rng("pairs"))
    learned = {pairs.items[i].text for i in pairs.pairs[pairs.parts(Lab(model).rng("parts"))[0]].ravel()}
    others = ["the film was slow", "a good room"]
    file = tmp_path / "t.txt"
    file.write_text("\n".join([*sorted(learned)[:4], *others]))
    study = LIGHT.model_copy(update={"texts": str(file)})
    found = study(model, items)
    assert found.trust.scores[0].n == 2
    assert found.trust.notes == ("4 of the texts to steer were left out: the direction was learned on them.",)
    file.write_text("\n".join(others))
    assert np.array_equal(study(model, items).response, found.response)
    file.write_text("\n".join(sorted(learned)[:4]))
    with pytest.raises(InputError, match="learned on every one"):
        study(model, items)


def test_the_share_of_what_was_written_is_over_the_texts_that_were_written():
    found = LIGHT(load("terrarium/decoder"), texts(n=12))
    score = found.trust.scores[1]
    assert score.name.startswith("share of words")
    assert score.n == min(16, 2 * found.trust.scores[0].n)  # two texts a pair
    assert score.interval is not None
    assert score.interval[0] <= score.value <= score.interval[1]
    written = ["good, very good", "so", "bad"]
    by_text = shares_of(written, ("good",))
    assert by_text is not None
    assert by_text.mean() == pytest.approx(share_of(written, ("good",))) == pytest.approx(2 / 5)
    assert by_text[0] > by_text[1]
    assert shares_of(["..."], ("good",)) is None


def test_a_decoder_is_measured_by_its_texts_and_writes():
    found = LIGHT(load("terrarium/decoder"), texts(n=15))
    assert found.unit == "nats a token"
    assert found.response[2] > found.response[0]
    assert len(found.samples) == len(found.doses) == len(found.loss)


def test_words_of_the_concept_are_those_the_others_never_have():
    found = contrast(texts(n=15), "", "", np.random.default_rng(0))
    words = concept_words(found, 50)
    assert "good" in words
    assert not {"bad", "the", "was"} & set(words)
    assert share_of(["good, very good", "so"], words) == pytest.approx(0.5)
    assert np.isnan(share_of(["..."], words))
