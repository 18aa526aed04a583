"""Probe attribution finds a planted token, and says so only where it holds."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked
from exegete.core.request import Text
from exegete.methods.probing.probe_attribution import SALIENT, ProbeAttribution, _cut
from exegete.models.encode import encode
from exegete.models.load import load
from exegete.models.tiny import tiny

OTHERS = ("mary", "gave", "to", "john", "we", "a", "book")


@pytest.fixture(scope="module")
def model():
    return load(tiny("gpt2"))


@pytest.fixture(scope="module")
def marked_model():
    """A model in which two tokens stand out: opposite ends of one direction are added to their embeddings."""
    model = load(tiny("gpt2"))
    table = model.module.get_input_embeddings().weight
    way = torch.randn(table.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for word, sign in (("is", 1), ("was", -1)):
            (token,) = model.tokenizer(f" {word}")["input_ids"][-1:]
            table[token] += sign * 4 * table.std() * way
    return model


def texts(planted, n=200):
    """Seven words; with `planted` one of them is "is" or "was", which says the class, else the class is drawn."""
    rng, made = np.random.default_rng(1), []
    for _ in range(n):
        words = [str(w) for w in rng.choice(OTHERS, 7)]
        kind = int(rng.integers(0, 2))
        if planted:
            words[int(rng.integers(1, 7))] = ("is", "was")[kind]
        made.append(Marked.of(" ".join(words), ("one", "other")[kind]))
    return made


def test_the_planted_token_is_found_and_matters(marked_model):
    found = ProbeAttribution(strength=1.0)(marked_model, texts(True))
    assert found.accuracy > 0.9
    assert {"is", "was"} <= set(found.words[:3])
    kept, gone = found.trust.scores[1], found.trust.scores[3]
    assert kept.value > 0.85
    assert kept.beats_chance
    assert kept.beats_control
    assert gone.value < 0.75
    assert gone.beats_chance
    assert found.orders[0] == SALIENT
    for e in found.examples:
        assert e.tokens[int(e.saliency.argmax())].strip() in ("is", "was")
        assert np.abs(e.saliency).sum() == pytest.approx(1)


def test_where_there_is_nothing_to_explain_it_says_so(model):
    found = [ProbeAttribution(seed=s, n_draws=1, shares=(0.5,))(model, texts(False)) for s in range(4)]
    won = [bool(f.trust.scores[0].beats_chance) for f in found]
    assert sum(won) <= 1  # by luck one in forty does; two of four: under one in two hundred
    assert all(("nothing to explain" in f.lede) != w for f, w in zip(found, won))


def test_what_is_cut():
    e = encode(load(tiny("bert", "masked")), Text.of("we gave the book to mary"))
    inner = [t for t in e.tokens if not t.special]
    order = np.arange(len(inner))[::-1].copy()
    kept, gone = _cut(e, order, 0.25, True), _cut(e, order, 0.25, False)
    names = [[t.text for t in x.tokens if not t.special] for x in (kept, gone)]
    assert sorted(names[0] + names[1]) == sorted(t.text for t in inner)
    assert names[0][-1] == inner[-1].text
    assert len(kept.tokens) - len(names[0]) == len(e.tokens) - len(inner)  # special tokens stay
    assert [t.text for t in _cut(e, order, 1.0, False).tokens if not t.special] == [inner[0].text]


def test_labels_on_words_get_a_letter(model):
    words = [Marked(text="a cat", marks=(Mark(label="x", spans=((0, 1),)),))] * 8
    with pytest.raises(InputError, match="one label each"):
        ProbeAttribution()(model, words)
