"""A model whose layers lie on two devices says what it says on one.

The second device is pretended, the model is spread by accelerate's own hooks (`support.spread`). The independent truth is the same
model on the CPU alone. These tests run in a process of their own (`make test`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from device.test_other_device import apart
from exegete.core.method import method_of
from exegete.core.registry import METHODS
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.capture import run
from exegete.models.edit import Ablate, Add, Patch, ProjectOut, Scale, Set
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.prove import probe_inputs, prove
from exegete.models.resume import resume
from exegete.models.tiny import tiny
from support.light import light
from support.pretend_gpu import NAME, Held, Pretend, differentiates, ready
from support.studies import material

FAMILIES = ("llama", "bert", "t5")
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[None]:
    pytest.importorskip("accelerate")
    ready()
    if not differentiates():
        pytest.skip("a gradient was taken before the device was there: run tests/device by itself")
    with Pretend(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Held, "data_ptr", lambda t: t.raw.data_ptr(), raising=False
        )  # as weights on a GPU have an address
        patch.setattr(Held, "untyped_storage", lambda t: t.raw.untyped_storage(), raising=False)
        yield


@pytest.fixture(scope="module", params=FAMILIES)
def both(request) -> tuple[Model, Model]:
    """The model on the CPU, and on two devices."""
    from support.spread import spread

    here, (module, tokenizer) = load(tiny(request.param, layers=4)), tiny(request.param, layers=4)
    return here, load((spread(module), tokenizer))


def same(a: Any, b: Any) -> None:
    assert b.device.type == "cpu"  # everything that is read is brought home
    torch.testing.assert_close(b.detach(), a.detach(), **CLOSE)


def late(model: Model, kind: str) -> Site:
    """A site of the last layer, which lies on the second device."""
    return model.map.sites(kind)[-1]


def test_the_second_half_lies_elsewhere(both):
    from support.spread import there

    here, two = both
    assert there(two.module) and not there(here.module)
    last = two.map.tower().layers[-1].path
    assert next(two.map.at(last).parameters()).device.type == NAME
    assert (two.device.type, two.map.home) == ("cpu", torch.device("cpu"))


def test_the_map_is_proved_across_devices(both):
    proof = prove(both[1])
    assert proof.passed, proof.refused


def test_captures_and_gradients_are_equal(both):
    here, _ = both
    inputs = probe_inputs(here.map, 0)
    sites = [s for s in here.map.sites() if s.kind not in ("logits", "scores")]
    a, b = (run(m, inputs, sites, keep_graph=True) for m in both)
    same(a.logits, b.logits)
    grads = [
        torch.autograd.grad(t.logits.square().sum(), [t[s] for s in sites], allow_unused=True) for t in (a, b)
    ]
    for s, x, y in zip(sites, *grads):
        same(a[s], b[s])
        assert (x is None) == (y is None)
        if x is not None:
            assert float((x - y).abs().max()) <= 1e-4 * max(1.0, float(x.abs().max()))
    layers = [s for s in sites if s.kind == "resid_post" and s.stack == here.map.stacks[-1]]
    assert (
        torch.stack([b[s] for s in layers]).shape[0] == here.map.n_layers
    )  # layers of two devices, in one tensor


def test_edits_with_values_of_the_first_device_reach_the_second(both):
    here, _ = both
    inputs = probe_inputs(here.map, 0)
    resid, z, mid = late(here, "resid_pre"), late(here, "z"), late(here, "resid_mid")
    d = torch.ones(here.map.d_model)
    other = run(here, probe_inputs(here.map, 1), [resid])[resid]
    edits: list[dict[Site, Any]] = [
        {resid: Add(d)},
        {resid: Set(other)},
        {resid: Patch(other)},
        {resid: ProjectOut(d)},
        {resid: Ablate("mean")},
        {resid: lambda x: x + d},  # a function that holds a tensor of its own
        {z: Scale(torch.tensor(0.0), heads=1)},
        {mid: Add(d, positions=2)},
        {late(here, "pattern"): Ablate("zero", heads=0)},
        {late(here, "head_out"): Scale(2.0, heads=2)},
    ]
    bare = run(here, inputs).logits
    for edit in edits:
        a, b = (run(m, inputs, [resid], edit) for m in both)
        same(a.logits, b.logits)
        assert not torch.allclose(a.logits, bare)


def test_reducers_and_resumed_passes_are_equal(both):
    here, _ = both
    inputs = probe_inputs(here.map, 0)
    resid, weight = late(here, "resid_pre"), torch.arange(here.map.d_model).float()
    a, b = (run(m, inputs, reduce={resid: lambda x: x @ weight}) for m in both)
    same(a[resid], b[resid])
    kept = run(here, inputs, [resid])[resid]
    layer = int(resid.layer or 0)
    c, d = (resume(m, inputs, layer, kept + 1.0, stack=resid.stack) for m in both)
    same(c.logits, d.logits)
    first = run(here, inputs, [Site("resid_pre", layer=1, stack=resid.stack)])
    e, f = (resume(m, inputs, 1, next(iter(first._found.values()))[0] * 2, stack=resid.stack) for m in both)
    same(e.logits, f.logits)


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "occlusion"])
def test_attributions_are_equal(both, name):
    here, _ = both
    ids = probe_inputs(here.map, 0)["input_ids"][0].tolist()
    if here.task == "masked":
        ids[2] = here.tokenizer.mask_token_id
    method = method_of(name, {"n_steps": 8} if name == "integrated_gradients" else {})
    a, b = (explain(method, ask(m, Text(ids=tuple(ids)), None)) for m in both)
    scale = max(1.0, float(np.abs(a.total).max()))
    assert np.abs(a.total - b.total).max() <= 1e-4 * scale


STUDIES = (
    "activation_patching",
    "logit_lens",
    "direct_logit_attribution",
    "edge_attribution_patching",
    "tuned_lens",
)


@pytest.mark.parametrize("name", STUDIES)
def test_studies_are_equal(name):
    from support.spread import spread

    study = light(METHODS.get(name))
    here, (module, tokenizer) = load(tiny("gpt2", "causal")), tiny("gpt2", "causal")
    two = load((spread(module), tokenizer))
    found = [study(m, material(here, type(study))).model_dump() for m in (here, two)]
    assert two.map.home is not None
    assert apart(*found) == []


def test_the_fingerprint_does_not_know_where_weights_lie(both):
    assert both[0].fingerprint == both[1].fingerprint
