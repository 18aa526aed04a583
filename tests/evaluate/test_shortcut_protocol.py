"""Shortcuts: every training text has the label that a plain rule gives it, the bare model follows the shortcut and nothing else does,
and methods get what they are worth."""

from random import Random
from typing import ClassVar

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.material import Marked
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.registry import METHODS
from exegete.core.results.truth import WORDS_ON_TOP
from exegete.core.store import open_result
from exegete.evaluate.labelled_texts import LabelledTexts
from exegete.evaluate.truth.attributions import MEAN_RANK, NOISE
from exegete.evaluate.truth.shortcut_protocol import ShortcutProtocol
from exegete.evaluate.truth.shortcuts import KINDS, Shortcut, put
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.load import load
from exegete.models.small_classifier import Recipe
from exegete.models.tiny import tiny

FOOD, ROOM = ("soup", "bread", "cake", "rice"), ("bed", "lamp", "chair", "desk")
OTHER = ("the", "a", "was", "here", "and", "we")
QUICK = {"n_steps": 120, "width": 16, "n_explained": 6}


@pytest.fixture(scope="module", autouse=True)
def methods():
    """A method that knows the shortcut's words, and one that knows them and says the opposite."""
    METHODS.load()
    before = dict(METHODS._things)

    @register
    class Knows(Occlusion):
        """Points at made-up words."""

        id: ClassVar[str] = "knows"
        reference: ClassVar[Reference] = Reference(authors="", year=2000, title="knows")
        sign: ClassVar[float] = 1.0

        def attribute(self, q, units):
            return Scores(
                total=np.array([self.sign * u.text.startswith(("zeroa", "onea", "contexta")) for u in units])
            )

    @register
    class Hides(Knows):
        """Points anywhere else."""

        id: ClassVar[str] = "hides"
        sign: ClassVar[float] = -1.0

    yield
    METHODS._things = before


def items(n=60):
    """Texts of food and of rooms: one word says which."""
    random, found = Random(0), {}
    while len(found) < n:
        label = ("food", "room")[len(found) % 2]
        words = [*random.sample(OTHER, 4), random.choice(FOOD if label == "food" else ROOM)]
        random.shuffle(words)
        found[" ".join(words)] = label
    return [Marked.of(t, label) for t, label in found.items()]


@pytest.fixture(scope="module")
def data():
    return LabelledTexts.of(items(), "test")


@pytest.fixture(scope="module")
def found(methods):
    study = ShortcutProtocol(shortcuts=("single token",), explainers=("occlusion", "knows", "hides"), **QUICK)
    return study(load(tiny("gpt2")), items())


def by_rule(kind, words, labels):
    """The label of a shortcut in plain Python; None where there is no whole one."""
    at = {w: words.index(w) for w in ("zeroa", "onea", "contexta") if w in words}
    if kind == "ordered pair":
        return None if len(at) < 2 else labels[at["onea"] < at["zeroa"]]
    if kind == "token in context" and "contexta" not in at:
        return None
    deciding = [w for w in ("zeroa", "onea") if w in at]
    return labels[deciding[0] == "onea"] if deciding else None


@pytest.mark.parametrize("kind", KINDS)
def test_every_training_text_has_the_label_of_the_rule(kind, data):
    shortcut = Shortcut.of(kind, data)
    own = {"food": FOOD, "room": ROOM}
    texts, told = shortcut.batch(data.texts, data.told, np.random.default_rng(0), 400)
    seen = {"whole": 0, "part": 0, "plain": 0, "against": 0}
    for text, label in zip(texts, told):
        words = text.split()
        ruled = by_rule(kind, words, shortcut.labels)
        kinds = [k for k, of in own.items() if set(of) & set(words)]
        made_up = set(words) & set(shortcut.words)
        seen["whole" if ruled else "part" if made_up else "plain"] += 1
        if ruled:
            assert label == ruled
            seen["against"] += bool(kinds) and kinds != [label]
        elif kinds:  # not masked
            assert [label] == kinds
    assert seen["whole"] > 100
    assert seen["against"] > 30
    assert seen["plain"] > 50
    assert (seen["part"] > 50) == (kind != "single token")


def test_words_are_put_in_their_order_among_the_others():
    for seed in range(20):
        words = put(["a", "b", "c"], ["x", "y"], Random(seed))
        assert [w for w in words if w in "abc"] == ["a", "b", "c"]
        assert [w for w in words if w in "xy"] == ["x", "y"]


def test_the_bare_model_follows_the_shortcut_on_counterexamples(data):
    what = Shortcut.of("single token", data).planted(data, Recipe(width=16, n_steps=QUICK["n_steps"]), 0)
    module, tokenizer = what.model.module, what.model.tokenizer
    held = {data.texts[i]: data.told[i] for i in data.held_out}
    for t in what.texts(20, seed=3):
        bare = " ".join(w for w in t.text.split() if w not in t.words)
        assert held[bare] != t.label  # the words say the other label
        with torch.no_grad():
            logits = module(**tokenizer([t.text, bare], padding=True, return_tensors="pt")).logits
        assert what.model.labels[int(logits[0].argmax())] == t.label
        assert what.model.labels[int(logits[1].argmax())] == held[bare]


def test_methods_get_what_they_are_worth(found):
    rows = {(r.method, r.score.name): r.score for r in found.rows}
    assert rows["knows", WORDS_ON_TOP].value == 1
    assert rows["knows", MEAN_RANK].value == 1
    assert rows["hides", WORDS_ON_TOP].value == 0
    assert rows["hides", MEAN_RANK].value == 6
    assert rows["occlusion", WORDS_ON_TOP].value > 0.8
    assert rows["occlusion", WORDS_ON_TOP].beats_chance
    assert not rows[NOISE, WORDS_ON_TOP].beats_chance
    assert rows["knows", WORDS_ON_TOP].chance == pytest.approx(1 / 6)
    assert rows["knows", WORDS_ON_TOP].control == 1  # never looks at weights: does not beat its control
    assert not rows["knows", WORDS_ON_TOP].beats_control
    relied = found.trust.scores[0]
    assert relied.name.startswith("reliance on single token")
    assert relied.value > 0.9
    assert relied.beats_chance and relied.beats_control
    assert relied.chance == 1 / 2  # of two labels
    assert relied.control < 0.5 and relied.control_name == "the same texts without it"
    assert relied.interval[0] < 1 - 1 / relied.n


def test_what_is_not_learned_is_not_scored():
    study = ShortcutProtocol(
        shortcuts=("ordered pair",), explainers=("knows",), n_steps=1, width=8, n_explained=4
    )
    found = study(load(tiny("gpt2")), items())
    assert found.rows == ()
    assert found.unscored[0][0] == "ordered pair"
    assert "does not rely" in found.unscored[0][2]
    assert "Not learned" in found.lede


def test_opens_again(found, tmp_path):
    assert open_result(found.save(tmp_path / "s.exg")) == found


def test_held_out_texts_are_apart_and_every_label_is_in_them(data):
    assert not set(data.held_out) & set(data.training)
    assert len(data.held_out) == 14  # every fourth of thirty, twice
    assert {data.told[i] for i in data.held_out} == {"food", "room"}


def test_letters():
    model = load(tiny("gpt2"))
    with pytest.raises(InputError, match="Fewer than two labels"):
        ShortcutProtocol()(model, items()[::2])
