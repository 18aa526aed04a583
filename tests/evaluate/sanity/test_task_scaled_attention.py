"""Task-scaled attention: the classifier is its formula in plain numpy, flips are those of the bare module, and what decides comes first."""

import numpy as np
import pytest
import torch

from exegete.core.store import open_result
from exegete.evaluate.contract import metric_of
from exegete.evaluate.labelled_texts import LabelledTexts
from exegete.evaluate.sanity.task_scaled_attention import TaskScaledAttention, attended
from exegete.models.attention_classifier import AttentionClassifier
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.food_and_rooms import food_and_rooms


def items(n=80):
    return food_and_rooms(n)


STUDY = TaskScaledAttention(n_steps=80, width=8, n_explained=10, n_random=6)


@pytest.fixture(scope="module")
def found():
    return STUDY(load(tiny("gpt2")), items())


def test_what_decides_comes_first(found):
    assert found.forms == ("plain", "lin", "feat", "conv")
    assert (found.accuracy > 0.9).all()
    lin = found.forms.index("lin")
    assert found.value[lin, 0] < found.random[lin, 0]
    scores = {s.name: s for s in found.trust.scores}
    assert scores["lin: decision_flip_fraction"].better == "lower"
    assert scores["lin: decision_flip_fraction"].control == pytest.approx(found.alone[lin, 0])
    assert found.value[0] == pytest.approx(found.alone[0])  # plain attention has no scores beside it


def test_shares_of_few_texts_that_are_all_alike_are_no_proof(found):
    """Where all texts flip with the first word, so need not all others; chance and control are held against it text by text."""
    ones = np.ones(10)
    metric = metric_of("decision_flip_most_informative")
    assert STUDY._score("lin", metric, ones, 0 * ones, ones / 2).interval == pytest.approx(
        (0.025 ** (1 / 10), 1)
    )
    assert all(s.over_chance is not None and s.over_control is not None for s in found.trust.scores)
    plain = found.trust.scores[0]
    assert plain.over_chance[0] <= plain.value - plain.chance <= plain.over_chance[1]


def test_flips_by_hand():
    """Words of one held-out text taken out one by one, read by the bare module."""
    data = LabelledTexts.of(items(), STUDY.id)
    model = STUDY._trained(data, "feat")
    shares = []
    for i in data.held_out[:10]:
        words = data.texts[i].split()

        def answer(kept, model=model):
            ids = model.tokenizer(" ".join(kept), return_tensors="pt")["input_ids"]
            with torch.no_grad():
                return int(model.module(ids).logits.argmax())

        weight, score = attended(model, np.array(model.tokenizer(data.texts[i])["input_ids"]))
        order = np.argsort(-np.abs(weight * score)[1:-1], kind="stable")
        flips = [
            k
            for k in range(1, len(words) + 1)
            if answer([w for j, w in enumerate(words) if j not in order[:k]]) != answer(words)
        ]
        shares.append((flips[0] if flips else len(words)) / len(words))
    lab_free = STUDY(load(tiny("gpt2")), items())
    assert lab_free.value[lab_free.forms.index("feat"), 0] == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("scaling", ["plain", "lin", "feat", "conv"])
def test_the_classifier_is_its_formula(scaling):
    torch.manual_seed(3)
    module = AttentionClassifier(9, ("no", "yes"), 4, scaling).eval()
    w = {k: v.detach().double().numpy() for k, v in module.named_parameters()}
    ids = [2, 5, 7, 5]
    e = w["table.weight"][ids]
    h = np.tanh(e @ w["hidden.weight"].T + w["hidden.bias"])
    a = np.exp(np.tanh(h @ w["look.weight"].T + w["look.bias"]) @ w["ask.weight"][0])
    a = a / a.sum()
    s = np.ones(4)
    if scaling != "plain":
        u = w["task.weight"][ids] * e
        s = u.sum(1)
        if scaling == "conv":
            padded = np.vstack([np.zeros(4), u, np.zeros(4)])
            s = np.array(
                [sum((w["near.weight"][:, :, k] @ padded[t + k]).sum() for k in range(3)) for t in range(4)]
            )
            s = s + w["near.bias"].sum()
    want = w["score.weight"] @ ((a * s)[:, None] * h).sum(0) + w["score.bias"]
    padded_ids = torch.tensor([[*ids, 1, 1]])
    with torch.no_grad():
        got = module(padded_ids, torch.tensor([[1, 1, 1, 1, 0, 0]])).logits[0].double().numpy()
    assert got == pytest.approx(want, abs=1e-5)


def test_opens_again(found, tmp_path):
    assert open_result(found.save(tmp_path / "t.exg")) == found
