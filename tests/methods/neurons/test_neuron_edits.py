"""Neurons taken away: a planted neuron decides the output and others do not; a resumed pass is the whole pass."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import UsageError
from exegete.core.site import Site
from exegete.methods.neurons.edit_study import only
from exegete.methods.neurons.examples import gather
from exegete.methods.neurons.neuron_ablation import NeuronAblationStudy
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium.labelled import marked

PLANTED = 5  # the only neuron of the last layer that writes anything
WORDS = marked("word", 40)


@pytest.fixture(scope="module")
def planted():
    """A tiny decoder in whose last feed-forward part one neuron alone reaches the output, and says much."""
    plain, tokenizer = tiny("gpt2")
    module: Any = copy.deepcopy(plain)
    with torch.no_grad():
        down = module.transformer.h[-1].mlp.c_proj
        up = module.transformer.h[-1].mlp.c_fc
        kept = torch.randn(down.weight.shape[1], generator=torch.Generator().manual_seed(0)) * 3
        down.weight.zero_()
        down.weight[PLANTED] = kept
        up.weight.mul_(8)
    return load((module, tokenizer))


def ablation(**fields) -> NeuronAblationStudy:
    return NeuronAblationStudy(**{"n_texts": 6, "n_random": 3, **fields})


def test_the_planted_neuron_moves_the_output_and_no_other_does(planted):
    layer = planted.map.n_layers - 1
    study = ablation(site="mlp_act", layers=(layer,), how="zero")
    setting = study.setting(Lab(planted), WORDS, study.layers, hide=True)
    base = setting.runs.base.loss
    moved = []
    for unit in range(len(setting.ex.places)):
        changes = study.changes(setting.ex, np.array([unit]))
        moved.append(np.abs(setting.runs.run(lambda _, c=changes: c).loss - base).max())
    assert moved[PLANTED] > 1e-2
    assert max(m for i, m in enumerate(moved) if i != PLANTED) < 1e-5
    only_it = study.model_copy(update={"how": "keep"}).changes(setting.ex, np.array([PLANTED]))
    assert np.abs(setting.runs.run(lambda _: only_it).loss - base).max() < 1e-5


@pytest.mark.parametrize("how", ["zero", "mean", "keep"])
def test_a_resumed_pass_is_the_whole_pass(how):
    """The loss of an edited text, by plain torch, from the start."""
    model = load("terrarium/encoder")
    study = ablation(layers=(1, 3), how=how)
    setting = study.setting(Lab(model), WORDS, study.layers, hide=True)
    columns = setting.found.order[:9]
    changes = study.changes(setting.ex, columns)
    fast = setting.runs.run(lambda _: changes)
    lab = Lab(model)
    for batch in setting.runs.batches:
        for r, text in enumerate(batch.texts):
            n = int(batch.inputs["attention_mask"][r].sum())
            one = {k: v[r : r + 1, :n] for k, v in batch.inputs.items()}
            trace = lab.run(one, [setting.runs.last], edit={s: [c] for s, c in changes.items()})
            at = int(batch.hidden[r])
            loss = -trace.logits[0, at].log_softmax(-1)[batch.ids[r, at]]
            assert fast.loss[text] == pytest.approx(float(loss), abs=2e-4)
            here = batch.row == r
            words = trace[setting.runs.last][0, batch.token[here]].numpy()
            assert np.allclose(fast.words[batch.word[here]], words, atol=2e-4)
    assert not np.allclose(fast.loss, setting.runs.base.loss)


def test_what_is_replaced_is_what_was_asked():
    model = load("terrarium/encoder")
    study = ablation(layers=(0, 1))
    setting = study.setting(Lab(model), WORDS, study.layers, hide=True)
    ex = setting.ex
    x = torch.randn(2, 3, 128)
    for how in ("zero", "mean", "keep"):
        changes = study.model_copy(update={"how": how}).changes(ex, np.array([3, 130]))
        first = changes[Site("resid_post", layer=0)](x)
        touched = (first != x).any(0).any(0).nonzero()[:, 0].tolist()
        assert touched == ([i for i in range(128) if i != 3] if how == "keep" else [3])
        wanted = 0.0 if how == "zero" else ex.mean[4 if how == "keep" else 3]
        assert float(first[0, 0, 4 if how == "keep" else 3]) == pytest.approx(wanted, abs=1e-5)
        assert (changes[Site("resid_post", layer=1)](x) != x).any()


def test_the_probe_reads_the_last_layer_at_the_words():
    """Without changes, words that hide no mask are read as they were when the probe was fitted, but for what a mask near them does."""
    model = load("terrarium/encoder")
    study = ablation()
    setting = study.setting(Lab(model), WORDS, (1,), hide=False)
    seen = setting.runs.base.words
    out = setting.out
    assert np.allclose((seen - out.mean) / out.scale, out.x[setting.rows], atol=1e-3)
    assert not setting.runs.masked.any()
    right = setting.says(seen) == out.y[setting.rows]
    assert right.mean() > 0.8


def test_only_takes_the_columns_of_its_sites():
    model = load("terrarium/encoder")
    sites = tuple(Site("resid_post", layer=i) for i in (0, 2))
    ex = gather(Lab(model), WORDS, sites)
    part = only(ex, sites[1:])
    assert part.places.name(4) == "2.resid_post[u4]"
    assert np.array_equal(part.x, ex.x[:, 128:])
    assert set(part.places.layer.tolist()) == {2}


def test_taking_away_what_carries_the_label_loses_it():
    """On the trained encoder, in one layer, more labels are lost than with any random order."""
    found = NeuronAblationStudy(layers=(1,), n_texts=40, n_random=3)(
        load("terrarium/encoder"), marked("word", 200)
    )
    loss, labels = found.trust.scores
    assert labels.beats_control
    assert labels.value > 1.5 * labels.chance
    assert loss.n == 40
    assert found.labels.ranked[-1] < found.labels.base
    assert "labels" not in found.lede.split("Random orders")[-1] or loss.beats_control is False


@pytest.mark.parametrize("task", ["causal", "sequence"])
def test_other_tasks_have_a_loss_of_their_own(task):
    name = {"causal": "terrarium/decoder", "sequence": "terrarium/sentiment"}[task]
    found = ablation(layers=(1,), ranking="variance")(load(name), WORDS)
    assert np.isfinite(found.loss.ranked).all()
    if task == "sequence":
        assert found.correct.base == 1.0


def test_letters():
    with pytest.raises(UsageError, match="ranking"):
        ablation(ranking="alphabet")
