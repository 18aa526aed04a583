"""The feed-forward part as keys and values: against the projection's own output, and the delta of W against a changed matrix."""

import numpy as np
import pytest
import torch

from exegete.core.errors import SiteError
from exegete.core.result import Provenance
from exegete.core.results.edits import ModelEdit
from exegete.models.capture import run
from exegete.models.edit import Set
from exegete.models.feedforward import feed_forward, layers_with_units, sub_updates, units_of
from exegete.models.load import load
from exegete.models.prove import probe_inputs
from exegete.models.rewrite import edited
from exegete.models.tiny import tiny

# Conv1D, gated, sandwich norms, parallel parts, an own residual, an encoder, a decoder with cross-attention
KINDS = ("gpt2", "llama", "gemma2", "gpt_neox", "bloom", "bert", "t5", "opt", "phi3")


def model_of(family: str):
    return load(tiny(family))


def inputs_of(model):
    return probe_inputs(model.map, 0) | ({"use_cache": False} if model.task in ("causal", "seq2seq") else {})


@pytest.mark.parametrize("family", KINDS)
def test_the_part_writes_its_units_times_the_matrix(family):
    model = model_of(family)
    for layer in layers_with_units(model.map):
        part = feed_forward(model.map, layer)
        seen = run(model, inputs_of(model), read=[part.act, part.out])
        act, out = seen[part.act], seen[part.out]
        assert act.shape[-1] == units_of(part)
        assert torch.allclose(act @ part.weight + part.bias, out, atol=1e-5)
        summed = sub_updates(act, part.weight).sum(-2) + part.bias
        assert torch.allclose(summed, out, atol=1e-4)
        assert not torch.allclose(act.flip(-1) @ part.weight + part.bias, out, atol=1e-2)


@pytest.mark.parametrize("family", KINDS)
def test_the_output_site_is_where_a_write_counts(family):
    """Setting the output site to what it already holds changes nothing; setting it to zero does."""
    model = model_of(family)
    part = feed_forward(model.map, 0)
    inputs = inputs_of(model)
    plain = run(model, inputs, read=[part.out])
    same = run(model, inputs, edit={part.out: Set(plain[part.out])})
    none = run(model, inputs, edit={part.out: Set(0.0)})
    assert torch.allclose(plain.logits, same.logits, atol=1e-6)
    assert not torch.allclose(plain.logits, none.logits, atol=1e-3)


@pytest.mark.parametrize("family", KINDS)
def test_a_planted_key_and_value(family):
    """The change k^T v of W adds (act . k) v to the output, whichever way the parameter lies."""
    model = model_of(family)
    part = feed_forward(model.map, 1)
    draw = np.random.default_rng(0)
    key, value = draw.normal(size=(1, units_of(part))), draw.normal(size=(1, part.weight.shape[1]))
    made = Provenance(fingerprint=model.fingerprint)
    edit = ModelEdit(title="", lede="", claim="", provenance=made, deltas=(part.delta(key, value),))
    inputs = inputs_of(model)
    plain = run(model, inputs, read=[part.act, part.out])
    with edited(model, edit):
        new = run(model, inputs, read=[part.act, part.out])
    k, v = (torch.from_numpy(x[0]).float() for x in (key, value))
    expected = plain[part.out] + (plain[part.act] @ k)[..., None] * v
    assert torch.allclose(
        new[part.act], plain[part.act], atol=1e-6
    )  # what fires is not changed, only what is written
    assert torch.allclose(new[part.out], expected, atol=1e-3)
    assert not torch.allclose(new[part.out], plain[part.out], atol=1e-2)


def test_fused_experts_are_refused():
    model = model_of("mixtral")
    with pytest.raises(SiteError):
        feed_forward(model.map, 0)
    with pytest.raises(SiteError):
        layers_with_units(model.map)


def test_a_matrix_that_is_no_plain_parameter_is_refused():
    model = model_of("gpt2")
    part = feed_forward(model.map, 0)

    class Adapter(torch.nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base_layer = base

        def forward(self, x):
            return self.base_layer(x)

    wrapped = type(part)(part.layer, part.act, part.out, part.path, Adapter(part.module))
    assert torch.allclose(wrapped.weight, part.weight, atol=1e-5)  # it can be read, by probing
    with pytest.raises(SiteError, match="no plain matrix"):
        wrapped.delta(np.zeros((1, units_of(part))), np.zeros((1, 32)))
