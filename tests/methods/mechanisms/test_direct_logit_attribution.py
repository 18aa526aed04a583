"""Direct logit attribution: shares sum to the logit on every family, and equal what is computed by hand from raw weights."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import TargetError
from exegete.core.site import Site
from exegete.methods.mechanisms.direct_logit_attribution import DirectLogitAttribution
from exegete.models import norms
from exegete.models.capture import run
from exegete.models.decompose import decompose
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import FAMILIES, tiny
from exegete.terrarium import material

IDS = xg.Text(ids=(10, 20, 30, 40, 50))
LIGHT = DirectLogitAttribution(n_random=4, n_top=3)


def language_model(family):
    """The tiny language model of a family, and texts that it can be asked about."""
    task = next(t for t in ("causal", "masked", "seq2seq") if t in _tasks(family))
    model = load(tiny(family, task))
    blank = f" {model.tokenizer.mask_token}" if task == "masked" else ""
    return model, [f"the small dog{blank} saw a bird", f"a{blank} bird"]


def _tasks(family):
    from exegete.models.tiny import _RECIPES

    return _RECIPES[family].tasks


@pytest.mark.parametrize("family", FAMILIES)
def test_shares_sum_to_the_logits_that_the_bare_model_gives(family):
    model, texts = language_model(family)
    lab = Lab(model)
    with torch.no_grad():
        aim = lab.aim(texts, xg.Target(scale="logit"))
        ids = torch.tensor([[7, 8], [9, 9], [aim.rows[0][0].id, aim.rows[1][0].id]])
        passes = lab.meter.forwards
        s = decompose(lab, aim, ids, units=1, sources=1)
        assert lab.meter.forwards - passes == len(texts)
        for i in range(2):
            alone = aim.only(i)  # the bare model on each text, without padding
            bare = model.module(**alone.inputs).logits[0, alone.rows[0][0].position]
            told = s.readout.capped(s.total)[:, i]
            assert torch.allclose(told, bare[ids[:, i]], atol=1e-4), family
    assert s.gap < 1e-4
    assert s.sources is not None and torch.allclose(s.sources.sum(-1), s.heads[:1], atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "bert", "gemma2", "t5"])
def test_a_wrong_scale_of_a_norm_is_noticed(family, monkeypatch):
    model, texts = language_model(family)
    right = norms.freeze

    def wrong(norm, x):
        frozen = right(norm, x)
        return norms.FrozenNorm(frozen.gain, frozen.bias, frozen.centred, frozen.scale * 1.01, frozen.error)

    assert all(c.passed for c in LIGHT(model, texts).checks)
    monkeypatch.setattr("exegete.models.readout.freeze", wrong)
    assert not all(c.passed for c in LIGHT(model, texts).checks)


def test_half_precision_is_held_to_its_own_rounding(monkeypatch):
    module, tokenizer = tiny("llama")
    model = load((module.to(torch.bfloat16), tokenizer))
    r = LIGHT(model, IDS)
    assert all(c.passed for c in r.checks)
    assert max(c.value for c in r.checks) > 1e-4  # more than float32 would be allowed
    right = norms.freeze
    monkeypatch.setattr("exegete.models.readout.freeze", lambda n, x: right(n, 2 * x))
    assert not all(c.passed for c in LIGHT(model, IDS).checks)


def test_gpt2_by_hand_from_raw_weights():
    model = load(tiny("gpt2"))
    gpt = model.module.transformer
    r = DirectLogitAttribution(n_random=4, n_top=5)(model, IDS, xg.Target(label=60))
    with torch.no_grad():
        seen = run(
            model.module, {"input_ids": torch.tensor([IDS.ids])}, read=["final_in", "1.z", "1.mlp_act"]
        )
        x = seen["final_in"][0, -1]
        scale = ((x - x.mean()).square().mean() + gpt.ln_f.eps).rsqrt()
        row = model.module.lm_head.weight[60] * gpt.ln_f.weight
        u = (row - row.mean()) * scale
        w = gpt.h[1].attn.c_proj.weight.unflatten(0, (model.map.n_heads, -1))
        heads = torch.einsum("he,hed,d->h", seen["1.z"][0, :, -1], w, u)
        units = seen["1.mlp_act"][0, -1] * (gpt.h[1].mlp.c_proj.weight @ u)
        bias = gpt.ln_f.bias @ model.module.lm_head.weight[60]
        embedding = (gpt.wte.weight[50] + gpt.wpe.weight[4]) @ u
    assert np.allclose(r.heads[1], heads, atol=1e-5)
    assert r.head_bias == pytest.approx(float(bias), abs=1e-5)
    assert r.embedding == pytest.approx(float(embedding), abs=1e-5)
    for layer, unit, share in r.units:
        assert layer == 0 or share == pytest.approx(float(units[unit]), abs=1e-5)
    whole = r.heads.sum() + r.feed_forward.sum() + r.embedding + r.projection_bias + r.norm_bias + r.head_bias
    assert whole == pytest.approx(r.logit, abs=1e-4)


def test_a_share_is_what_is_lost_when_the_part_is_taken_from_the_last_residual_at_the_same_scale():
    model = load(tiny("llama"))  # grouped queries: 4 query heads on 2 key-value heads
    r = LIGHT(model, IDS, xg.Target(label=60))
    at = Site("final_norm")
    inputs = {"input_ids": torch.tensor([IDS.ids])}
    with torch.no_grad():
        seen = run(model.module, inputs, read=["final_in", "0.head_out", at])
        frozen = norms.freeze(model.map.at(model.map.tower().norm), seen["final_in"])
        base = run(model.module, inputs).logits[0, -1, 60]
        for head in range(model.map.n_heads):
            rest = seen["final_in"] - seen["0.head_out"][:, head]
            cut = run(model.module, inputs, edit={at: lambda _x, rest=rest: frozen(rest)}).logits[0, -1, 60]
            assert r.heads[0, head] == pytest.approx(float(base - cut), abs=1e-5)
    assert r.group == 2
    assert {p.sort for p in r.parts if ".h" in p.name} == {"head of kv0", "head of kv1"}


def test_a_head_that_writes_the_answer_is_named_and_nothing_else_is():
    module, tokenizer = tiny("gpt2")
    with torch.no_grad():
        for block in module.transformer.h:
            block.attn.c_proj.weight.zero_(), block.mlp.c_proj.weight.zero_()
        answer = module.lm_head.weight[60]
        rows = slice(
            module.config.n_embd // module.config.n_head, 2 * (module.config.n_embd // module.config.n_head)
        )
        module.transformer.h[1].attn.c_attn.bias[2 * module.config.n_embd :] = 1.0
        module.transformer.h[1].attn.c_attn.weight[:, 2 * module.config.n_embd :] = 0.0  # every value is one
        module.transformer.h[1].attn.c_proj.weight[rows] = answer
    r = DirectLogitAttribution(n_random=20)(load((module, tokenizer)), IDS, xg.Target(label=60))
    assert r.parts[0].name == "1.h1"
    assert r.trust.scores[0].beats_chance and r.trust.scores[0].beats_control
    others = np.delete(r.heads.ravel(), model_index(r, 1, 1))
    assert np.abs(others).max() < 1e-6


def model_index(r, layer, head):
    """Where a head stands in the flattened shares."""
    return layer * r.heads.shape[1] + head


def test_texts_are_averaged_padding_aside_and_a_foil_is_a_difference():
    model = xg.load("terrarium/decoder")
    pairs = material.pairs("causal", 4)
    target = xg.Target(label="hugo", against="emma")
    texts = [p.clean for p in pairs]
    together, alone = LIGHT(model, texts, target), [LIGHT(model, t, target) for t in texts]
    assert np.allclose(together.heads, np.mean([a.heads for a in alone], 0), atol=1e-4)
    one, foil = LIGHT(model, texts, xg.Target(label="hugo")), LIGHT(model, texts, xg.Target(label="emma"))
    assert together.logit == pytest.approx(one.logit - foil.logit, abs=1e-4)
    assert together.trust.scores[0].interval is not None and together.trust.scores[0].n == 4


def test_probabilities_and_continuations_are_refused_with_a_letter():
    model = xg.load("terrarium/decoder")
    with pytest.raises(TargetError, match="Only logits are sums"):
        LIGHT(model, "the dog", xg.Target(label="sees", scale="prob"))
    with pytest.raises(TargetError, match="several tokens"):
        LIGHT(model, "the dog", xg.Target(kind="continuation", label="sees the bird"))
