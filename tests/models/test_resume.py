"""Resuming from a layer: bitwise the full pass, on every family, while the layers before are not run."""

import pytest
import torch

from exegete.core.errors import SiteError, UsageError
from exegete.core.site import Site
from exegete.models.capture import run
from exegete.models.edit import Ablate, Add
from exegete.models.family import bind
from exegete.models.resume import resume
from exegete.models.tiny import FAMILIES
from support.tinies import padded_inputs, some_inputs, tiny_module


def entrances(bound):
    return [Site("resid_pre", i, stack=s) for s in bound.stacks for i in range(3)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padded", [False, True])
def test_resumed_is_bitwise_the_full_pass(family, padded):
    module = tiny_module(family, layers=3)
    inputs = padded_inputs(module) if padded else some_inputs(module)
    sites = entrances(bind(module))
    full = run(module, inputs, read=sites)
    for site in sites:
        again = resume(module, inputs, site.layer, full[site], stack=site.stack)
        assert torch.equal(again.logits, full.logits), site


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_before_are_not_run_and_forwards_are_put_back(family):
    module = tiny_module(family, layers=3)
    bound = bind(module)
    stack = bound.stacks[-1]
    inputs = some_inputs(module)
    site = Site("resid_pre", 2, stack=stack)
    resid = run(module, inputs, read=[site])[site]
    ran = []
    projections = {bound.part_path(stack, i, "mlp", "out") for i in range(3)}
    handles = [bound.at(p).register_forward_hook(lambda *_, p=p: ran.append(p)) for p in projections]
    resume(module, inputs, 2, resid)
    for handle in handles:
        handle.remove()
    makes_biases = bool(bound.tower(stack).table.block.carry)  # T5's first block serves the later ones
    assert len(ran) == (2 if makes_biases else 1)
    assert not [m for m in module.modules() if "forward" in m.__dict__]


def test_reads_and_edits_after_the_entrance():
    module = tiny_module("gpt2", layers=3)
    inputs = some_inputs(module)
    full = run(module, inputs, read=["1.resid_pre", "2.pattern"], edit={"2.z[h1]": Ablate()})
    again = resume(module, inputs, 1, full["1.resid_pre"], read=["2.pattern"], edit={"2.z[h1]": Ablate()})
    assert torch.equal(again.logits, full.logits)
    assert torch.equal(again["2.pattern"], full["2.pattern"])
    moved = resume(module, inputs, 1, full["1.resid_pre"], edit={"1.resid_pre[p3]": Add(1.0)})
    twin = run(module, inputs, edit={"1.resid_pre[p3]": Add(1.0)})
    assert torch.equal(moved.logits, twin.logits)


def test_one_text_for_many_residuals():
    module = tiny_module("llama", layers=3)
    inputs = {k: v[:1] for k, v in some_inputs(module).items()}
    resid = run(module, inputs, read=["1.resid_pre"])["1.resid_pre"]
    many = torch.cat([resid, resid + 0.1, resid * 2])
    batched = resume(module, inputs, 1, many).logits
    for row, one in zip(batched, many):
        alone = resume(module, inputs, 1, one[None]).logits[0]
        torch.testing.assert_close(row, alone, atol=1e-5, rtol=1e-5)


def test_gradients_at_the_entrance():
    module = tiny_module("bert", layers=3)
    inputs = some_inputs(module)
    resid = run(module, inputs, read=["1.resid_pre"])["1.resid_pre"].requires_grad_(True)
    again = resume(module, inputs, 1, resid, keep_graph=True)
    (grad,) = torch.autograd.grad(again.logits.square().sum(), resid)
    kept = run(module, inputs, read=["1.resid_pre"], keep_graph=True)
    (twin,) = torch.autograd.grad(kept.logits.square().sum(), kept["1.resid_pre"])
    torch.testing.assert_close(grad, twin, atol=1e-4, rtol=1e-4)


def test_a_failure_puts_the_blocks_back():
    module = tiny_module("gpt2", layers=3)
    inputs = some_inputs(module)
    resid = run(module, inputs, read=["2.resid_pre"])["2.resid_pre"]

    def boom(_x):
        raise ValueError

    with pytest.raises(ValueError):
        resume(module, inputs, 2, resid, edit={"2.z": boom})
    assert not [m for m in module.modules() if "forward" in m.__dict__]


def test_what_does_not_fit_gets_a_letter():
    module = tiny_module("gpt2", layers=3)
    inputs = some_inputs(module)
    with pytest.raises(SiteError, match="layers 0 to 2"):
        resume(module, inputs, 3, torch.zeros(2, 6, 32))
    with pytest.raises(UsageError, match="5 residuals on inputs of 2 texts"):
        resume(module, inputs, 1, torch.zeros(5, 6, 32))
    with pytest.raises(UsageError, match="residuals of 4 tokens"):
        resume(module, inputs, 1, torch.zeros(2, 4, 32))
