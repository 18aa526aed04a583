"""A model with a layer on disk is the model: same numbers, same fingerprint, same gradients; what would be lost is refused."""

import importlib.util

import numpy as np
import pytest
import torch

from exegete.core.errors import ExegeteError, ModelError, UnknownName, UsageError
from exegete.core.result import Provenance
from exegete.core.results.edits import ModelEdit, WeightDelta
from exegete.models import device_map as maps
from exegete.models.capture import run
from exegete.models.edit import Scale
from exegete.models.load import load
from exegete.models.matrix import linear_map
from exegete.models.placement import laid_off, weight_of
from exegete.models.prove import probe_inputs, prove
from exegete.models.randomise import randomised
from exegete.models.rewrite import edited
from exegete.models.tiny import tiny

pytest.importorskip("accelerate")


def layer_on_disk(module, path):
    """A map with everything on the CPU but one module."""
    found = {}

    def place(name):
        if name == path:
            found[name] = "disk"
        elif path.startswith(f"{name}." if name else ""):
            at = module.get_submodule(name)
            found.update({f"{name}.{n}".lstrip("."): "cpu" for n, _ in at.named_parameters(recurse=False)})
            for child, _ in at.named_children():
                place(f"{name}.{child}".lstrip("."))
        else:
            found[name] = "cpu"

    place("")
    return found


@pytest.fixture(scope="module", params=["llama", "bert", "t5"])
def both(request, tmp_path_factory):
    """A saved model as it is, and with the second layer of its first stack on disk."""
    folder = tmp_path_factory.mktemp(request.param)
    for part in tiny(request.param, layers=3):
        part.save_pretrained(folder)
    here = load(folder)
    path = here.map.tower(here.map.stacks[0]).layers[1].path
    return here, load(folder, device_map=layer_on_disk(here.module, path)), path


def test_a_layer_on_disk_changes_no_number(both):
    here, there, path = both
    inputs = probe_inputs(here.map, 0)
    assert laid_off(there.module) and all(n.startswith(path) for n in laid_off(there.module))
    sites = [s for s in here.map.sites() if s.kind != "logits"]
    edit = {here.map.sites("z")[0]: Scale(0.5)}
    a, b = (run(m, inputs, sites, edit, keep_graph=True) for m in (here, there))
    assert torch.equal(a.logits, b.logits)
    assert all(torch.equal(a[s], b[s]) for s in sites)
    grads = [
        torch.autograd.grad(t.logits.square().sum(), [t[s] for s in sites], allow_unused=True) for t in (a, b)
    ]
    for x, y in zip(*grads):
        assert (x is None) == (y is None)
        assert x is None or float((x - y).abs().max()) <= 1e-5 * max(1.0, float(x.abs().max()))


def test_a_layer_on_disk_is_proved_and_keeps_the_fingerprint(both):
    here, there, _ = both
    assert here.fingerprint == there.fingerprint
    assert there.device.type == "cpu"
    assert prove(there).passed
    name = laid_off(there.module)[0]
    assert torch.equal(weight_of(there.module, name), here.module.get_parameter(name))
    part = here.map.part_path(here.map.stacks[0], 1, "attn", "proj")
    assert torch.allclose(linear_map(there.map.at(part))[0], linear_map(here.map.at(part))[0], atol=1e-6)


def test_what_writes_to_weights_on_disk_is_refused(both):
    _, there, _ = both
    name = next(n for n in laid_off(there.module) if there.module.get_parameter(n).ndim == 2)
    rows, columns = there.module.get_parameter(name).shape
    delta = WeightDelta(
        parameter=name, left=np.ones((rows, 1), np.float32), right=np.ones((1, columns), np.float32)
    )
    made = Provenance(fingerprint=there.fingerprint)
    edit = ModelEdit(title="t", lede="l", claim="c", deltas=(delta,), provenance=made)
    with pytest.raises(ModelError, match="would be lost"), edited(there, edit):
        pass
    with pytest.raises(ModelError, match="would be lost"):
        randomised(there)
    assert "weights" not in there.offers and "gradients" in there.offers


def test_one_device_by_a_map_is_one_device(tmp_path):
    for part in tiny("gpt2"):
        part.save_pretrained(tmp_path)
    here, there, auto = (
        load(tmp_path),
        load(tmp_path, device_map={"": "cpu"}),
        load(tmp_path, device_map="auto"),
    )
    assert here.fingerprint == there.fingerprint == auto.fingerprint
    assert there.map.home is None and there.offers == here.offers


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"device_map": "auto", "device": "cpu"}, UsageError),
        ({"device_map": "best"}, UnknownName),
        ({"device_map": {}}, UsageError),
        ({"device_map": {"": "no such place"}}, UsageError),
        ({"device_map": {"": "meta"}}, UsageError),
    ],
)
def test_maps_that_cannot_be_followed_are_refused(given, kind):
    with pytest.raises(kind):
        load("terrarium/sentiment", **given)


def test_a_model_in_memory_is_not_spread():
    with pytest.raises(UsageError, match="in memory"):
        load(tiny("gpt2"), device_map="auto")


def test_without_accelerate_the_letter_says_what_to_install(monkeypatch):
    monkeypatch.setattr(
        maps, "find_spec", lambda name: None if name == "accelerate" else importlib.util.find_spec(name)
    )
    with pytest.raises(ExegeteError, match=r"exegete\[gpu\]"):
        load("terrarium/sentiment", device_map="auto")
