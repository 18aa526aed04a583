"""Showing a feature: one that reads a known token must be shown by that token, in texts and in optimised inputs."""

import weakref

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, UsageError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.methods.contracts.dictionaries import packed
from exegete.methods.features import activations, feature_show
from exegete.methods.features.activations import read
from exegete.methods.features.feature_show import FeatureShowStudy
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.dictionary import Dictionary

WANTED = 77


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A model, and a dictionary of its embeddings: feature 1 is on at token 77 alone, feature 0 never."""
    model = load(tiny("gpt2"))
    table = model.embedding("").weight.detach()
    unit = table / table.norm(dim=1, keepdim=True)
    cosines = unit @ unit[WANTED]
    other = float(torch.cat([cosines[:WANTED], cosines[WANTED + 1 :]]).max())
    encoder = torch.stack([torch.zeros(table.shape[1]), unit[WANTED]], 1)
    bar = float(table[WANTED].norm()) * (1 + other) / 2
    bias = torch.tensor([-1.0, -min(bar, float(table[WANTED].norm()) * 0.95)])
    d = Dictionary("relu", encoder, encoder.T.contiguous(), bias, torch.zeros(table.shape[1]))
    folder = tmp_path_factory.mktemp("dictionary")
    packed(d, model, Site("embed"), Site("embed")).write(folder)
    return model, str(folder)


def test_no_more_than_one_block_of_activations_is_held(planted, monkeypatch):
    model, folder = planted
    held, most = [], []

    def watched(*given):
        found = read(*given)
        held.append(weakref.ref(found.values[0]))
        most.append(sum(r() is not None for r in held))
        return found

    monkeypatch.setattr(feature_show, "read", watched)
    monkeypatch.setattr(activations, "CHARACTERS", 40)
    r = FeatureShowStudy(saved=folder, feature=1, n_draws=2, n_ascent=2)(model, texts())
    assert len(held) > 5
    assert max(most) <= 2
    whole = FeatureShowStudy(saved=folder, feature=1, n_draws=2, n_ascent=2)
    monkeypatch.undo()
    assert whole(model, texts()).values == r.values


def texts(seed=0):
    draw = np.random.default_rng(seed)
    rows = [tuple(int(i) for i in draw.integers(60, 250, 6) if i != WANTED) for _ in range(20)]
    return [Text(ids=(*r, WANTED)) if i < 3 else Text(ids=r) for i, r in enumerate(rows)]


def test_a_planted_feature_is_shown_by_its_token(planted):
    model, folder = planted
    r = FeatureShowStudy(saved=folder, feature=1, n_draws=4, n_ascent=80)(model, texts())
    token = model.tokenizer.decode([WANTED])
    strongest = [t[int(np.argmax(v))] for t, v in zip(r.texts, r.values)]
    assert strongest[:3] == [token] * 3
    assert all(token in w for w in r.wished)
    assert (r.soft > r.start).all()
    (score,) = r.trust.scores
    assert score.beats_chance
    assert r.hard.max() == pytest.approx(max(r.values[0]), rel=1e-4)


def test_without_steps_nothing_is_found(planted):
    """One step along the gradient is no optimisation: the nearest tokens are those it began from."""
    model, folder = planted
    r = FeatureShowStudy(saved=folder, feature=1, n_draws=4, n_ascent=1, rate=1e-6)(model, texts())
    assert np.allclose(r.hard, r.start)
    assert not r.trust.scores[0].beats_chance
    assert "do not beat random tokens" in r.lede


def test_letters(planted):
    model, folder = planted
    with pytest.raises(UsageError, match="counted from 0"):
        FeatureShowStudy(saved=folder, feature=2)(model, texts())
    with pytest.raises(InputError, match="never on"):
        FeatureShowStudy(saved=folder, feature=0)(model, texts())
