"""Layerwise surprisal on sentences of known strangeness, and against a slow twin."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from exegete.core.errors import InputError
from exegete.core.material import Minimal
from exegete.methods.probing.layer_surprisal import LayerSurprisal, chosen
from exegete.models.harvest import layer_sites
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

USUAL = ("mary", "gave", "a", "book", "to", "john")


@pytest.fixture(scope="module")
def model():
    return load(tiny("gpt2"))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Texts of the usual words in any order."""
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(USUAL, 6)) for _ in range(60)]
    path = tmp_path_factory.mktemp("texts") / "usual.txt"
    path.write_text("\n".join(lines))
    return str(path)


def pairs(n=16):
    """A usual sentence, and the same with a word that the usual texts never have."""
    rng, made = np.random.default_rng(1), []
    for i in range(n):
        words = [str(w) for w in rng.choice(USUAL, 6)]
        odd = [*words]
        odd[3] = "river"
        made.append(Minimal(good=" ".join(words), bad=" ".join(odd), phenomenon=f"kind {i % 2}"))
    return made


def test_what_never_was_read_is_strange(model, learnt):
    found = LayerSurprisal(corpus=learnt, n_corpus=60)(model, pairs())
    assert found.share[0] > 0.9
    assert (found.share > 0.6).all()
    assert found.trust.scores[0].beats_chance
    assert found.phenomena == ("kind 0", "kind 1")
    assert found.n.tolist() == [8, 8]
    assert found.sizes.shape == (2, len(found.layers))
    turned = [Minimal(good=p.bad, bad=p.good, phenomenon=p.phenomenon) for p in pairs()]
    other = LayerSurprisal(corpus=learnt, n_corpus=60)(model, turned)
    assert other.share == pytest.approx(1 - found.share)
    assert "NOT beat chance" in other.lede


def test_the_gap_is_what_a_slow_twin_finds(model, learnt):
    """One layer, text by text, all tokens kept, scipy's density."""
    found = LayerSurprisal(corpus=learnt, n_corpus=60, shrink=0.1)(model, pairs(4))
    lab, site = Lab(model), layer_sites(model)[2]
    with open(learnt) as lines:
        read = [_tokens(lab, line.strip(), site) for line in lines]
    x = np.concatenate(read)
    cov = np.cov(x.T, bias=True)
    cov = 0.9 * cov + 0.1 * np.trace(cov) / len(cov) * np.eye(len(cov))
    usual = multivariate_normal(x.mean(0), cov, allow_singular=True)
    for i, p in enumerate(pairs(4)):
        bad, good = (-usual.logpdf(_tokens(lab, t, site)).sum() for t in (p.bad, p.good))
        assert found.gap[i, 2] == pytest.approx(bad - good, rel=1e-3)


def _tokens(lab, text, site):
    reading = lab.read([text])
    with torch.no_grad():
        return lab.run(lab.passed(reading), read=[site])[site][0].double().numpy()


def test_a_sentence_that_does_not_fit_is_counted_as_failed_not_cut(model, learnt):
    long = " ".join(["mary"] * 600)
    found = LayerSurprisal(corpus=learnt, n_corpus=60)(
        model, [*pairs(8), Minimal(good=long, bad=f"{long} river")]
    )
    assert np.isnan(found.gap[-1]).all()
    assert found.trust.scores[0].n == 8 and found.trust.scores[0].n_failed == 1


def test_mixtures_are_chosen_on_texts_held_out(model, learnt):
    one, many = (LayerSurprisal(corpus=learnt, n_corpus=60, components=c)(model, pairs()) for c in (1, 4))
    assert many.trust.scores[0].beats_chance
    chosen_sizes = [int(n) for n in many.trust.notes[-1].split(": ")[1].rstrip(".").split(", ")]
    assert len(chosen_sizes) == len(many.layers)
    assert chosen_sizes[0] > 1  # a few words at a few places are no single cloud
    assert not np.allclose(one.gap[:, 0], many.gap[:, 0])
    budget = model.token_budget
    try:
        model.token_budget = 40
        again = LayerSurprisal(corpus=learnt, n_corpus=60, components=4)(model, pairs())
    finally:
        model.token_budget = budget
    assert again.gap == pytest.approx(many.gap, rel=1e-3, abs=1e-2)


def test_choosing_the_layer_is_free():
    """Of many layers that tell nothing, the best one looks good on the pairs that chose it, and not on others."""
    rng = np.random.default_rng(0)
    naive, fair = [], []
    for _ in range(200):
        right = rng.integers(0, 2, (40, 12)).astype(float)
        naive.append(right.mean(0).max())
        fair.append(chosen(right, np.arange(40) < 20).mean())
    assert np.mean(naive) > 0.6
    assert np.mean(fair) == pytest.approx(0.5, abs=0.02)


def test_too_few_pairs_get_a_letter(model, learnt):
    with pytest.raises(InputError):
        LayerSurprisal(corpus=learnt)(model, pairs(2))
