"""The attention tap: one picture and one effect of an edit under every implementation, grouped keys, caches and padding."""

import pytest
import torch
from torch.overrides import _get_current_function_mode_stack

from exegete.core.errors import SiteError
from exegete.core.site import Site
from exegete.models.capture import run, trace
from exegete.models.edit import Ablate, Add, Scale, Set
from exegete.models.family import bind
from exegete.models.tiny import FAMILIES, tiny
from support.tinies import logits_of, padded_inputs, some_inputs, tiny_module

KINDS = ("q", "k", "v", "scores", "pattern", "z")
EAGER_ONLY = {"gpt_neo", "gptj", "bloom", "mpt", "deberta", "deberta_v2", "gemma2"}
BOTH = [f for f in FAMILIES if f not in EAGER_ONLY]
DECODERS = [
    f for f in FAMILIES if f not in ("bert", "roberta", "distilbert", "electra", "albert", "modernbert")
]
DECODERS = [f for f in DECODERS if not f.startswith("deberta")]


def attention_sites(module, layer=1):
    wanted = [(f"cross_{k}", "dec") for k in KINDS] + [(k, s) for s in bind(module).stacks for k in KINDS]
    sites = [Site(k, layer, stack=s) for k, s in wanted if s in bind(module).stacks]
    return [s for s in sites if bind(module).has(s)]


@pytest.mark.parametrize("family", BOTH)
def test_fused_and_eager_show_the_same_tensors(family):
    fused, eager = tiny_module(family, kernel="sdpa"), tiny_module(family, kernel="eager")
    for inputs in (some_inputs(fused), padded_inputs(fused)):
        sites = attention_sites(fused)
        one, two = run(fused, inputs, read=sites), run(eager, inputs, read=sites)
        for site in sites:
            if site.kind.endswith("scores"):
                hidden = one[site] == -torch.inf
                assert torch.equal(hidden, two[site] == -torch.inf), site
            torch.testing.assert_close(
                one[site], two[site], atol=5e-5, rtol=1e-4, msg=lambda m, s=site: f"{s} {m}"
            )


@pytest.mark.parametrize("family", BOTH)
def test_an_edit_does_the_same_under_fused_and_eager(family):
    fused, eager = tiny_module(family, kernel="sdpa"), tiny_module(family, kernel="eager")
    inputs = some_inputs(fused)
    base = logits_of(fused, inputs)
    for site in attention_sites(fused):
        for edit in (Scale(0.3, heads=(0,)), lambda x: x.roll(1, -1)):
            one, two = (run(m, inputs, edit={site: edit}).logits for m in (fused, eager))
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3, msg=lambda m, s=site: f"{s} {m}")
        assert (one - base).abs().max() > 1e-4, site


@pytest.mark.parametrize("family", FAMILIES)
def test_q_k_and_v_are_those_the_attention_multiplies(family):
    """Scores are affine in q k^T with one slope, and pattern @ v is z: both recomputed outside of the model."""
    module = tiny_module(family)
    stack = bind(module).stacks[-1]
    tower = bind(module).tower(stack)
    at = {k: Site(k, 1, stack=stack) for k in KINDS}
    seen = run(module, some_inputs(module), read=at.values())
    times = tower.n_heads // tower.n_kv_heads
    k, v = (seen[at[n]].repeat_interleave(times, 1) for n in ("k", "v"))
    torch.testing.assert_close(seen[at["pattern"]] @ v, seen[at["z"]], atol=2e-5, rtol=1e-4)
    # Scaling q scales the products in the scores, and nothing else in them.
    more = run(module, some_inputs(module), read=[at["scores"]], edit={at["q"]: Scale(2.0)})
    if family in (
        "gemma2",
        "deberta",
        "deberta_v2",
    ):  # capped, or with position terms in q: not a plain difference
        return
    change = more[at["scores"]] - seen[at["scores"]]
    products = seen[at["q"]] @ k.transpose(-1, -2)
    seen_there = torch.isfinite(change) & (products.abs() > 0.1)
    slopes = (change / products)[seen_there]
    torch.testing.assert_close(slopes, slopes.median().expand_as(slopes), atol=1e-3, rtol=1e-3)


def test_keys_and_values_are_per_key_value_head():
    module = tiny_module("llama")
    seen = run(module, some_inputs(module), read=["0.q", "0.k", "0.v"])
    assert (seen["0.q"].shape[1], seen["0.k"].shape[1], seen["0.v"].shape[1]) == (4, 2, 2)
    # One key-value head serves two query heads: editing it moves exactly these.
    for head in (0, 1):
        moved = run(module, some_inputs(module), read=["0.z"], edit={f"0.v[h{head}]": Ablate()})["0.z"]
        silent = (moved == 0).all(-1).all(-1).all(0)
        assert silent.tolist() == [head == 0, head == 0, head == 1, head == 1]


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("left", [False, True])
def test_patterns_while_decoding_are_the_rows_of_the_full_pattern(family, left):
    module = tiny_module(family)
    stack = bind(module).stacks[-1]
    site = Site("pattern", 1, stack=stack)
    inputs = padded_inputs(module, left=left) if left else some_inputs(module)
    inputs.pop("decoder_input_ids", None)
    with torch.no_grad(), trace(module, read=[site, Site("resid_post", 1, stack=stack)]) as t:
        out = module.generate(**inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False, use_cache=True)
    steps = t.calls(site)
    assert len(steps) == 3 and all(s.shape[2] == 1 for s in steps[1:])
    whole = {**inputs, "decoder_input_ids": out[:, :-1]} if stack == "dec" else {"input_ids": out[:, :-1]}
    if left:
        mask = torch.cat([inputs["attention_mask"], torch.ones(2, 2, dtype=torch.long)], 1)
        whole = (
            {**inputs, "decoder_input_ids": out[:, :-1]}
            if stack == "dec"
            else {**whole, "attention_mask": mask}
        )
        if stack != "dec" and "position_ids" in module.prepare_inputs_for_generation.__code__.co_varnames:
            whole["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
    full = run(module, whole, read=[site])[site]
    for i, step in enumerate(steps[1:], start=1):
        row = full[:, :, full.shape[2] - len(steps) + i, : step.shape[-1]]
        keep = (
            slice(None) if not left or family in ("t5", "bart") else slice(0, 1)
        )  # positions of padded rows may differ
        torch.testing.assert_close(step[keep, :, 0], row[keep], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("family", DECODERS)
def test_edits_reach_every_step_of_generation(family):
    module = tiny_module(family)
    inputs = some_inputs(module)
    inputs.pop("decoder_input_ids", None)
    bound = bind(module)
    site = Site("z", 1, stack=bound.stacks[-1])
    shape = []
    plain = module.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)

    def loud(x):
        shape.append(x.shape[2])
        return x + 3.0 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    with trace(module, edit={site: loud}):
        edited = module.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert len(shape) == 4
    assert torch.equal(plain, module.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False))
    assert edited.shape == plain.shape


def test_absolute_positions_while_decoding():
    module = tiny_module("gpt2")
    inputs = some_inputs(module)
    n = inputs["input_ids"].shape[1]
    with (
        torch.no_grad(),
        trace(module, read=[f"0.resid_pre[p{n}]", "0.resid_pre[p1]", "0.resid_pre[p-1]"]) as t,
    ):
        module.generate(**inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert len(t.calls("0.resid_pre[p1]")) == 1  # in the prompt
    assert len(t.calls("0.resid_pre[p-1]")) == 3  # the last of every call


def test_queries_that_see_nothing_have_rows_of_zeros():
    """Left padding: a padded query sees no key at all; the fused kernel gives it zeros and so does the picture."""
    module = tiny_module("llama", kernel="sdpa")
    ids = some_inputs(module)["input_ids"]
    mask = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]])
    seen = run(module, {"input_ids": ids, "attention_mask": mask}, read=["0.pattern", "0.scores"])
    pattern = seen["0.pattern"]
    assert torch.isfinite(pattern).all()
    torch.testing.assert_close(pattern[0].sum(-1), torch.ones(4, 6))
    torch.testing.assert_close(pattern[1, :, 2:].sum(-1), torch.ones(4, 4))
    assert (pattern[1, :, 2:, :2] == 0).all()


def test_an_edit_of_scores_cannot_unhide_a_position():
    module = tiny_module("gpt2")
    seen = run(module, some_inputs(module), read=["0.pattern"], edit={"0.scores": Set(0.0)})
    lower = torch.tril(torch.ones(6, 6)) / torch.arange(1, 7)[:, None]
    torch.testing.assert_close(seen["0.pattern"], lower.expand(2, 4, 6, 6))


def test_a_head_silenced_in_z_is_a_head_without_its_weights():
    """Slow twin: the same model with the head's columns of the output projection set to zero."""
    module = tiny_module("llama")
    inputs = some_inputs(module)
    gated = run(module, inputs, edit={"1.z[h2]": Ablate()}).logits
    twin, _ = tiny("llama")
    with torch.no_grad():
        twin.model.layers[1].self_attn.o_proj.weight[:, 16:24] = 0
    torch.testing.assert_close(gated, logits_of(twin, inputs), atol=1e-6, rtol=1e-5)


def test_unseen_kernels_are_refused_by_letter():
    module, _ = tiny("llama")
    module.config._attn_implementation = "flash_attention_2"
    with pytest.raises(SiteError, match=r"(?s)'flash_attention_2'.*Load it with attn_implementation='sdpa'"):
        trace(module, read=["0.pattern"])


def test_a_kernel_that_shows_nothing_is_noticed_and_the_mode_is_left(monkeypatch):
    """The model believes it runs sdpa, but the function behind the name shows neither product nor softmax."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    module, _ = tiny("llama")
    inputs = some_inputs(module)
    silent = lambda m, q, k, v, mask, **_: (q.transpose(1, 2) * 1.0, None)  # noqa: E731
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", silent)
    depth = len(_get_current_function_mode_stack())
    with pytest.raises(SiteError, match="shows neither"):
        run(module, inputs, read=["0.pattern"])
    assert len(_get_current_function_mode_stack()) == depth
    assert torch.isfinite(run(module, inputs, read=["0.z"])["0.z"]).all()


def test_edits_see_keys_of_position_terms_too():
    """DeBERTa multiplies q and k twice, with each other and with position embeddings: an edit must reach both products."""
    for family in ("deberta", "deberta_v2"):
        module = tiny_module(family)
        inputs = some_inputs(module)
        for kind in ("q", "k"):
            seen = run(module, inputs, read=["0.scores"], edit={f"0.{kind}": Set(0.0)})
            scores = seen["0.scores"]
            if kind == "k":  # no content in keys: what remains depends on the query and on the distance alone
                other = run(module, some_inputs(module, 1), read=["0.q"])["0.q"]
                patched = run(module, inputs, read=["0.scores"], edit={"0.k": Set(0.0), "0.q": Set(other)})
                assert not torch.allclose(scores, patched["0.scores"])
            both = run(module, inputs, read=["0.scores"], edit={"0.q": Set(0.0), "0.k": Set(0.0)})["0.scores"]
            assert (both == 0).all(), family


def test_adding_to_scores_shifts_the_pattern_as_softmax_says():
    module = tiny_module("gpt2")
    bump = torch.randn(2, 4, 6, 6)
    seen = run(module, some_inputs(module), read=["0.scores", "0.pattern"], edit={"0.scores": Add(bump)})
    plain = run(module, some_inputs(module), read=["0.scores"])
    torch.testing.assert_close(seen["0.scores"], plain["0.scores"] + bump)
    torch.testing.assert_close(seen["0.pattern"], (plain["0.scores"] + bump).softmax(-1))
