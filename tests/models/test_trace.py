"""The context of a trace: what it returns, what it refuses, and that it leaves the model as it was, whatever happens."""

import pytest
import torch
from torch.overrides import _get_current_function_mode_stack

from exegete.core.errors import SiteError, UsageError
from exegete.core.site import Site
from exegete.models.capture import run, trace
from exegete.models.edit import Add, Patch, Scale, Set
from exegete.models.family import bind, unwrap
from exegete.models.tiny import FAMILIES, tiny
from support.tinies import hook_count, logits_of, some_inputs, tiny_module


class Broken(RuntimeError):
    pass


def state_of(module):
    return {
        "hooks": hook_count(module),
        "modes": len(_get_current_function_mode_stack()),
        "training": [m.training for m in module.modules()],
        "grads": [p.grad is None for p in module.parameters()],
        "flags": [p.requires_grad for p in module.parameters()],
        "forwards": [m for m in module.modules() if "forward" in m.__dict__],
    }


def boom(_x):
    raise Broken


@pytest.mark.parametrize("family", FAMILIES)
def test_a_failure_anywhere_leaves_the_model_as_it_was(family):
    module = tiny_module(family)
    inputs = some_inputs(module)
    bound = bind(module)
    before, base = state_of(module), logits_of(module, inputs)
    last = bound.stacks[-1]
    inside = [Site(k, 1, stack=last) for k in ("q", "pattern", "z", "attn_add", "head_out", "resid_post")]
    for site in inside:  # a failing edit, in the midst of attention taps and reads everywhere
        with pytest.raises(Broken):
            run(module, inputs, read=bound.sites(), edit={site: boom})
    with pytest.raises(Broken):  # a failing reducer
        run(module, inputs, reduce={inside[1]: boom})
    handle = bound.at(bound.part_path(last, 1, "attn", "proj")).register_forward_hook(lambda *_: boom(None))
    with pytest.raises(Broken):  # a failing forward
        run(module, inputs, read=bound.sites())
    handle.remove()
    kept = run(module, inputs, read=bound.sites(), keep_graph=True)
    kept.logits.register_hook(boom)
    with pytest.raises(Broken):  # a failing backward
        torch.autograd.grad(kept.logits.sum(), kept[inside[0]])
    assert state_of(module) == before
    assert torch.equal(logits_of(module, inputs), base)


def test_an_interruption_inside_attention_leaves_no_mode_behind():
    module = tiny_module("gpt2")

    def interrupt(_x):
        raise KeyboardInterrupt

    before = state_of(module)
    with pytest.raises(KeyboardInterrupt):
        run(module, some_inputs(module), edit={"0.pattern": interrupt})
    assert state_of(module) == before


def test_a_trace_that_cannot_be_placed_places_nothing():
    module = tiny_module("gpt2")
    before = hook_count(module)
    with pytest.raises(SiteError, match="layers 0 to 1"):
        trace(module, read=["0.pattern", "9.pattern"])
    assert hook_count(module) == before


def test_training_mode_is_put_back():
    module, _ = tiny("gpt2")
    module.train()
    run(module, some_inputs(module), read=["0.z"])
    assert all(m.training for m in module.modules())


def test_reading_parts_reducers_and_aliases():
    module = tiny_module("gpt2")
    inputs = some_inputs(module)
    t = run(
        module,
        inputs,
        read=["0.pattern", "0.pattern[h2]", "blocks.1.hook_resid_post", "1.mlp_act[u5,p-1]"],
        reduce={"1.pattern": lambda p: float(p.max())},
    )
    assert torch.equal(t["0.pattern[h2]"], t["0.pattern"][:, 2])
    assert t["1.resid_post"].shape == (2, 6, 32)
    assert t["1.mlp_act[u5,p-1]"].shape == (2,)
    assert isinstance(t["1.pattern"], float)
    assert "1.pattern" in t and "0.z" not in t


def test_captures_are_copies_and_detached():
    module = tiny_module("falcon")  # adds in place
    inputs = some_inputs(module)
    t = run(module, inputs, read=["0.mlp_out", "0.attn_out", "0.resid_pre", "0.resid_post"])
    total = t["0.resid_pre"] + t["0.attn_out"] + t["0.mlp_out"]
    torch.testing.assert_close(total, t["0.resid_post"])
    assert not t["0.mlp_out"].requires_grad


def test_what_was_not_read_or_not_reached_gets_a_letter():
    module = tiny_module("gpt2")
    t = trace(module, read=["0.z"])
    with pytest.raises(SiteError, match=r"not among the sites.*\nIt read: 0\.z"):
        t["1.z"]
    with t, pytest.raises(SiteError, match="did not come past"):
        t["0.z"]
    with pytest.raises(UsageError, match="ran no pass"):
        _ = t.logits


def test_an_edit_that_never_found_its_place_is_not_passed_over():
    module = tiny_module("gpt2")
    with pytest.raises(UsageError, match=r"(?s)0\.resid_post\[p50\].*no such position"):
        run(module, some_inputs(module), edit={"0.resid_post[p50]": Set(0.0)})
    with pytest.raises(UsageError, match="never came past"), trace(module, edit={"0.z": Set(0.0)}):
        pass


def test_several_edits_of_one_site_follow_each_other():
    module = tiny_module("gpt2")
    inputs = some_inputs(module)
    site = "0.resid_post"
    x = run(module, inputs, read=[site])[site]
    t = run(
        module, inputs, read=[site], edit={site: [Add(1.0), Scale(2.0, rows=0)], "0.resid_post[p0]": Set(7.0)}
    )
    want = x + 1
    want[0] *= 2
    want[:, 0] = 7
    torch.testing.assert_close(t[site], want)


def test_edits_upstream_are_seen_downstream_within_one_module():
    """attn_out and attn_add are one tensor here: the edit of what is returned comes before the edit of what is added."""
    module = tiny_module("llama")
    inputs = some_inputs(module)
    t = run(module, inputs, read=["0.attn_add"], edit={"0.attn_add": Add(1.0), "0.attn_out": Set(2.0)})
    assert (t["0.attn_add"] == 3.0).all()
    granite = tiny_module("granite")
    t = run(granite, inputs, read=["0.attn_add"], edit={"0.attn_out": Set(2.0)})
    torch.testing.assert_close(
        t["0.attn_add"], torch.full((2, 6, 32), 2.0 * granite.config.residual_multiplier)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_patching_the_whole_residual_makes_the_other_text(family):
    """The residual at a layer is everything: set to that of another text, the logits are the other text's."""
    module = tiny_module(family)
    bound = bind(module)
    one, two = some_inputs(module, 0), some_inputs(module, 1)
    for kind in ("resid_pre", "resid_mid", "resid_post"):
        sites = [Site(kind, 1, stack=s) for s in bound.stacks]
        if not all(bound.has(s) for s in sites):
            continue
        other = run(module, two, read=sites)
        patched = run(module, one, edit={s: Patch(other[s]) for s in sites}).logits
        torch.testing.assert_close(
            patched, other.logits, atol=5e-5, rtol=1e-4, msg=lambda m, k=kind: f"{k} {m}"
        )


def test_embeddings_handed_in_are_the_same_site():
    module = tiny_module("gpt2")
    inputs = some_inputs(module)
    vectors = module.get_input_embeddings()(inputs["input_ids"]).detach()
    assert torch.equal(run(module, inputs, read=["embed"])["embed"], vectors)
    t = run(module, {"inputs_embeds": vectors}, read=["embed"], edit={"embed": Scale(0.5)})
    assert torch.equal(t["embed"], vectors * 0.5)
    assert torch.equal(t.logits, logits_of(module, {"inputs_embeds": vectors * 0.5}))


def test_frozen_parameters_still_give_gradients_at_sites():
    module, _ = tiny("bert")
    for p in module.parameters():
        p.requires_grad_(False)
    t = run(module, some_inputs(module), read=["0.pattern", "1.resid_post", "embed"], keep_graph=True)
    grads = torch.autograd.grad(t.logits.sum(), [t[s] for s in t.sites])
    assert all(g.abs().max() > 0 for g in grads)
    assert all(p.grad is None for p in module.parameters())


def test_traces_nest():
    module = tiny_module("llama")
    inputs = some_inputs(module)
    with trace(module, read=["0.pattern"]) as outer, trace(module, edit={"0.scores": Scale(0.1)}):
        out = logits_of(module, inputs)
    alone = run(module, inputs, read=["0.pattern"], edit={"0.scores": Scale(0.1)})
    torch.testing.assert_close(out, alone.logits, atol=1e-6, rtol=1e-5)
    assert outer["0.pattern"].shape == alone["0.pattern"].shape


def test_hugging_face_capture_hooks_do_not_get_in_the_way():
    """Asking for hidden states installs hooks for good; edits put afterwards still come first."""
    module, _ = tiny("gpt2")
    inputs = some_inputs(module)
    with torch.no_grad():
        module(**inputs, output_hidden_states=True)
    with torch.no_grad(), trace(module, edit={"0.resid_post": Set(0.0)}):
        out = module(**inputs, output_hidden_states=True)
    assert (out.hidden_states[1] == 0).all()


def test_anything_with_a_module_is_a_model():
    class Holder:
        module = tiny_module("gpt2")

    assert unwrap(Holder()) is Holder.module
    assert run(Holder(), some_inputs(Holder.module), read=["0.z"])["0.z"].shape == (2, 4, 6, 8)


def test_maps_do_not_keep_models_alive():
    import gc
    import weakref

    module, _ = tiny("gpt2")
    run(module, some_inputs(module), read=["0.pattern"])
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None
