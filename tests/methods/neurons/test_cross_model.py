"""Neurons of several models: a permuted copy has them all, in the right places; shuffled words and untrained models have fewer."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.methods.neurons.cross_model_correlation import CrossModelCorrelation
from exegete.methods.neurons.examples import gather
from exegete.models.harvest import sites_at
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.randomise import Randomiser
from exegete.models.tiny import tiny
from exegete.terrarium.labelled import marked

WORDS = marked("word", 60)


def permuted(seed=0):
    """A tiny decoder and a copy whose feed-forward neurons stand in another order: the same function."""
    plain, tokenizer = tiny("gpt2")
    module: Any = copy.deepcopy(plain)
    orders = []
    with torch.no_grad():
        for block in module.transformer.h:
            turn = torch.randperm(
                block.mlp.c_proj.weight.shape[0], generator=torch.Generator().manual_seed(seed)
            )
            block.mlp.c_fc.weight.copy_(block.mlp.c_fc.weight[:, turn])
            block.mlp.c_fc.bias.copy_(block.mlp.c_fc.bias[turn])
            block.mlp.c_proj.weight.copy_(block.mlp.c_proj.weight[turn])
            orders.append(turn.numpy())
    return load((plain, tokenizer)), load((module, tokenizer)), orders


def test_a_permuted_copy_has_every_neuron_in_its_place():
    model, other, orders = permuted()
    lab, study = Lab(model), CrossModelCorrelation(site="mlp_act")
    ex = gather(lab, WORDS, sites_at(model, "mlp_act", ()))
    seen = study.seen(lab, WORDS, ex, (other,))
    for measure in ("maxcorr", "mincorr"):
        assert seen.measure(measure) == pytest.approx(1.0, abs=1e-4)
    from exegete.ops.cross_correlation import correlations

    width = len(orders[0])
    partner = correlations(seen.x, seen.tables[0]).argmax(1)
    for layer, turn in enumerate(orders):
        mine = partner[layer * width : (layer + 1) * width] - layer * width
        assert np.array_equal(turn[mine], np.arange(width))
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=t.shape) for t in seen.tables]
    assert seen.measure("maxcorr", noise).mean() < 0.3
    assert seen.measure("linreg", noise).mean() < 0.1


def test_the_least_is_of_the_model_that_lacks_it():
    model, other, _ = permuted()
    lab, study = Lab(model), CrossModelCorrelation(site="mlp_act")
    ex = gather(lab, WORDS, sites_at(model, "mlp_act", ()))
    seen = study.seen(lab, WORDS, ex, (other, Randomiser(3)(model)))
    assert seen.measure("maxcorr") == pytest.approx(1.0, abs=1e-4)
    assert seen.measure("mincorr").mean() < 0.95


def test_trained_relatives_share_more_than_untrained_ones():
    found = CrossModelCorrelation(layers=(1,), others=("terrarium/sentiment",), n_random=3)(
        load("terrarium/encoder"), marked("word", 120)
    )
    score = found.trust.scores[0]
    assert score.beats_chance
    assert (found.best >= found.least - 1e-12).all()
    assert (np.diff(found.best) <= 0).all()
    assert all(v.min() >= 0 and v.max() <= 1 + 1e-6 for v in (found.best, found.regression, found.svcca))
    assert found.others == ("terrarium/sentiment",)
    assert ("does not beat untrained" in found.lede) == (not score.beats_control)
    assert "of their own number" in found.lede  # the one was trained on from the other
    apart = CrossModelCorrelation(layers=(1,), others=("terrarium/decoder",), n_random=3)(
        load("terrarium/encoder"), marked("word", 60)
    )
    assert "of their own number" not in apart.lede


def test_too_few_words_are_refused():
    model, other, _ = permuted()
    lab = Lab(model)
    ex = gather(lab, WORDS, sites_at(model, "resid_post", ()))
    with pytest.raises(InputError, match="share"):
        CrossModelCorrelation().seen(lab, WORDS[:1], ex, (other,))
