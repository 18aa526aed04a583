"""Layer removal and self-repair against models edited by hand, and a model whose repair is planted."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.methods.mechanisms.layer_removal import LayerRemovalStudy, swapped
from exegete.methods.mechanisms.self_repair import SelfRepairStudy
from exegete.models.load import load
from exegete.models.tiny import tiny

IDS = xg.Text(ids=(10, 20, 30, 40, 50))


def without(family: str, layer: int) -> torch.Tensor:
    """Logits of a model from whose list of blocks one is truly taken out."""
    module, _ = tiny(family, layers=3)
    blocks = module.transformer.h if family == "gpt2" else module.model.layers
    del blocks[layer]
    module.config.num_hidden_layers = 2
    with torch.no_grad():
        return module(torch.tensor([IDS.ids]), use_cache=False).logits[0, -1].log_softmax(-1)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_a_skipped_layer_is_a_model_without_it(family):
    model = load(tiny(family, layers=3))
    r = LayerRemovalStudy(swap=False)(model, IDS)
    with torch.no_grad():
        base = model.module(torch.tensor([IDS.ids])).logits[0, -1].log_softmax(-1)
    for layer in range(3):
        if family == "gemma2" and layer < 2:
            continue  # its blocks know their own number: taking one out moves the windows of those behind it
        truth = (base.exp() * (base - without(family, layer))).sum()
        assert r.kl_removed[layer, 0] == pytest.approx(float(truth), rel=1e-3, abs=1e-5)


def test_a_swap_is_a_model_with_two_blocks_exchanged():
    model = load(tiny("gpt2", layers=3))
    other = tiny("gpt2", layers=3)[0]
    other.transformer.h[0], other.transformer.h[1] = other.transformer.h[1], other.transformer.h[0]
    with torch.no_grad():
        truth = other(torch.tensor([IDS.ids]), use_cache=False).logits
        with swapped(model.map, 0):
            assert torch.allclose(
                model.module(torch.tensor([IDS.ids]), use_cache=False).logits, truth, atol=1e-6
            )
    assert "forward" not in model.module.transformer.h[0].__dict__


def test_a_layer_that_adds_nothing_is_not_missed():
    module, tokenizer = tiny("gpt2", layers=3)
    with torch.no_grad():
        for part in (module.transformer.h[1].attn.c_proj, module.transformer.h[1].mlp.c_proj):
            part.weight.zero_(), part.bias.zero_()
    r = LayerRemovalStudy()(load((module, tokenizer)), IDS)
    assert r.kl_removed[1].max() < 1e-6
    assert r.kept[1] == 1
    assert min(r.kl_removed[0].min(), r.kl_removed[2].min()) > 1e-3


def test_total_effects_are_real_ablations():
    model = load(tiny("llama", layers=2))
    r = SelfRepairStudy()(model, IDS, xg.Target(kind="next", label=(60,)))
    module = model.module
    with torch.no_grad():
        base = module(torch.tensor([IDS.ids])).logits[0, -1, 60]
        proj, kept = module.model.layers[1].self_attn.o_proj, []
        handle = proj.register_forward_pre_hook(lambda _m, a: kept.append(a[0].clone()))
        module(torch.tensor([IDS.ids]))
        handle.remove()
        width = kept[0].shape[-1] // 4
        for head in range(4):
            cut = slice(head * width, (head + 1) * width)

            def ablate(_m, args, cut=cut):
                x = args[0].clone()
                x[..., cut] = kept[0][..., cut].mean(1, keepdim=True)
                return (x,)

            handle = proj.register_forward_pre_hook(ablate)
            gone = module(torch.tensor([IDS.ids])).logits[0, -1, 60]
            handle.remove()
            assert r.total[1, head] == pytest.approx(float(base - gone), abs=1e-5)


def test_without_later_parts_direct_is_total():
    """The last layer's feed-forward part silenced: nothing is left that could react to its heads."""
    module, tokenizer = tiny("gpt2", layers=2)
    with torch.no_grad():
        module.transformer.h[1].mlp.c_proj.weight.zero_()
    r = SelfRepairStudy()(load((module, tokenizer)), IDS)
    assert np.allclose(r.direct[1], r.total[1], atol=1e-5)
    assert not np.allclose(r.direct[0], r.total[0], atol=1e-3)  # the equality can fail


def test_a_planted_repair_is_found():
    """Layer 1 undoes most of what it reads: its feed-forward part writes -0.9 times the residual, so that 90 % of any change
    is lost on the way; direct effects are made up for."""
    module, tokenizer = tiny("gpt2", layers=2)
    block = module.transformer.h[1]

    class Undo(torch.nn.Module):
        def forward(self, x):
            return -0.9 * x

    with torch.no_grad():
        block.attn.c_proj.weight.zero_(), block.attn.c_proj.bias.zero_()
        module.transformer.h[0].mlp.c_proj.weight.zero_()
    block.ln_2 = torch.nn.Identity()
    block.mlp.forward = Undo().forward
    # the final norm would stretch what is left: take it out too
    module.transformer.ln_f = torch.nn.Identity()
    r = SelfRepairStudy()(load((module, tokenizer)), [IDS, xg.Text(ids=(11, 22, 33, 44, 55))])
    assert np.allclose(r.repaired[0], 0.9 * r.direct[0], atol=1e-4)
    assert r.trust.scores[0].value > 0


def test_post_norm_models_are_refused():
    model = load(tiny("bart", "seq2seq"))
    with pytest.raises(xg.ExegeteError, match="norm after every part"):
        SelfRepairStudy()(model, IDS)
