"""Vectors of texts: means by hand, no company changes them, passes are counted, a named encoder is read without its head."""

import numpy as np
import pytest
import torch

from exegete.core.errors import ModelError
from exegete.models.embedder import embedded
from exegete.models.harvest import layer_sites
from exegete.models.lab import Lab
from exegete.models.load import load

TEXTS = ["the food was good .", "the staff was slow and the film was bad .", "", "the food was good ."]


def test_own_vectors_are_means_of_scaled_states_of_the_middle_layer():
    lab = Lab(load("terrarium/decoder"))
    found = embedded(lab, TEXTS)
    sites = layer_sites(lab.model, first=False)
    site = sites[(len(sites) - 1) // 2]
    for text, vector in zip(TEXTS[:2], found):
        reading = lab.read([text])
        states = lab.run(lab.passed(reading), [site])[site][0]
        plain = [not t.special for t in reading.encoded[0].tokens]
        states = states[torch.tensor(plain)].double()
        by_hand = (states / states.norm(dim=1, keepdim=True)).mean(0).numpy()
        assert np.allclose(vector, by_hand, atol=1e-5)
    assert np.isnan(found[2]).all()
    assert np.array_equal(found[0], found[3])


@pytest.mark.parametrize("encoder", ["", "terrarium/encoder"])
def test_a_different_text_is_read_once_and_company_changes_nothing(encoder):
    lab = Lab(load("terrarium/decoder"))
    found = embedded(lab, TEXTS, encoder)
    assert lab.meter.forwards == 2
    for text, vector in zip(TEXTS[:2], found):
        assert np.allclose(embedded(lab, [text], encoder)[0], vector, atol=1e-5)


def test_a_named_encoder_is_read_without_its_head():
    lab, other = Lab(load("terrarium/decoder")), load("terrarium/encoder")
    found = embedded(lab, TEXTS, "terrarium/encoder")
    given = other.tokenizer(TEXTS[1], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = other.module(input_ids=given, output_hidden_states=True).hidden_states[-1]
    assert np.allclose(found[1], states[0].double().mean(0).numpy(), atol=1e-5)


def test_no_text_with_words_and_no_encoder():
    lab = Lab(load("terrarium/decoder"))
    assert np.isnan(embedded(lab, ["", " "])).all()
    with pytest.raises(ModelError):
        embedded(lab, ["a"], "/nowhere/at/all")
