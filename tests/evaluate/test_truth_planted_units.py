"""Known neurons, features, concepts and phases are what they say, by interventions; what finds nothing does not score."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from exegete.core.target import Target
from exegete.evaluate.truth.concept_truths import TRUTHS as CONCEPTS
from exegete.evaluate.truth.concept_truths import UNUSED, USED, WORDS, concept_texts, late
from exegete.evaluate.truth.neuron_truths import TRUTHS, _first
from exegete.evaluate.truth.planted_features import mean_max_cosine, random_cosine, superposed
from exegete.evaluate.truth.planted_units import (
    CLASSES,
    FOLLOWS,
    N_CLASSES,
    PAIR,
    PLANTED,
    agreement,
    mentioned,
    plain_texts,
    units,
)
from exegete.evaluate.truth.toy_phases import clear, toy_losses, toy_phases
from exegete.models.ask import ask


def hidden(model, text):
    """What the hidden units do [tok, unit], behind the beginning of the text, and the logits [tok, vocabulary]."""
    seen = []
    handle = model.module.transformer.h[0].mlp.act.register_forward_hook(lambda *a: seen.append(a[2][0]))
    with torch.no_grad():
        logits = model.module(**model.tokenizer(text, return_tensors="pt")).logits[0]
    handle.remove()
    return seen[0][1:].numpy(), logits[1:]


@pytest.mark.parametrize("used", [True, False])
def test_units_fire_on_their_words_alone(used):
    for text in plain_texts(5, 1):
        values, _ = hidden(units(used), text)
        words = text.split()
        for i, own in enumerate(CLASSES.values()):
            assert values[:, i] == pytest.approx([2.0 * (w in own) for w in words], abs=1e-4)
        before = ["", *words]
        pair = [2.0 * (w == PAIR[1] and b == PAIR[0]) for b, w in zip(before, words)]
        assert values[:, N_CLASSES] == pytest.approx(pair, abs=1e-4)
        assert values[:, N_CLASSES + 1 :].std() > 0.2


def test_units_carry_what_is_said_where_they_are_used_and_nothing_where_they_are_not():
    for used in (True, False):
        model = units(used)
        down = model.module.transformer.h[0].mlp.c_proj.weight
        whole = hidden(model, "cat")[1][-1]
        said = model.tokenizer.convert_tokens_to_ids(FOLLOWS["animal"])
        assert int(whole.argmax()) == said
        kept = down[0].clone()
        down[0] = 0
        without = hidden(model, "cat")[1][-1]
        down[0] = kept
        assert (float((whole - without)[said]) > 3) == used
        assert used or torch.equal(whole, without)


def test_descriptions_are_read_as_words():
    assert mentioned("fires on the word 'cat', 'lamp' with 'old' before it; not on the word 'red'") == {
        "cat",
        "lamp",
        "old",
    }
    assert agreement(frozenset(PAIR), frozenset(PAIR)) == 1.0
    assert agreement(frozenset(), frozenset(PAIR)) == 0.0
    assert agreement(frozenset(("cat",)), frozenset(CLASSES["animal"])) == pytest.approx(2 / 7)
    assert len(PLANTED) == N_CLASSES + 1


def test_a_ranking_that_is_turned_round_finds_nothing():
    order = np.arange(45)
    assert _first(SimpleNamespace(ranked=SimpleNamespace(unit=order)), 4) == 1.0
    assert _first(SimpleNamespace(ranked=SimpleNamespace(unit=order[::-1])), 4) == 0.0


@pytest.mark.parametrize("name", ["probeless", "neuron_ablation", "neuron_records"])
def test_studies_of_neurons_find_what_is_planted(name):
    (row,) = TRUTHS[name].ask(0)
    assert row.score.value == 1.0
    assert row.score.beats_chance and row.score.beats_control


def test_words_are_sums_of_known_directions_and_units_answer_to_them():
    what = superposed(0)
    assert np.abs(what.read_directions @ what.read_directions.T - np.eye(36)).max() < 0.6
    text = what.texts(1, 0)[0]
    values, _ = hidden(what.model, text)
    held = np.array([what.held[what.words.index(w)] for w in text.split()])
    assert (values[held > 0] > 0).mean() > 0.95
    assert values[held > 0].mean() > 10 * values[held == 0].mean()
    assert mean_max_cosine(what.read_directions, what.read_directions[::-1]) == pytest.approx(1.0)
    chance = random_cosine(what.read_directions, 48, 0)
    assert mean_max_cosine(what.read_directions, what.written_directions) < chance + 0.1 < 0.7


def test_phases_are_those_of_the_least_loss_by_drawing():
    rng = np.random.default_rng(0)
    for r, p in ((0.3, 0.9), (3.0, 0.9), (1.0, 0.1)):
        x = rng.random((200_000, 2)) * (rng.random((200_000, 2)) < p)
        weight = np.array([1.0, r])
        found = []
        for w, b in (
            (np.array([1.0, 0.0]), [0, p / 2]),
            (np.array([0.0, 1.0]), [p / 2, 0]),
            (np.array([1.0, -1.0]), [0, 0]),
        ):
            back = np.maximum(np.outer(x @ w, w) + b, 0)
            found.append((weight * (x - back) ** 2).sum(1).mean())
        told = toy_losses(np.array([r]), np.array([p]))[:, 0, 0]
        assert told == pytest.approx(found, rel=0.12)  # both are on in 2,000 of the draws
        assert toy_phases(np.array([r]), np.array([p]))[0, 0] == int(np.argmin(found))
    assert clear(np.array([1.0]), np.array([1.0, 0.05]))[0].tolist() == [False, True]


def test_one_concept_is_used_and_the_other_is_not():
    def said(text):
        return float(ask(late(), text, Target(label=USED, scale="logit")).reference()[0].flatten()[1])

    (text,) = [m.text for m in concept_texts(("",), 1, 0)]
    first = text.split()[0]
    assert said(text.replace(first, WORDS[USED][0])) - said(text) > 1
    assert abs(said(text.replace(first, WORDS[UNUSED][0])) - said(text)) < 0.1
    assert len({m.text for m in concept_texts((USED, ""), 20, 0)}) == 40


def test_steering_tells_a_used_concept_from_one_that_is_not():
    (row,) = CONCEPTS["concept_steering"].ask(0)
    assert row.score.value == 1.0
    assert row.score.beats_chance and row.score.beats_control
