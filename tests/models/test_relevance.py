"""Relevance rules: conservation on every family, a slow twin in numpy, hand-computed examples, nothing left behind."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from exegete.core.target import Target
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.relevance import propagate, relevance, tolerance
from exegete.models.relevance_rules import Rules
from exegete.models.tiny import FAMILIES, tasks, tiny
from support.toy_layer import ToyLayer, numpy_relevance

RULES = [
    Rules(),
    Rules(attention="cp"),
    Rules("gamma", "cp"),
    Rules("z_plus", "cp"),
    Rules(epsilon=0.1),
]


def question(family, task=None, **options):
    model = load(tiny(family, task, **options))
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    return ask(model, f"the cat{mask} sat", None)


def toy_question(module, text="the cat sat"):
    return ask(Model(module, tiny("bert", "sequence")[1], "sequence", name="toy"), text, "yes")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_operation_of_every_family_is_crossed_by_a_rule(family):
    q = question(family)
    for rules in RULES:
        values, (found,) = propagate(q, rules)
        assert found.gap < 1e-5, rules
        assert np.array_equal(values, q.value()), "the forward is the model's own, bit for bit"
        assert found.covered == found.matrices > 0
        assert all(c.passed for c in found.checks(0.0, tolerance(q)))


@pytest.mark.parametrize(
    "family", [f for f in FAMILIES if "sequence" in tasks(f) and f not in ("t5", "bart")]
)
def test_classifiers_conserve_too(family):
    _, (found,) = propagate(question(family, "sequence"), Rules("z_plus", "cp"))
    assert found.gap < 1e-5
    assert (found.slots * np.sign(found.value)).min() >= -1e-6 * abs(found.value)


@pytest.mark.parametrize(
    "family", ["llama", "gemma", "mistral", "mixtral", "qwen3", "olmo2", "t5", "granite"]
)
def test_without_biases_tokens_receive_the_whole_output(family):
    q = question(family)
    with torch.no_grad():
        for name, p in q.model.module.named_parameters():
            if name.endswith("bias"):
                p.zero_()
    _, (found,) = propagate(ask(q.model, "the cat sat", None), Rules(attention="cp"))
    assert found.slots.sum() == pytest.approx(found.value, rel=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "bert", "opt", "bloom", "phi", "qwen2"])
@pytest.mark.parametrize("attention", ["cp", "attnlrp"])
def test_what_biases_absorb_is_their_gradient_times_themselves(family, attention):
    q = question(family)
    rules = Rules(attention=attention)
    _, (found,) = propagate(q, rules)
    module = q.model.module
    biases = [p for n, p in module.named_parameters() if n.endswith("bias")]
    for p in module.parameters():
        p.requires_grad_(False)
    for p in biases:
        p.requires_grad_(True)
    with relevance(module, rules):
        scalar = q.run(q.embeddings()[None].requires_grad_(True)).sum()
    grads = torch.autograd.grad(scalar, biases, allow_unused=True)
    share = sum(float((p.detach() * g).sum()) for p, g in zip(biases, grads) if g is not None)
    assert share == pytest.approx(found.absorbed["bias"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    "rules",
    [*RULES, Rules("gamma", "attnlrp", gamma=0.5), Rules(attention="cp", epsilon=0.3)],
    ids=lambda r: f"{r.linear}-{r.attention}-{r.epsilon}",
)
def test_gradients_carry_what_messages_carry(rules, fused):
    module = ToyLayer().double()
    module.fused = fused
    q = toy_question(module)
    _, (found,) = propagate(q, rules)
    twin = numpy_relevance(module, q.embeddings().numpy(), 1, rules)
    assert np.allclose(found.slots, twin.sum(-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", ["llama", "bert", "gpt2", "t5", "qwen3", "bart"])
def test_fused_and_eager_attention_agree(family):
    rules = Rules()
    (a,), (b,) = (
        propagate(question(family, overrides={"attn_implementation": kind}), rules)[1]
        for kind in ("eager", "sdpa")
    )
    assert np.allclose(a.slots, b.slots, atol=1e-4 * np.abs(a.slots).sum())


def test_two_tokens_one_head_by_hand():
    """Values 4 and 8 mixed by a pattern of 3/4 and 1/4: under cp the output 5 is 3 + 2, under attnlrp the values get half."""

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(num_labels=2, id2label={0: "no", 1: "yes"}, pad_token_id=0)
            self.embed = nn.Embedding(300, 2)
            self.w = nn.Linear(2, 2, bias=False)
            nn.init.eye_(self.w.weight)

        def get_input_embeddings(self):
            return self.embed

        def forward(self, input_ids, attention_mask=None):
            x = self.embed(input_ids)  # [1, 2, (key, value)]
            key, value = x[..., :1], self.w(x)[..., 1:]
            query = torch.ones_like(key)
            mixed = torch.softmax(query @ key.transpose(-1, -2), -1) @ value
            return SimpleNamespace(logits=torch.cat([torch.zeros(len(x), 1), mixed[:, 0]], -1))

    module = Head()
    model = Model(module, tiny("bert", "sequence")[1], "sequence", name="head")
    q = ask(model, "the", "yes")
    ids = q.ids
    with torch.no_grad():
        module.embed.weight.zero_()
        module.embed.weight[ids[0]] = torch.tensor([np.log(3.0), 4.0])
        module.embed.weight[ids[1]] = torch.tensor([0.0, 8.0])
        module.embed.weight[ids[2:]] = torch.tensor([-1e4, 5.0])  # never looked at
    q = ask(model, "the", "yes")
    _, (cp,) = propagate(q, Rules(attention="cp"))
    assert np.allclose(cp.slots[:2], [3.0, 2.0], atol=1e-5)
    assert cp.value == pytest.approx(5.0, abs=1e-5)
    _, (lrp,) = propagate(q, Rules())
    # values: half of 3 and 2; pattern: the other half (1.5, 1.0), of which keys get x_i (R_i - s_i sum R); query is constant
    keys = np.array([np.log(3.0), 0.0]) * (np.array([3.0, 2.0]) - np.array([0.75, 0.25]) * 5.0)
    assert np.allclose(lrp.slots[:2], np.array([1.5, 1.0]) + keys / 2, atol=1e-5)
    assert lrp.gap < 1e-6


def test_on_a_piecewise_linear_model_relevance_is_gradient_times_input():
    class Piecewise(ToyLayer):
        def forward(self, input_ids, attention_mask=None):
            h = torch.relu(self.gate(self.embed(input_ids)))
            return SimpleNamespace(logits=self.head(torch.relu(self.down(h)).sum(1)))

    q = toy_question(Piecewise())
    _, g = q.gradients(q.embeddings()[None])
    _, (found,) = propagate(q, Rules())
    assert np.allclose(found.slots, (g[0] * q.embeddings()).sum(-1).numpy(), atol=1e-6)


def test_an_additive_model_is_recovered_exactly():
    class Additive(ToyLayer):
        def forward(self, input_ids, attention_mask=None):
            return SimpleNamespace(logits=self.head(self.embed(input_ids).sum(1)))

    module = Additive()
    q = toy_question(module)
    planted = (q.embeddings() @ module.head.weight[1]).detach().numpy()
    for rules in (Rules(), Rules(attention="cp")):
        _, (found,) = propagate(q, rules)
        assert np.allclose(found.slots, planted, atol=1e-6)
        assert found.absorbed["bias"] == pytest.approx(module.head.bias[1].item(), abs=1e-6)


def test_operands_may_be_given_by_name():
    class Named(ToyLayer):
        def forward(self, input_ids, attention_mask=None):
            x = self.embed(input_ids)
            f = nn.functional
            h = f.layer_norm(input=x, normalized_shape=(6,), weight=self.norm.weight, bias=self.norm.bias)
            h = f.scaled_dot_product_attention(query=h, key=h, value=torch.add(input=h, other=1.0))
            h = torch.softmax(input=torch.bmm(input=h, mat2=h.transpose(1, 2)), dim=-1) @ h
            h = torch.cat(tensors=[h, torch.mul(input=h, other=h)], dim=1)
            return SimpleNamespace(
                logits=f.linear(input=h.mean(1), weight=self.head.weight, bias=self.head.bias)
            )

    q = toy_question(Named())
    for rules in RULES:
        values, (found,) = propagate(q, rules)
        assert found.gap < 1e-5
        assert np.array_equal(values, q.value())


def test_an_operation_without_a_rule_opens_the_gap():
    class Strange(ToyLayer):
        def forward(self, input_ids, attention_mask=None):
            return SimpleNamespace(logits=self.head(torch.sin(3 * self.embed(input_ids)).sum(1)))

    q = toy_question(Strange())
    _, (found,) = propagate(q, Rules())
    assert found.gap > 1e-2
    assert not all(c.passed for c in found.checks(0.0, tolerance(q)))


def test_weights_of_every_class_are_counted():
    q = question("gpt2")
    convs = sum(type(m).__name__ == "Conv1D" for m in q.model.module.modules())
    _, (found,) = propagate(q, Rules())
    assert convs == 8
    assert found.covered == found.matrices == convs + 1

    class Unused(ToyLayer):
        def __init__(self):
            super().__init__()
            self.spare = nn.Linear(3, 3)

    _, (found,) = propagate(toy_question(Unused()), Rules())
    assert found.missed == ("spare.weight",)
    assert f"{found.matrices - 1} of {found.matrices}" in found.notes()[1]


def test_nothing_is_left_behind_after_an_exception():
    q = question("llama")
    module = q.model.module
    before = q.reference()[0]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]

    def fail(*_):
        raise RuntimeError("planted")

    handle = module.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="planted"):
        propagate(q, Rules())
    handle.remove()
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()] == hooks
    assert torch.overrides._get_current_function_mode() is None
    assert torch.equal(q.reference()[0], before)


def test_log_probability_is_absorbed_by_the_scale_in_plain_sight():
    model = load(tiny("llama"))
    q = ask(model, "the cat sat", Target(scale="logprob"))
    _, (found,) = propagate(q, Rules(attention="cp"))
    entropy = ask(model, "the cat sat", Target(scale="entropy")).value()[0]
    assert found.absorbed["output scale"] == pytest.approx(-entropy, rel=1e-4)
    assert found.gap < 1e-5
