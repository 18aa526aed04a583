"""Probing by a prefix: a task the model can do is read, labels dealt at random are not, and heads that do nothing are spared."""

import copy
from random import Random

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Mark, Marked
from exegete.methods.probing.prefix_probe import (
    PrefixProbe,
    _answers,
    _enough,
    _gated,
    _needed,
    _options,
    _read,
    _without,
)
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.soft_prompt import deep_start, says, slotted
from exegete.models.tiny import tiny
from exegete.ops.hard_concrete import settled
from exegete.terrarium.labelled import marked

QUICK = {"n_steps": 80, "n_gate_steps": 1, "n_points": 2, "n_random": 1}


def test_a_task_the_model_can_do_is_read():
    r = PrefixProbe(**QUICK)(load("terrarium/decoder"), marked("subject", 200))
    first, mixed = r.trust.scores[:2]
    assert first.value >= 0.75
    assert first.beats_chance
    assert first.control is not None
    assert first.control <= 0.6  # randomised weights: learned by heart at most
    assert first.beats_control
    assert mixed.beats_control
    assert "does the task" in r.lede
    assert r.tokens == (" these", " this")
    np.testing.assert_allclose(np.trace(r.confusion) / r.confusion.sum(), first.value)
    np.testing.assert_allclose(r.accuracy[0, 1], first.value)


def test_labels_at_random_are_not_read():
    labels = ["one", "many"] * 50
    Random(5).shuffle(labels)
    items = [Marked.of(i.text, x) for i, x in zip(marked("subject", 100), labels)]
    r = PrefixProbe(**QUICK | {"n_steps": 12})(load("terrarium/decoder"), items)
    assert not (r.trust.scores[0].beats_chance and r.trust.scores[0].beats_control)
    assert "NOT do better than its controls" in r.lede


def without_heads(heads: np.ndarray) -> Lab:
    """A copy of the decoder in which what some heads hand on is weighed with zeros."""
    model = load("terrarium/decoder")
    n_heads, module = model.map.n_heads, copy.deepcopy(model.module)
    for head in heads:
        out = module.state_dict()[f"model.layers.{head // n_heads}.self_attn.o_proj.weight"]
        out.unflatten(1, (n_heads, -1))[:, head % n_heads] = 0
    return Lab(load((module, model.tokenizer)))


def asked(lab: Lab):
    """Forty cases behind two slots, what stands in these to start with, and the tokens of the classes."""
    items, names = marked("subject", 40), ("many", "one")
    options = _options(lab, names, ())
    wanted = [int(options[names.index(str(i.marks[0].label))]) for i in items]
    cases = slotted(lab, [i.text for i in items], wanted, 2, before=True)
    return cases, deep_start(lab, cases), options


def test_heads_that_do_nothing_close_first():
    """Dead heads of a copy: their gates must be the lowest, and taking them away costs nothing."""
    dead = np.array([1, 6, 15])
    lab = without_heads(dead)
    cases, vectors, options = asked(lab)
    study = PrefixProbe(n_gate_steps=25, batch=16)
    location = study._gates(lab, cases, vectors, options)
    others = np.setdiff1d(np.arange(location.numel()), dead)
    gates = location.flatten().numpy()
    assert gates[dead].max() <= gates[others].min() + 1e-3
    assert (settled(location).flatten()[dead] == 0).all()
    assert (settled(location).flatten()[others] > 0.5).any()


def test_heads_taken_away_are_heads_with_zeroed_weights():
    """The removal curve and the falls against a copy whose weights are changed, head by head."""
    lab = Lab(load("terrarium/decoder"))
    cases, vectors, options = asked(lab)
    location = torch.randn(4, 4, generator=torch.Generator().manual_seed(3))
    study = PrefixProbe(n_points=3, n_random=1)
    found, falls = study._removal(lab, cases, vectors, options, location, ["the cat sat on the mat"])
    assert found["removed"].tolist() == [0, 1, 4]
    order = np.argsort(-location.flatten().numpy())
    slow = []
    for size in (0, 1, 4):
        logits = says(without_heads(order[:size]), cases, vectors)[:, options].numpy().astype(np.float64)
        likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        slow.append(likely[np.arange(len(cases)), [options.tolist().index(int(w)) for w in cases.wanted]])
    np.testing.assert_allclose(found["without"], np.mean(slow, 1), atol=1e-5)
    np.testing.assert_allclose(falls[0], slow[0] - np.mean(slow[1:], 0), atol=1e-5)
    assert falls.shape == (2, 40)
    assert np.ptp(found["without"]) > 1e-3  # it can fail: heads matter
    sites = lab.model.map.sites("z")
    one = _answers(lab, cases, vectors, options, _gated(sites, _without(order[:1], location)))
    np.testing.assert_allclose(one[1], slow[1], atol=1e-5)


def test_what_is_needed_beside_random_orders():
    """An order that hurts beyond the random ones stands out; one like them does not, and the mean alone is no proof."""
    rng = np.random.default_rng(0)
    drawn = 0.1 + 0.05 * rng.standard_normal((20, 1)) + 0.02 * rng.standard_normal((20, 100))
    high = 0.4 + 0.02 * rng.standard_normal((1, 100))
    score = _needed(np.concatenate([high, drawn]), 4, 1, 0)
    assert score.percentile == 100
    assert score.beats_chance
    assert (score.n, score.n_failed) == (100, 1)
    assert not _needed(np.concatenate([np.median(drawn, 0)[None], drawn]), 4, 0, 0).beats_chance
    above = np.full(
        (1, 100), drawn.mean() + 0.03
    )  # over the mean of the draws at every text, yet within the draws
    lucky = _needed(np.concatenate([above, drawn]), 4, 0, 0)
    assert lucky.value > lucky.chance
    assert not lucky.beats_chance


def test_heads_that_suffice_beside_as_many_random_ones():
    rng = np.random.default_rng(0)
    drawn = (rng.random((20, 100)) < 0.6).astype(float)
    good = (rng.random(100) < 0.9).astype(float)
    assert _enough(good, drawn, 9, 0, 0).beats_chance
    assert not _enough(drawn[3], drawn, 9, 0, 0).beats_chance
    np.testing.assert_allclose(_enough(good, drawn, 9, 0, 0).chance, drawn.mean())


PLURALS = {"men", "women", "children", "fishermen", "mice", "geese"}  # that do not end in s; no singular does


def test_subjects_are_labelled_with_their_number():
    items = marked("subject", 300)
    assert len({i.text for i in items}) == 300
    many = np.array([i.marks[0].label == "many" for i in items])
    assert 0.4 < many.mean() < 0.6
    nouns = [i.text.split()[1] for i in items]
    np.testing.assert_array_equal(many, [n.endswith("s") or n in PLURALS for n in nouns])
    last = np.array([i.text.endswith("s") for i in items[::3]])  # "the key near the boxes"
    assert 0.3 < (last == many[::3]).mean() < 0.7  # the nearest noun tells nothing


def test_material_and_words_that_do_not_fit():
    lab = Lab(load(tiny("gpt2")))
    with pytest.raises(UsageError, match="classes are"):
        _options(lab, ("a", "b"), ("c=x",))
    with pytest.raises(UsageError, match="no single token"):
        _options(lab, ("a", "b"), ("a=wonderful mornings",))
    with pytest.raises(InputError, match="parts of texts"):
        PrefixProbe()(lab.model, [Marked(text="a b", marks=(Mark(label="x", spans=((0, 1),)),))] * 4)
    with pytest.raises(InputError, match="1 different"):
        PrefixProbe()(lab.model, [Marked.of("a b", "x")] * 4)


def test_texts_too_long_are_counted_as_failed():
    model = load(tiny("gpt2"))
    items = [*marked("subject", 24), Marked.of("the cat " * 300, "one")]
    r = PrefixProbe(n_steps=1, n_gate_steps=1, n_points=2, n_random=1, batch=2)(model, items)
    assert {s.n_failed for s in r.trust.scores} == {1}


def test_thirty_right_answers_are_not_all_answers():
    """An exact interval: with a share of 0.88 of right answers, thirty of thirty are met once in forty runs."""
    score = _read(np.ones(30), 0.5, None, (None, np.zeros(30)), "", 0, 0)[0]
    assert score.interval == pytest.approx((0.025 ** (1 / 30), 1.0))
