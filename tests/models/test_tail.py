"""The last layer cut to one row: that row is the whole pass's, on every decoder; the other rows are not, and the model is left alone."""

import pytest
import torch

from exegete.core.site import Site
from exegete.core.target import Target
from exegete.models.cells import Spot, base_run, plan
from exegete.models.family import bind
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tail import cuts, only_row
from exegete.models.tiny import _RECIPES, tiny
from support.tinies import hook_count, logits_of, some_inputs, tiny_module

DECODERS = [f for f, r in _RECIPES.items() if "causal" in r.tasks]


@pytest.mark.parametrize("family", DECODERS)
def test_the_row_is_right_and_only_that_row(family):
    module = tiny_module(family)
    bound, inputs = bind(module), some_inputs(module)
    if not cuts(bound, ""):
        assert family == "opt"  # works on flattened tokens
        return
    whole, hooks = logits_of(module, inputs), hook_count(module)
    with only_row(bound, "", 3):
        cut = logits_of(module, inputs)
    assert torch.allclose(cut[:, 3], whole[:, 3], atol=1e-5)
    assert (cut[:, 2] - whole[:, 2]).abs().max() > 1e-3
    assert hook_count(module) == hooks and torch.equal(logits_of(module, inputs), whole)


def test_cells_cut_the_last_layer_unless_it_is_patched_inside_or_several_rows_are_measured():
    lab = Lab(load(tiny("gpt2", layers=3)))
    text = "the small dog saw a bird"
    aim = lab.aim([text], Target(label="the", scale="logit"))
    sites = [
        Site("resid_pre", layer=2),
        Site("mlp_out", layer=1),
        Site("mlp_out", layer=2),
        Site("z", layer=2),
    ]
    base = base_run(lab, aim, "")
    assert [j.tail for s in sites for j in plan(base, [(Spot(s, positions=(3,)),)])] == [
        True,
        True,
        False,
        False,
    ]
    several = lab.aim([text], Target(kind="continuation", label="saw a bird", scale="logprob"))
    assert not any(j.tail for j in plan(base_run(lab, several, ""), [(Spot(sites[0], positions=(3,)),)]))
