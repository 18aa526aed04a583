"""Descriptions of units on a model with a planted unit; texts to explain and to test never meet."""

from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.methods.neurons import neuron_description
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
        assert unit.own[:4].min() > 0.9
        assert unit.swapped[1] == pytest.approx(0.5, abs=0.25)
    assert all(s.beats_chance and s.beats_control for s in found.trust.scores[:4])
    assert len(found.trust.scores) == 5 and found.trust.scores[4].chance == 0.5


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


def test_in_an_embedding_by_words_planted_units_are_nearer_to_their_descriptions(monkeypatch):
    model = planted()
    shown = [model.tokenizer.decode([w]).strip() for w in range(6, 30)]

    def by_words(lab: Lab, given: list[str], encoder: str) -> np.ndarray:
        """Which of the words are in a text; a description holds them in quotes."""
        return np.array(
            [[float((repr(s) if t.startswith("fires on") else s) in t) for s in shown] for t in given]
        )

    monkeypatch.setattr(neuron_description, "embedded", by_words)
    found = NeuronDescription(layers=(0,), units=(3, 5), n_clues=1)(model, texts())
    for unit in found.units:
        assert unit.own[4] > 0.9 > 0.75 > unit.swapped[4]
    score = found.trust.scores[4]
    assert score.beats_chance and score.beats_control and "embedding" in score.name


def test_an_embedder_is_named_and_its_passes_are_counted():
    model = planted()
    own = NeuronDescription(layers=(0,), units=(3, 5))(model, texts())
    other = NeuronDescription(layers=(0,), units=(3, 5), embedder="terrarium/encoder")(model, texts())
    assert "terrarium/encoder" in str(other.figures()[0].caption) and "middle layer" in str(
        own.figures()[0].caption
    )
    assert other.cost is not None and own.cost is not None and other.cost.forwards == own.cost.forwards
    assert [u.own[:4].tolist() for u in own.units] == [u.own[:4].tolist() for u in other.units]
