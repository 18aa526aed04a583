"""The control model: same weights in another order, ties kept, the original untouched, copied once."""

import gc

import numpy as np
import pytest
import torch

from exegete.core.errors import ModelError
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.randomise import Randomiser, asked_of, randomised
from exegete.models.tiny import tiny

KINDS = [
    ("bert", "sequence"),
    ("gpt2", "causal"),
    ("t5", "seq2seq"),
    ("albert", "masked"),
    ("llama", "causal"),
]


def state(model):
    return {k: v.clone() for k, v in model.module.state_dict().items()}


@pytest.mark.parametrize(("family", "task"), KINDS)
def test_each_tensor_keeps_its_entries_and_loses_their_order(family, task):
    model = load(tiny(family, task))
    before, twin = state(model), randomised(model, 0)
    for name, weight in twin.module.named_parameters():
        own = before[name]
        assert torch.equal(weight.flatten().sort().values, own.flatten().sort().values), name
        assert weight.numel() < 8 or not torch.equal(weight, own), name
    for name, buffer in twin.module.named_buffers():
        assert torch.equal(buffer, dict(model.module.named_buffers())[name]), (
            "buffers are structure, not knowledge"
        )
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items()), (
        "the model itself is untouched"
    )


@pytest.mark.parametrize(("family", "task"), KINDS)
def test_it_answers_otherwise_and_finitely(family, task):
    model = load(tiny(family, task))
    q = ask(model, "the [MASK] was good" if task == "masked" else "the food was good")
    other = asked_of(randomised(model, 0), q)
    assert np.isfinite(other.value()).all()
    assert not np.allclose(other.value(), q.value(), rtol=1e-3)


def test_tied_weights_stay_tied():
    model = load(tiny("gpt2", overrides={"tie_word_embeddings": True}))
    assert model.module.lm_head.weight is model.module.transformer.wte.weight
    twin = randomised(model).module
    assert twin.lm_head.weight is twin.transformer.wte.weight


def test_the_seed_decides():
    model = load(tiny("bert", "sequence"))
    one, same, other = (randomised(model, s).fingerprint for s in (1, 1, 2))
    assert one == same != other


def test_a_set_of_texts_pays_for_one_copy_and_the_copy_goes_with_the_model():
    model = load(tiny("bert", "sequence"))
    maker = Randomiser()
    first = maker(model, "a")
    assert maker(model, "a") is first
    assert maker(model, "b") is not first, "changed weights make a new copy"
    del model
    gc.collect()
    assert maker._held is None


def test_too_large_or_not_floating_is_said():
    model = load(tiny("bert", "sequence"))
    with pytest.raises(ModelError, match="parameters, and copies are made up to 10"):
        Randomiser(most_parameters=10)(model)
    for p in model.module.parameters():
        p.requires_grad_(False)
        p.data = p.data.to(torch.int8)
    with pytest.raises(ModelError, match="floating-point"):
        randomised(model)
