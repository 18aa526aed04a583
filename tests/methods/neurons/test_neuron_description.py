"""Descriptions of units on a model with a planted unit; texts to explain and to test never meet."""

from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.methods.neurons.neuron_description import NeuronDescription, halves
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny

WORDS = (9, 17)


def texts(n: int = 60) -> list[Text]:
    rng = np.random.default_rng(0)
    return [Text(ids=tuple(int(i) for i in rng.integers(6, 30, int(rng.integers(4, 9))))) for _ in range(n)]


def planted() -> Model:
    """Units 3 and 5 of layer 0 fire on one word each: their keys are what the embeddings are after the norm."""
    model = load(tiny("gpt2"))
    module: Any = model.module
    block = module.transformer.h[0]
    with torch.no_grad():
        for p in (*block.attn.parameters(), module.transformer.wpe.weight):
            p.zero_()
        for unit, word in zip((3, 5), WORDS):
            key = block.ln_2(module.transformer.wte.weight[word])
            block.mlp.c_fc.weight[:, unit] = key
            block.mlp.c_fc.bias[unit] = -0.9 * key @ key
    return model


def test_planted_units_are_described_and_beat_swapped_descriptions():
    model = planted()
    found = NeuronDescription(layers=(0,), units=(3, 5))(model, texts())
    for unit, word in zip(found.units, WORDS):
        assert f"the word {model.tokenizer.decode([word]).strip()!r}" in unit.words
        assert unit.own.min() > 0.9
        assert unit.swapped[1] == pytest.approx(0.5, abs=0.25)
    assert all(s.beats_chance and s.beats_control for s in found.trust.scores)


def test_without_the_planted_keys_detection_is_not_perfect():
    found = NeuronDescription(layers=(0,), units=(3, 5))(load(tiny("gpt2")), texts())
    assert found.trust.scores[0].value < 0.9


def test_texts_to_explain_and_to_test_never_meet():
    given = [*texts(31), *texts(10)]
    explain, test, repeated = halves(Lab(load(tiny("gpt2"))), given)
    assert repeated == len(given) - len({t.ids for t in given})
    assert not {t.ids for t in explain} & {t.ids for t in test}
    assert len(explain) + len(test) + repeated == len(given)
    with pytest.raises(InputError, match="1 of them are different"):
        halves(Lab(load(tiny("gpt2"))), texts(1) * 3)
