"""Deep Taylor: relevance of one sign on every family, the z+ rule on a ReLU network written out, what it refuses to claim."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from exegete.core.target import Target
from exegete.methods.attribution.deep_taylor import DeepTaylor
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.tiny import FAMILIES, tiny
from support.toy_layer import ToyLayer


@pytest.mark.parametrize("family", FAMILIES)
def test_relevance_has_the_sign_of_the_logit_and_is_conserved(family):
    model = load(tiny(family))
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    result = DeepTaylor()(model, f"the cat{mask} sat", unit="token")
    assert [c.name for c in result.checks if not c.passed] == []
    assert "relevance has one sign" in {c.name for c in result.checks}
    assert (result.total * np.sign(result.value)).min() >= -1e-5 * abs(result.value)


class ReLUNet(ToyLayer):
    """Non-negative embeddings, two ReLU layers without biases: where the theory holds as published."""

    def forward(self, input_ids, attention_mask=None):
        h = torch.relu(self.gate(self.embed(input_ids)))
        return SimpleNamespace(logits=self.head(torch.relu(self.down(h))).sum(1))


def test_on_a_relu_network_it_is_the_published_z_plus_rule():
    module = ReLUNet()
    with torch.no_grad():
        module.embed.weight.abs_()
        for layer in (module.gate, module.down, module.head):
            layer.bias.zero_()
        module.head.weight.abs_()
    q = ask(Model(module, tiny("bert", "sequence")[1], "sequence", name="relu"), "the cat sat", "yes")
    x = q.embeddings().double().numpy()
    w = [m.weight.detach().double().numpy() for m in (module.gate, module.down, module.head)]
    h = np.maximum(x @ w[0].T, 0)
    g = np.maximum(h @ w[1].T, 0)
    r = g * w[2][1]
    for a, weight in ((h, w[1]), (x, w[0])):
        z = np.maximum(weight, 0)[None] * a[:, None]
        total = z.sum(-1, keepdims=True)
        r = (np.where(total > 0, z / np.where(total > 0, total, 1), 0) * r[..., None]).sum(1)
    units = q.units("token")
    found = DeepTaylor().attribute(q, units)
    assert np.allclose(found.total, r.sum(-1)[[u.tokens[0] for u in units]], rtol=1e-4)


def test_several_outputs_are_explained_by_their_logits():
    model = load(tiny("llama"))
    target = Target(kind="continuation", label=(20, 30, 40))
    result = DeepTaylor(per_output=True)(model, "the cat sat", target, unit="token", prefix=True)
    assert any("not of the logprob" in n for n in result.notes)
    assert np.allclose(result.scores.sum(0), result.total, atol=1e-4)
    for row in result.scores:
        assert (row >= -1e-5).all() or (row <= 1e-5).all()
    assert (result.scores[~result.available] == 0).all()


def test_a_contrast_is_signed_and_does_not_claim_otherwise():
    model = load(tiny("bert", "sequence"))
    result = DeepTaylor()(model, "the cat sat", Target(label="positive", against="negative"), unit="token")
    assert "relevance has one sign" not in {c.name for c in result.checks}
    assert all(c.passed for c in result.checks)
