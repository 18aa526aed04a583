"""Every site of every family: shapes, agreement with what Hugging Face reports, silence, and edits judged by gradients."""

import pytest
import torch

from exegete.core.errors import SiteError, UsageError
from exegete.core.site import Site
from exegete.models.capture import run, trace
from exegete.models.edit import Ablate, Add, Scale
from exegete.models.family import bind, family_tables
from exegete.models.tiny import FAMILIES, tasks
from support.tinies import logits_of, padded_inputs, some_inputs, tiny_module

SDPA_OUTSIDE = {"gpt_neo", "gptj", "bloom", "mpt", "deberta", "deberta_v2", "gemma2"}


def sizes(module, site, inputs):
    """What the glossary of axes means for this model and these inputs."""
    bound = bind(module)
    tower = bound.tower(site.stack if site.kind != "logits" else None)
    main = inputs["decoder_input_ids"] if site.stack == "dec" else inputs["input_ids"]
    cross = site.kind.startswith("cross_")
    keys = inputs["input_ids"].shape[1] if cross else main.shape[1]
    return {
        "batch": main.shape[0],
        "tok": main.shape[1],
        "key": keys,
        "head": tower.n_heads,
        "kvhead": tower.n_kv_heads,
        "d": tower.d_model,
        "dh": tower.d_head,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_captured_tensors_have_the_axes_of_their_site(family):
    module = tiny_module(family)
    inputs = some_inputs(module)
    seen = run(module, inputs, read=bind(module).sites())
    for site in seen.sites:
        known = sizes(module, site, inputs)
        for axis, size in zip(site.axes.split(), seen[site].shape, strict=True):
            if axis in known and site.kind != "embed" and site.kind != "logits":
                assert size == known[axis], (site, axis)


@pytest.mark.parametrize("kernel", ["", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_reading_everything_leaves_the_logits_bitwise_equal(family, kernel):
    module = tiny_module(family, kernel=kernel)
    for inputs in (some_inputs(module), padded_inputs(module)):
        seen = run(module, inputs, read=bind(module).sites())
        assert torch.equal(seen.logits, logits_of(module, inputs))
        assert torch.equal(seen["logits"], seen.logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_residuals_are_those_hugging_face_reports(family):
    module = tiny_module(family)
    inputs = some_inputs(module)
    with torch.no_grad():
        out = module(**inputs, output_hidden_states=True)
    stacks = bind(module).stacks
    for stack in stacks:
        theirs = {"": "hidden_states", "enc": "encoder_hidden_states", "dec": "decoder_hidden_states"}[stack]
        states = getattr(out, theirs)
        sites = bind(module).sites("resid_pre", stack)
        seen = run(module, inputs, read=sites)
        for site in sites:
            assert torch.equal(seen[site], states[site.layer]), site


@pytest.mark.parametrize("family", FAMILIES)
def test_patterns_are_those_of_the_eager_implementation(family):
    eager = tiny_module(family, kernel="eager")
    for inputs in (some_inputs(eager), padded_inputs(eager)):
        with torch.no_grad():
            out = eager(**inputs, output_attentions=True)
        for stack in bind(eager).stacks:
            theirs = {"": "attentions", "enc": "encoder_attentions", "dec": "decoder_attentions"}[stack]
            kinds = {"pattern": theirs} | ({"cross_pattern": "cross_attentions"} if stack == "dec" else {})
            for kind, name in kinds.items():
                sites = bind(eager).sites(kind, stack)
                seen = run(tiny_module(family), inputs, read=sites)
                for site in sites:
                    torch.testing.assert_close(seen[site], getattr(out, name)[site.layer], atol=2e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_that_changes_nothing_changes_no_bit(family):
    module = tiny_module(family)
    inputs = some_inputs(module)
    base = logits_of(module, inputs)
    for site in bind(module).sites():
        if site.layer in (None, 1):
            edited = run(module, inputs, edit={site: lambda x: x.clone()}).logits
            tight = 0 if site.kind.removeprefix("cross_") not in ("scores", "pattern") else 2e-5
            torch.testing.assert_close(edited, base, atol=tight, rtol=0, msg=lambda m, s=site: f"{s}: {m}")


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_at_sites_predict_real_edits(family):
    """d f / d site from the graph against the change of f under a small real edit: two independent roads through the code."""
    module = tiny_module(family, kernel="eager")
    inputs = some_inputs(module)
    sites = [s for s in bind(module).sites() if s.kind != "logits"]
    kept = run(module, inputs, read=sites, keep_graph=True)
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(kept.logits.shape, generator=draw)
    grads = dict(zip(sites, torch.autograd.grad((kept.logits * weight).sum(), [kept[s] for s in sites])))
    for i, (kind, stack) in enumerate(dict.fromkeys((s.kind, s.stack) for s in sites)):
        same = [s for s in sites if (s.kind, s.stack) == (kind, stack)]
        site, grad = same[i % len(same)], grads[same[i % len(same)]]
        step = 5e-3 * grad / grad.norm()
        up, down = (
            (run(module, inputs, edit={site: Add(sign * step)}).logits.double() * weight).sum()
            for sign in (1, -1)
        )
        told, real = float((grad * step).sum()), float(up - down) / 2
        assert abs(told - real) < 0.02 * told + 1e-4, (site, told, real)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_names_of_one_edit_agree(family):
    """Silencing one head in z, and taking its output away, leave the same logits."""
    module = tiny_module(family)
    inputs = some_inputs(module)
    stack = bind(module).stacks[-1]
    z, out = Site("z", 1, head=1, stack=stack), Site("head_out", 1, head=1, stack=stack)
    one = run(module, inputs, edit={z: Scale(0.0)}).logits
    two = run(module, inputs, edit={out: Ablate()}).logits
    torch.testing.assert_close(one, two, atol=5e-5, rtol=1e-4)
    assert not torch.allclose(one, logits_of(module, inputs), atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_task_has_its_sites(family):
    for task in tasks(family):
        module = tiny_module(family, task)
        inputs = some_inputs(module)
        seen = run(module, inputs, read=bind(module).sites())
        assert all(site in seen for site in seen.sites)
        assert torch.equal(seen["logits"], logits_of(module, inputs))


def test_added_and_returned_differ_where_the_architecture_says_so():
    """The two names are one tensor in most families, and must not be in these."""
    differ = set()
    for family in FAMILIES:
        module = tiny_module(family)
        bound = bind(module)
        first = f"{bound.stacks[-1]}.0." if bound.stacks[-1] else "0."
        seen = run(module, some_inputs(module), read=[first + k for k in ("attn_out", "attn_add")])
        if not torch.equal(seen[first + "attn_out"], seen[first + "attn_add"]):
            differ.add(family)
    post_norm = {"bert", "roberta", "electra", "deberta", "deberta_v2", "albert"}
    assert differ == post_norm | {"gemma2", "gemma3", "olmo2", "granite", "bloom"}


def test_parallel_families_have_no_residual_in_the_middle():
    for family in ("gptj", "gpt_neox", "falcon", "phi", "cohere"):
        with pytest.raises(SiteError, match="in parallel"):
            run(tiny_module(family), {}, read=["0.resid_mid"])


@pytest.mark.parametrize(
    ("family", "overrides"),
    [
        ("gpt_neox", {"use_parallel_residual": False}),
        ("stablelm", {"use_parallel_residual": True}),
        ("falcon", {"parallel_attn": False, "multi_query": False}),
        ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
        ("falcon", {"alibi": True}),
        ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
        ("albert", {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}),
        ("deberta_v2", {"share_att_key": False, "pos_att_type": ["c2p"]}),
        ("deberta", {"pos_att_type": []}),
        ("t5", {"feed_forward_proj": "relu", "tie_word_embeddings": False}),
        ("gemma3", {"final_logit_softcapping": 5.0}),
        ("stablelm", {"qk_layernorm": True}),
        ("phi", {"qk_layernorm": True}),
        ("bart", {"decoder_layers": 3, "decoder_attention_heads": 2}),
    ],
)
def test_configs_that_change_the_architecture_are_proved_too(family, overrides):
    from exegete.models.prove import prove
    from exegete.models.tiny import tiny

    module, _ = tiny(family, overrides=overrides)
    proof = prove(module)
    assert proof.passed, [r for r in proof.rows if not r.passed]


def test_a_stack_must_be_named_in_an_encoder_decoder():
    with pytest.raises(SiteError, match="'enc', 'dec'"):
        bind(tiny_module("t5")).port("0.resid_pre")
    with pytest.raises(SiteError, match="layers 0 to 1"):
        bind(tiny_module("gpt2")).port("7.resid_pre")
    with pytest.raises(SiteError, match="no final norm"):
        bind(tiny_module("bert")).port("final_norm")
    with pytest.raises(SiteError, match="routed"):
        bind(tiny_module("mixtral")).port("0.mlp_act")


def test_graph_of_a_part_is_refused():
    with pytest.raises(UsageError, match="only the whole"):
        trace(tiny_module("gpt2"), read=["0.pattern[h1]"], keep_graph=True)


def test_tables_claim_each_model_type_once():
    assert len({f.name for f in family_tables().values()}) == 33
