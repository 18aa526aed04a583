"""The small classifier learns what can be learned, by heart where it must, the same for the same seed, and moves no random state."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.models.small_classifier import Recipe, answers, from_texts, plain_words, trained

WORDS = ("the", "a", "room", "street", "north", "harbour")
SMALL = Recipe(width=16, layers=2, heads=2, n_steps=120, batch=32, rate=8e-3)


def ordered(rng, size):
    """Which of two words comes first: left to right it is plain, as a bag of words it cannot be told."""
    rows = [rng.permutation(WORDS).tolist() for _ in range(size)]
    return [" ".join(r) for r in rows], [
        "yes" if r.index("north") < r.index("harbour") else "no" for r in rows
    ]


def test_it_learns_an_order():
    model = trained(WORDS, ("no", "yes"), ordered, 6, SMALL)
    texts, told = ordered(np.random.default_rng(99), 200)
    assert np.mean([a == b for a, b in zip(answers(model, texts), told)]) > 0.95
    assert not model.module.training
    assert not any(p.requires_grad for p in model.module.parameters())


def test_it_learns_by_heart_what_has_no_rule():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation(WORDS)) for _ in range(16)]
    told = [("no", "yes")[i] for i in rng.integers(0, 2, 16)]
    model = trained(WORDS, ("no", "yes"), from_texts(texts, told), 6, SMALL)
    assert answers(model, texts) == told


def test_the_same_seed_gives_the_same_weights_and_no_random_state_moves():
    few = Recipe(width=8, layers=1, heads=2, n_steps=3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, two, other = (trained(WORDS, ("no", "yes"), ordered, 6, few, seed) for seed in (1, 1, 2))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    weights = [torch.cat([p.flatten() for p in m.module.parameters()]) for m in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_batches_hold_every_text_once_before_any_twice():
    draw, rng = from_texts(list("abcdef"), list("123456")), np.random.default_rng(0)
    seen = [x for _ in range(3) for x in draw(rng, 2)[0]]
    assert sorted(seen) == list("abcdef")
    texts, told = draw(rng, 4)
    assert [list("abcdef").index(t) == list("123456").index(x) for t, x in zip(texts, told)] == [True] * 4


def test_plain_words():
    assert plain_words("The food, was NOT good!") == "the food was not good"
    assert plain_words("a b c d", most=2) == "a b"


def test_one_label_is_refused():
    with pytest.raises(InputError, match="same label"):
        trained(WORDS, ("yes",), ordered, 6, SMALL)
