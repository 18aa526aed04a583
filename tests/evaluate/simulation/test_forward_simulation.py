"""Explanations that name the planted words help a reader, random ones do not; nothing of the texts to foretell is told."""

from random import Random

import numpy as np
import pytest

from exegete.core.errors import BudgetError, InputError
from exegete.core.store import open_result
from exegete.evaluate.simulation import forward_simulation
from exegete.evaluate.simulation.forward_simulation import ForwardSimulationStudy, Read, _halves, _shuffled
from exegete.evaluate.truth import planted_additive
from exegete.evaluate.truth.planted import planted
from exegete.show.render import page
from support.answerers import PlantedChat

NAMES = ("neutral", "praise", "blame", "doubt")


def drawn(n, seed=0):
    """Texts of the additive planted model, what it says, and their gold scores by its rule."""
    random = Random(seed)
    texts = [planted_additive._draw(random, NAMES[1 + i % 3]) for i in range(n)]
    reads = [Read(tuple(t.text.split()), NAMES.index(t.label)) for t in texts]
    gold = [
        np.array([planted_additive.WORDS.get(w, {}).get(t.label, 0.0) for w in t.text.split()]) for t in texts
    ]
    return reads, gold


def gain(found, name):
    return next(s for s in found.trust.scores if s.name == f"{name}: gain over no explanations")


def test_gold_words_help_and_random_scores_do_not():
    reads, gold = drawn(72)
    found = ForwardSimulationStudy().simulate(reads, {"gold": gold}, NAMES)
    assert gain(found, "gold").beats_chance and gain(found, "gold").beats_control
    assert gain(found, "gold").value > 0.05
    for s in found.trust.scores:
        if s.name.startswith("random scores: gain"):
            assert not s.beats_chance
            assert abs(s.value - s.control) < 0.2  # random scores are like shuffled ones
    agree = next(s for s in found.trust.scores if s.name.startswith("gold: agreement"))
    assert agree.chance == pytest.approx(1 / 3)  # the most frequent of three answers in turn
    assert agree.value == pytest.approx(found.hits[0].mean())
    assert gain(found, "gold").value == pytest.approx(found.hits[0].mean() - found.plain.mean())
    assert "Those of gold help" in found.lede


def test_the_method_on_the_planted_model(tmp_path):
    what = planted("additive")
    texts = [t.text for t in what.texts(48, seed=1)]
    found = ForwardSimulationStudy(explainers=("occlusion",), n_random=4)(what.model, texts)
    good, none = gain(found, "occlusion"), gain(found, "random scores")
    assert good.value > max(0.0, good.control, none.value)
    assert good.beats_control and not none.beats_control and not none.beats_chance
    assert (good.n, good.n_failed) == (48, 0)
    assert open_result(found.save(tmp_path / "r.exg")) == found
    assert "<html" in page(found)


def test_what_is_foretold_is_not_explained():
    """Whatever is said of the texts of one half, the reader foretells them alike: it learned from the other half."""
    reads, gold = drawn(30)
    study = ForwardSimulationStudy()
    halves = _halves(reads, 0)
    other = [-g if h == 0 else g for g, h in zip(gold, halves)]
    a, b = (study._said(None, reads, halves, s, NAMES) for s in (gold, other))
    assert np.array_equal(a[halves == 0], b[halves == 0])
    assert not np.array_equal(a[halves == 1], b[halves == 1])


def test_equal_texts_are_in_one_half_and_answers_in_both():
    reads, _ = drawn(20)
    twice = [*reads, *reads]
    halves = _halves(twice, 3)
    assert np.array_equal(halves[:20], halves[20:])
    for answer in (1, 2, 3):
        assert set(halves[[t.answer == answer for t in twice]]) == {0, 1}


def test_what_failed_is_counted_and_one_answer_is_nothing_to_foretell():
    reads, gold = drawn(24)
    found = ForwardSimulationStudy(n_random=2).simulate(reads, {"some": [None, None, None, *gold[3:]]}, NAMES)
    assert (gain(found, "some").n, gain(found, "some").n_failed) == (21, 3)
    same = [Read(r.words, 1) for r in reads]
    found = ForwardSimulationStudy().simulate(same, {"some": gold}, NAMES)
    assert "praise to every text" in found.lede
    assert all(np.isnan(s.value) and s.n_failed > s.n == 0 for s in found.trust.scores)
    assert page(found)
    with pytest.raises(InputError, match="half of them"):
        ForwardSimulationStudy(explainers=("occlusion",))(planted("additive").model, ["room"] * 8)


def test_what_a_method_is_held_against_is_of_the_texts_that_it_explained():
    """All texts that say doubt fail: neither what is said most often nor shuffled scores are asked of them."""
    reads, gold = drawn(48)
    some = [None if r.answer == 3 else g for r, g in zip(reads, gold)]
    study = ForwardSimulationStudy(n_random=3)
    found = study.simulate(reads, {"some": some}, NAMES)
    left = np.array([r.answer != 3 for r in reads])
    answers, halves = np.array([r.answer for r in reads]), _halves(reads, 0)
    often = [np.bincount(answers[halves != h]).argmax() for h in (0, 1)]
    agree = next(s for s in found.trust.scores if s.name.startswith("some: agreement"))
    assert agree.n == left.sum() and agree.n_failed == 48 - left.sum()
    assert agree.chance == pytest.approx(
        np.mean([often[h] == a for a, h in zip(answers[left], halves[left])])
    )
    draws = [
        study._said(None, reads, halves, _shuffled(some, 0, "some", k), NAMES) == answers for k in range(3)
    ]
    assert agree.control == pytest.approx(np.mean(draws, axis=0)[left].mean())
    assert agree.control != pytest.approx(np.mean(draws))
    assert gain(found, "some").control == pytest.approx(agree.control - found.plain[left].mean())
    assert gain(found, "some").over_control == pytest.approx(agree.over_control, abs=0.03)


def by_reasons(prompt, options):
    """Learns which word stood for which answer from "Because of" lines alone, and votes; else always the first option."""
    votes = dict.fromkeys(options, 0)
    *known, last = prompt.split("Text: ")
    for block in known:
        if "Because of: " in block:
            said = block.split("It answers: ")[1].split("\n")[0]
            words = block.split("Because of: ")[1].split("\n")[0].split(", ")
            votes[said] += len(set(words) & set(last.split("\n")[0].split()))
    return options.index(max(votes, key=lambda o: votes[o]))


def test_a_chat_that_reads_reasons(monkeypatch):
    monkeypatch.setattr(forward_simulation, "chat", lambda spec: PlantedChat(by_reasons))
    reads, gold = drawn(24)
    found = ForwardSimulationStudy(reader="script:any").simulate(reads, {"gold": gold}, NAMES)
    assert found.plain.sum() == 0  # never the first option, which is what it says without reasons
    assert gain(found, "gold").value > 0.8
    assert gain(found, "gold").beats_control
    with pytest.raises(BudgetError):
        ForwardSimulationStudy(reader="script:any", most_calls=30).simulate(reads, {"gold": gold}, NAMES)
