"""Planted models say what their rule says in plain Python; methods are held against them, and noise finds nothing."""

from dataclasses import replace
from itertools import permutations
from random import Random

import numpy as np
import pytest

from exegete.core.errors import ModelError, UnknownName
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.truth.attributions import MEAN_RANK, NOISE, Ground, placed, spread_of_orders
from exegete.evaluate.truth.planted import planted, planted_names, proven
from exegete.methods.attention.raw_attention import RawAttention
from exegete.methods.attribution.kernel_shap import KernelShap
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.attribution.source_share import SourceShare
from exegete.models.ask import ask
from exegete.models.randomise import randomised
from exegete.ops.stats import few_mean

HAND_MADE = tuple(n for n in planted_names() if n != "single token")


@pytest.mark.parametrize("name", planted_names())
def test_every_planted_word_proves_itself_in_every_class(name):
    what = planted(name)
    texts = what.texts(6)
    proof = proven(what, texts)
    assert set(proof.relied) == set(what.labels)
    assert min(proof.relied.values()) >= 0.9
    assert proof.least > 0.5
    for t in texts:
        assert all(t.text.split().count(w) == 1 for w in t.words)
    assert len(what.model.labels) >= 3  # with two, the masked text would already be one of those explained


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_hand_made_model_is_its_rule(name):
    """Any subset of a text's words, in whole scores: not only single words as the proof has it."""
    what, rng = planted(name), np.random.default_rng(3)
    assert what.rule is not None
    for t in what.texts(4, seed=5):
        words = t.text.split()
        for keep in rng.random((4, len(words))) < 0.6:
            shown = " ".join(w if k else "<mask>" for w, k in zip(words, keep))
            logits = ask(what.model, shown, Target(label=t.label)).reference()[0].flatten().numpy()
            told = what.rule([w for w, k in zip(words, keep) if k])
            want = [told.get(label, 0.0) + (label == "neutral") for label in what.model.labels]
            assert logits == pytest.approx(want, abs=0.3)


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_text_of_masks_is_the_default_class_which_is_never_explained(name):
    what = planted(name)
    empty = ask(what.model, Text(text=" ".join(["<mask>"] * 10)))
    assert empty.target == "neutral"
    assert "neutral" not in what.labels


def test_a_model_that_does_not_rely_on_the_words_is_refused():
    what = planted("additive")
    with pytest.raises(ModelError, match="does not rely"):
        proven(replace(what, model=randomised(what.model)), what.texts(6))
    other = replace(planted("ordered pair"), rule=lambda words: {"praise": 4.0 * ("north" in words)})
    with pytest.raises(ModelError, match="than its rule says"):
        proven(other, other.texts(6))
    with pytest.raises(UnknownName, match="pairwise"):
        planted("pairwize")


def test_the_order_of_the_pair_is_what_counts():
    what = planted("ordered pair")
    t = what.draw(Random(0), "praise")
    swapped = t.text.replace("north", "?").replace("harbour", "north").replace("?", "harbour")
    assert ask(what.model, t.text).target == "praise"
    assert ask(what.model, swapped).target == "blame"


def test_places_by_hand():
    marks = np.array([True, False, True, False])
    assert placed(np.array([4.0, 1.0, 3.0, 2.0]), marks) == (1.0, 1.5)
    assert placed(np.array([4.0, 3.0, 1.0, 2.0]), marks) == (0.5, 2.5)
    assert placed(np.array([1.0, 4.0, 2.0, 3.0]), marks) == (0.0, 3.5)


def test_equal_scores_share_their_places():
    """The mean over all orders of equal scores, by brute force; scores that say nothing are at chance wherever the words stand."""
    rng = np.random.default_rng(0)
    for marks in (np.array([True, False, False, False, True]), np.arange(5) == 0):
        for scores in (np.zeros(5), *rng.integers(0, 3, (6, 5)).astype(float)):
            every = [placed(scores + 1e-3 * np.array(p), marks) for p in permutations(range(5))]
            assert placed(scores, marks) == pytest.approx(tuple(np.mean(every, axis=0)))
    assert placed(np.zeros(5), np.arange(5) == 0) == pytest.approx((1 / 5, 3.0))


@pytest.mark.parametrize(("n_texts", "k"), [(2, 3), (3, 3), (6, 3), (6, 1)])
def test_random_scores_hardly_ever_beat_chance_on_few_texts(n_texts, k):
    """Nominally 2.5 %. The bootstrap over texts let 51 % of them through on two texts, and 12 % on six."""
    rng, marks = np.random.default_rng(n_texts), np.arange(10) < k
    least, won = spread_of_orders(np.full(n_texts, k), np.full(n_texts, 10)), np.zeros(2)
    drawn = np.array([[placed(rng.normal(size=10), marks) for _ in range(n_texts)] for _ in range(400)])
    for x in drawn:
        won += [few_mean(x[:, 0], least[0])[0] > k / 10, few_mean(x[:, 1], least[1])[1] < 5.5]
    assert (won / 400 <= 0.05).all()
    # what is taken as the least spread is that of random orders
    assert drawn.reshape(-1, 2).std(0) == pytest.approx(least, rel=0.15)


def test_what_fails_on_some_texts_is_counted_and_says_why():
    ground, turn = Ground.of(planted("additive"), 6, 0), iter(range(99))

    class Sometimes(Occlusion):
        def attribute(self, q, units):
            if next(turn) % 4 == 0:
                raise ZeroDivisionError("planted")
            return super().attribute(q, units)

    (top, _), why = ground.judge(Sometimes(), lambda: None)
    assert top.score.n + top.score.n_failed == 6 and top.score.n_failed > 0
    assert f"on {top.score.n_failed} of 6 texts" in why and "planted" in why


def test_methods_that_are_right_find_all_and_noise_and_shuffled_weights_do_not():
    ground = Ground.of(planted("pairwise"), 9, 0)
    steps = []
    for method in (Occlusion(), KernelShap(n_samples=128)):
        (top, rank), why = ground.judge(method, lambda: steps.append(1))
        assert why == ""
        assert (top.score.value, top.best) == (1.0, 1.0)
        # all equal, and yet as wide as random orders would spread: t of 8 is 2.306
        low = 1 - 2.306 * np.sqrt(0.7 * 0.7 / 9) / 3
        assert top.score.interval == pytest.approx((low, 1.0), abs=1e-3)
        assert top.score.chance == pytest.approx(0.3)
        assert top.score.beats_chance and top.score.beats_control
        assert (rank.score.name, rank.score.value, rank.best, rank.score.chance) == (MEAN_RANK, 2.0, 2.0, 5.5)
        assert rank.score.beats_chance and rank.score.beats_control
        assert [label for label, _ in top.by_part] == ["praise", "blame", "doubt"]
    assert len(steps) == 18
    for row in ground.noise():
        assert row.method == NOISE
        assert not row.score.beats_chance


def test_attention_that_reads_all_words_alike_tells_nothing():
    (top, _), _ = Ground.of(planted("additive"), 9, 0).judge(RawAttention(), lambda: None)
    assert not top.score.beats_chance
    assert not top.score.beats_control


def test_a_method_that_cannot_be_asked_says_why():
    rows, why = Ground.of(planted("additive"), 3, 0).judge(SourceShare(), lambda: None)
    assert rows == ()
    assert "causal" in why
