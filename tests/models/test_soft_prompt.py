"""Slots that hold the embeddings of tokens read as those tokens; learned vectors lower the loss and touch no weight."""

import copy

import pytest
import torch

from exegete.core.errors import ModelError
from exegete.core.request import Text
from exegete.models.encode import encode
from exegete.models.infill import mask_id
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.soft_prompt import (
    _filled,
    deep_start,
    embeddings,
    learn,
    nearest,
    says,
    slotted,
    start_vectors,
)
from exegete.models.tiny import tiny

TEXTS = ("the food", "mary and john", "it")


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert", "roberta", "albert"])
@pytest.mark.parametrize("before", [False, True])
def test_embeddings_in_slots_read_as_their_tokens(family, before):
    model = load(tiny(family))
    lab = Lab(model)
    ids = [11, 12, 13]
    cases = slotted(lab, TEXTS, [21] * 3, 3, before)
    got = says(lab, cases, embeddings(lab)[ids])
    for i, text in enumerate(TEXTS):
        tokens = encode(model, Text(text=text)).tokens
        own = [n for n, t in enumerate(tokens) if not t.special]
        lead, said = [t.id for t in tokens[: own[0]]], [tokens[n].id for n in own]
        masked = model.task == "masked"
        tail = [t.id for t in tokens[own[-1] + 1 :]] if masked else []
        body = [*ids, *said] if before else [*said, *ids]
        hole = [mask_id(model)] if masked else []
        with torch.no_grad():
            logits = model.module.eval()(input_ids=torch.tensor([[*lead, *body, *hole, *tail]])).logits[0]
        want = logits[len(lead) + len(body) + len(hole) - 1]
        torch.testing.assert_close(got[i], want, atol=1e-4, rtol=1e-4)
    assert (got - says(lab, cases, embeddings(lab)[[14, 15, 16]])).abs().max() > 1e-3  # it can fail


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("before", [False, True])
def test_deep_vectors_that_tokens_leave_read_as_those_tokens(family, before):
    """What every layer reads where tokens stand, put there by hand, changes nothing; a slot that answers reads on by itself."""
    lab = Lab(load(tiny(family)))
    cases = slotted(lab, TEXTS[:1], [21], 3, before)
    rows = embeddings(lab)[[11, 12, 13]]
    sites = lab.model.map.sites("resid_pre")
    with _filled(lab, cases.slots, rows):
        trace = lab.run(cases.inputs, read=sites)
    deep = torch.stack([trace[s][cases.slots >= 0] for s in sites])
    torch.testing.assert_close(says(lab, cases, deep), says(lab, cases, rows), atol=1e-4, rtol=1e-4)
    random = torch.Generator().manual_seed(0)
    for layer in range(len(deep)):  # every layer reads its own
        moved = deep.clone()
        moved[layer, 0] += torch.randn(moved.shape[-1], generator=random)
        assert (says(lab, cases, moved) - says(lab, cases, deep)).abs().max() > 1e-4
    assert deep_start(lab, cases).shape == deep.shape


def test_a_slot_that_answers_is_not_overwritten():
    """Two texts are told apart behind deep slots, which could not be if the last slot were set in every layer."""
    lab = Lab(load(tiny("gpt2")))
    cases = slotted(lab, TEXTS, [21] * 3, 2)
    logits = says(lab, cases, deep_start(lab, cases))
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_learning_lowers_the_loss_and_leaves_the_model():
    model = load(tiny("gpt2"))
    before = copy.deepcopy(model.module.state_dict())
    lab = Lab(model)
    cases = slotted(lab, TEXTS, [21, 21, 21], 2)
    start = start_vectors(lab, 2, "x")
    vectors = learn(lab, cases, start, 30, 0.1, 3)
    loss = [
        float(torch.nn.functional.cross_entropy(says(lab, cases, v), cases.wanted)) for v in (start, vectors)
    ]
    assert loss[1] < loss[0] - 1
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())
    options = torch.tensor([21, 22])
    narrow = learn(lab, cases, start, 30, 0.1, 3, options)
    assert (says(lab, cases, narrow)[:, options].argmax(-1) == 0).all()


def test_nearest_tokens_of_embeddings_are_themselves():
    lab = Lab(load(tiny("gpt2")))
    assert nearest(lab, embeddings(lab)[[30, 40]] * 3) == lab.pieces([30, 40])


def test_models_that_continue_nothing():
    with pytest.raises(ModelError, match="sequence"):
        slotted(Lab(load(tiny("bert", "sequence"))), TEXTS, [1] * 3, 2)
