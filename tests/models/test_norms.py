"""Frozen norms: they reproduce the real norm, and the contributions they assign add up to it."""

import pytest
import torch
from torch import nn

from exegete.core.errors import ModelError
from exegete.core.site import Site
from exegete.models.capture import run
from exegete.models.family import bind
from exegete.models.norms import freeze
from exegete.models.tiny import FAMILIES
from support.tinies import some_inputs, tiny_module


def norms_and_inputs(module):
    """Every norm on the residual, with the activation it really met."""
    bound = bind(module)
    seen = run(module, some_inputs(module), read=bound.sites())
    for stack, tower in bound.towers.items():
        for i in range(len(tower.layers)):
            pre = seen[Site("resid_pre", i, stack=stack)]
            before = bound.part_path(stack, i, "attn", "norm")
            after = bound.part_path(stack, i, "attn", "after")
            if before:
                yield bound.at(before), pre
            if after:
                yield bound.at(after), pre + seen[Site("attn_add", i, stack=stack)]
        if tower.norm:
            yield bound.at(tower.norm), seen[Site("final_in", stack=stack)]


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_norms_are_the_real_ones_and_their_parts_add_up(family):
    module = tiny_module(family)
    checked = 0
    for norm, x in norms_and_inputs(module):
        frozen = freeze(norm, x)
        with torch.no_grad():
            real = norm(x)
        torch.testing.assert_close(frozen(x), real, atol=3e-6, rtol=3e-6)
        parts = torch.randn(5, *x.shape)
        parts[-1] += x - parts.sum(0)
        total = sum(frozen.linear(p) for p in parts) + frozen.bias
        torch.testing.assert_close(total, real, atol=3e-5, rtol=3e-5)
        direction = torch.randn(x.shape[-1])
        told = (x * frozen.transpose(direction)).sum(-1)
        torch.testing.assert_close(told, frozen.linear(x) @ direction, atol=3e-5, rtol=3e-5)
        checked += 1
    assert checked


@pytest.mark.parametrize(
    ("norm", "centred"),
    [
        (nn.LayerNorm(16), True),
        (nn.LayerNorm(16, elementwise_affine=False), True),
        (nn.LayerNorm(15, bias=False), True),
        (nn.RMSNorm(16), False),
        (nn.Identity(), False),
    ],
)
def test_the_kind_of_norm_is_found_by_probing(norm, centred):
    x = torch.randn(2, 3, 15 if getattr(norm, "normalized_shape", (16,)) == (15,) else 16)
    frozen = freeze(norm, x)
    assert frozen.centred is centred
    assert frozen.error < 1e-5


def test_what_is_not_a_norm_is_refused():
    with pytest.raises(ModelError, match="best fit misses"):
        freeze(nn.Sequential(nn.Linear(16, 16), nn.Tanh()), torch.randn(4, 16))
