"""The matrices of heads are those the model computes with: on every family, against its own q, k, v and outputs."""

from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.site import Site
from exegete.models.capture import run
from exegete.models.circuits import KINDS, LayerCircuits, carried, circuits
from exegete.models.copying import seen_through
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model, still
from exegete.models.norms import freeze
from exegete.models.prove import probe_inputs
from exegete.models.tiny import families, tasks, tiny
from exegete.models.vocabulary import entering, final_scale, leaving, usual_ids

NORMED = ("qwen3", "gemma3", "olmo2")  # q and k pass a norm: known up to one positive factor a token
SANDWICH = ("gemma2", "gemma3", "olmo2")  # what attention adds passes a norm: the same
CAUSAL = [f for f in families() if "causal" in tasks(f)]


def model_of(family: str) -> Model:
    return load(tiny(family, next(t for t in ("causal", "masked", "seq2seq") if t in tasks(family))))


def seen(model: Model, kinds: tuple[str, ...], layer: int) -> dict[str, torch.Tensor]:
    at = {k: Site(k, layer=layer, stack=model.map.stacks[-1]) for k in kinds}
    t = run(model, probe_inputs(model.map, 1), read=at.values())
    return {k: t[s] for k, s in at.items()}


def found(model: Model) -> tuple[LayerCircuits, ...]:
    with torch.no_grad(), still(model.module):
        return circuits(Lab(model))


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=-1).min())


@pytest.mark.parametrize("family", families())
def test_q_k_v_of_the_first_token_and_what_heads_write(family):
    model = model_of(family)
    for i, layer in enumerate(found(model)):
        at = seen(model, ("attn_in", *KINDS, "z", "attn_add"), i)
        for kind in KINDS:
            mine = torch.einsum("bd,hde->bhe", at["attn_in"][:, 0], getattr(layer, kind)) + layer.bias[kind]
            theirs = at[kind][:, :, 0]
            if family in NORMED and kind != "v":
                assert (
                    cosine(
                        mine.flatten(1) if family == "olmo2" else mine,
                        theirs.flatten(1) if family == "olmo2" else theirs,
                    )
                    > 0.9999
                )
            else:
                assert torch.allclose(mine, theirs, atol=3e-6)
        wrote = torch.einsum("bhte,hed->btd", at["z"], layer.o)
        if family in SANDWICH:
            assert cosine(wrote, at["attn_add"]) > 0.9999
        else:
            rest = at["attn_add"] - wrote  # the bias, the same at every token
            assert float((rest - rest[:1, :1]).abs().max()) < 3e-6


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "olmo", "gemma2"])
def test_folded_matrices_read_the_residual_in_front_of_the_norm(family):
    model = model_of(family)
    layer = found(model)[1]
    at = seen(model, ("resid_pre", "v"), 1)
    path = model.map.part_path("", 1, "attn", "norm")
    scale = freeze(model.map.at(path), at["resid_pre"]).scale
    assert layer.norm is not None
    constant = torch.einsum("d,hde->he", layer.norm.bias, layer.v) + layer.bias["v"]
    folded = layer.read("v")[:: layer.n_heads // len(layer.v)]
    mine = torch.einsum("btd,hde->bhte", at["resid_pre"], folded) * scale[:, None] + constant[None, :, None]
    assert torch.allclose(mine, at["v"], atol=1e-5)
    unfolded = torch.einsum("btd,hde->bhte", at["resid_pre"], layer.v)
    assert not torch.allclose(unfolded, at["v"], atol=1e-2)


def test_grouped_queries_share_their_key_value_head():
    model = model_of("llama")
    layer = found(model)[0]
    assert (layer.n_heads, len(layer.k)) == (4, 2)
    assert [layer.kv_of(h) for h in range(4)] == [0, 0, 1, 1]
    attention: Any = model.module.get_submodule("model.layers.0.self_attn")
    own = attention.k_proj.weight.detach().T.unflatten(1, (2, -1)).movedim(1, 0)
    assert torch.allclose(layer.each("k"), own[[0, 0, 1, 1]], atol=1e-6)


def test_matrices_of_a_transposed_fused_projection():
    model = model_of("gpt2")
    weight = model.module.get_parameter("transformer.h.0.attn.c_attn.weight").detach()
    d = weight.shape[0]
    layer = found(model)[0]
    for i, kind in enumerate(KINDS):
        own = weight[:, i * d : (i + 1) * d].unflatten(1, (4, -1)).movedim(1, 0)
        assert torch.allclose(getattr(layer, kind), own, atol=1e-6)


def test_post_norm_families_are_passed_through_their_norms():
    """What layer 0 adds arrives at layer 1 through both norms of layer 0, their scales apart."""
    model = model_of("bert")
    block: Any = model.map.block("", 0)
    at = seen(model, ("resid_pre", "attn_add", "resid_mid", "mlp_add"), 0)
    one = freeze(block.attention.output.LayerNorm, (at["resid_pre"] + at["attn_add"])[0, :1])
    other = freeze(block.output.LayerNorm, (at["resid_mid"] + at["mlp_add"])[0, :1])
    x = torch.randn(3, model.map.d_model, generator=torch.Generator().manual_seed(0))
    by_hand = other.linear(one.linear(x)) / (other.scale * one.scale)
    assert torch.allclose(carried(model.map, x, 0, 1), by_hand, atol=1e-4)
    assert not torch.allclose(x, by_hand, atol=0.1)
    assert torch.equal(carried(model_of("gpt2").map, x, 0, 1), x)


@pytest.mark.parametrize("family", CAUSAL)
def test_both_ends_of_the_vocabulary(family):
    """Directions and constants give the model's own logits; embeddings its own first residual, less a share of the place."""
    model = model_of(family)
    ids = usual_ids(model)
    with torch.no_grad(), still(model.module):
        t = run(
            model,
            {"input_ids": ids[None, :6], "use_cache": False},
            read=["final_in", "logits", "0.resid_pre"],
        )
        x, out = t["final_in"][0], leaving(model.map, ids)
        mine = x @ out.direction.T * final_scale(model.map, x)[:, None] + out.constant
        rest = t["0.resid_pre"][0] - entering(model, ids)[:6]
        other = run(model, {"input_ids": ids[None, 6:12], "use_cache": False}, read=["0.resid_pre"])
        elsewhere = other["0.resid_pre"][0] - entering(model, ids)[6:12]
    cap = getattr(model.config, "final_logit_softcapping", None)
    mine = mine if cap is None else torch.tanh(mine / cap) * cap
    assert torch.allclose(mine, t["logits"][0][:, ids], atol=1e-5)
    assert torch.allclose(rest, elsewhere, atol=1e-5)  # the place alone


def test_an_embedding_is_seen_as_the_norm_shows_it():
    model = model_of("gptj")  # no positions in the residual
    layer, ids = found(model)[0], usual_ids(model)[:5]
    with torch.no_grad():
        entered = run(model, {"input_ids": ids[None], "use_cache": False}, read=["0.attn_in"])["0.attn_in"][0]
        assert layer.norm is not None
        mine = seen_through(layer, entering(model, ids)) + layer.norm.bias
    assert np.allclose(mine, entered, atol=1e-4)
