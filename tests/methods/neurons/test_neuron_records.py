"""Records of units against reading everything by hand, and a planted unit that fires on one word."""

from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, UsageError
from exegete.core.request import Text
from exegete.core.results.neuron_records import strongest
from exegete.methods.neurons.neuron_records import RecordedNeurons
from exegete.models.capture import run
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import tiny

WORD = 9


def texts(n: int = 12) -> list[Text]:
    rng = np.random.default_rng(0)
    return [Text(ids=tuple(int(i) for i in rng.integers(6, 30, int(rng.integers(4, 9))))) for _ in range(n)]


def planted() -> Model:
    """Unit 3 of layer 0 fires on one word: its key is what that word's embedding is after the norm."""
    model = load(tiny("gpt2"))
    module: Any = model.module
    block = module.transformer.h[0]
    with torch.no_grad():
        for p in (*block.attn.parameters(), module.transformer.wpe.weight):
            p.zero_()
        key = block.ln_2(module.transformer.wte.weight[WORD])
        block.mlp.c_fc.weight[:, 3] = key
        block.mlp.c_fc.bias[3] = -0.9 * key @ key
    return model


def test_as_reading_everything_by_hand():
    model = load(tiny("gpt2"))
    found = RecordedNeurons(layers=(1,), units=(5,), k=3, n_quantiles=0)(model, texts())
    most = [
        float(run(model, {"input_ids": torch.tensor([t.ids])}, ["1.mlp_act"])["1.mlp_act"][0, :, 5].max())
        for t in texts()
    ]
    unit = found.units[0]
    np.testing.assert_allclose([e.values.max() for e in unit.excerpts], sorted(most)[::-1][:3], rtol=1e-4)
    assert unit.excerpts[0].tokens == tuple(
        model.tokenizer.decode([i]) for i in texts()[int(np.argmax(most))].ids or ()
    )
    assert unit.histogram.sum() == pytest.approx(1)


def test_a_planted_unit_is_found_and_reads_words_alone():
    found = RecordedNeurons(layers=(0,), k=2, n_shown=1)(planted(), texts(24))
    unit = found.units[0]
    assert unit.name == "0.mlp_act[u3]"
    assert strongest(unit) == (load(tiny("gpt2")).tokenizer.decode([WORD]),)
    assert unit.peak_shuffled == pytest.approx(unit.peak, rel=0.05)
    everything = [i for t in texts(24) for i in t.ids or ()]
    assert unit.rate == pytest.approx(np.mean([i == WORD for i in everything]), abs=1e-6)


def test_without_the_planted_key_it_is_not_found():
    found = RecordedNeurons(layers=(0,), k=2, n_shown=1)(load(tiny("gpt2")), texts(24))
    assert found.units[0].name != "0.mlp_act[u3]"


def test_letters():
    model = load(tiny("gpt2"))
    with pytest.raises(InputError, match="needs at least 2"):
        RecordedNeurons()(model, texts(1))
    with pytest.raises(UsageError, match="unit 999"):
        RecordedNeurons(units=(999,))(model, texts())
    with pytest.raises(UsageError, match="layer 9"):
        RecordedNeurons(layers=(9,))(model, texts())
