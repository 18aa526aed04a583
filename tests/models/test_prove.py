"""The proof passes for every family and task, and fails, at the right place, on models that compute something else."""

import pytest
import torch

from exegete.core.errors import ModelError, SiteError, UnsupportedModel
from exegete.models.capture import run
from exegete.models.family import bind, forget
from exegete.models.prove import CHECKS, prove
from exegete.models.tiny import FAMILIES, tasks, tiny
from support.data import shared_data
from support.tinies import hook_count, logits_of, some_inputs, tiny_module


def failed(proof):
    return {row.name for row in proof.rows if not row.passed}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_proved(family):
    for task in tasks(family):
        module = tiny_module(family, task)
        proof = prove(module)
        assert proof.passed and not proof.refused, [r for r in proof.rows if not r.passed]
        assert {r.name for r in proof.rows} == set(CHECKS)
        assert proof.established == "table" and proof.family == family


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "deberta_v2", "t5"])
def test_every_family_is_proved_in_eager_too(family):
    assert prove(tiny_module(family, kernel="eager")).passed


def test_the_table_is_plain_data():
    import json

    table = prove(tiny_module("gpt2")).table()
    assert json.loads(json.dumps(table)) == table
    assert [r["check"] for r in table] == sorted((r["check"] for r in table), key=CHECKS.index)


def test_a_proof_takes_under_a_second_and_few_passes():
    proof = prove(tiny_module("llama", layers=2))
    deep = prove(tiny("llama", layers=8)[0])
    assert deep.forwards == proof.forwards and deep.backwards == 1  # passes do not grow with depth


def scaled_block(module):
    block = module.model.layers[1]
    plain = block.forward
    block.forward = lambda *a, **k: plain(*a, **k) * 1.01


def head_ignored(module):
    """The output projection no longer hears one head, whatever its weights say."""
    proj = module.model.layers[0].self_attn.o_proj
    plain = proj.forward

    def forward(x):
        x = x.clone()
        x[..., :8] = 0
        return plain(x)

    proj.forward = forward


def pattern_bypassed(module):
    """One head's mix is replaced between the product and the output projection."""
    attn = module.model.layers[1].self_attn
    attn.o_proj.register_forward_pre_hook(
        lambda _m, args: (args[0] * torch.linspace(1, 2, 32),), prepend=True
    )


def logits_scaled(module):
    head = module.lm_head
    module.register_forward_hook(lambda _m, _a, out: type(out)(**{**dict(out), "logits": out.logits * 1.5}))
    return head


def extra_writer(module):
    """Something adds to the residual that no table knows: as a wrongly merged adapter would."""
    norm = module.model.layers[0].post_attention_layernorm
    block = module.model.layers[0]
    plain = block.forward
    block.forward = lambda *a, **k: plain(*a, **k) + 0.1
    return norm


@pytest.mark.parametrize(
    ("sabotage", "check", "site"),
    [
        (scaled_block, "residual", "1.mlp_add"),
        (extra_writer, "residual", "0.mlp_add"),
        (head_ignored, "heads", "0.head_out"),
        (pattern_bypassed, "pattern", "1.pattern"),
        (logits_scaled, "unembed", "final_norm"),
    ],
)
def test_a_model_that_computes_something_else_is_caught(sabotage, check, site):
    module, _ = tiny("llama")
    assert prove(module).passed
    sabotage(module)
    proof = prove(module)
    assert check in failed(proof)
    assert site in proof.refused
    with pytest.raises(SiteError, match="The proof refused it"):
        run(module, some_inputs(module), read=[site])
    assert run(module, some_inputs(module), read=["0.resid_pre"])["0.resid_pre"].shape == (2, 6, 32)
    assert site not in map(str, bind(module).sites())


@pytest.mark.parametrize(
    ("family", "entry", "value", "check"),
    [
        ("llama", "num_attention_heads", 2, "pattern"),
        ("llama", "num_key_value_heads", 4, "pattern"),
        (
            "granite",
            "logits_scaling",
            3.0,
            None,
        ),  # read live by the model itself: the config is what it computes
        ("gpt2", "n_head", 8, "pattern"),
    ],
)
def test_a_config_that_does_not_say_what_is_computed_is_caught(family, entry, value, check):
    module, _ = tiny(family)
    setattr(module.config, entry, value)
    proof = prove(module)
    assert (check in failed(proof)) if check else proof.passed


def test_multipliers_changed_after_the_build_are_caught():
    module, _ = tiny("granite")
    for layer in module.model.layers:
        plain = layer.self_attn.forward
        layer.self_attn.forward = lambda *a, _p=plain, **k: (_p(*a, **k)[0], None)
        layer.residual_multiplier = 0.6
    assert prove(module).passed
    module.model.layers[0].register_forward_hook(lambda _m, _a, out: out * 0.6)
    assert "residual" in failed(prove(module))


def test_a_refusal_is_forgotten_with_a_new_proof():
    module, _ = tiny("llama")
    handle = module.model.layers[0].register_forward_hook(lambda _m, _a, out: out + 1.0)
    assert prove(module).refused
    handle.remove()
    assert not prove(module).refused
    run(module, some_inputs(module), read=["0.mlp_add"])


def test_nan_is_refused_by_letter():
    module, _ = tiny("gpt2")
    with torch.no_grad():
        module.transformer.ln_f.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"(?s)NaN or infinity.*checkpoint"):
        prove(module)


def test_a_table_that_does_not_fit_names_the_module():
    module, _ = tiny("gpt2")
    del module.transformer.ln_f
    forget(module)
    with pytest.raises(UnsupportedModel, match=r"transformer\.ln_f"):
        bind(module)


def test_a_proof_leaves_logits_gradients_and_random_state():
    module, _ = tiny("gpt2")
    inputs = some_inputs(module)
    base, state = logits_of(module, inputs), torch.get_rng_state()
    prove(module)
    assert torch.equal(logits_of(module, inputs), base)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in module.parameters())
    assert hook_count(module) == 0


def test_half_precision_is_proved_at_its_own_tolerance():
    module, _ = tiny("llama")
    assert prove(module.to(torch.bfloat16)).passed


def test_a_bare_base_model_has_sites_but_no_logits():
    module = tiny("gpt2")[0].transformer
    proof = prove(module)
    assert proof.passed and not bind(module).has_logits


class Adapter(torch.nn.Module):
    """A low-rank adapter around a matrix, as adapter libraries put it."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.down = torch.nn.Linear(base_layer.in_features, 2, bias=False)
        self.up = torch.nn.Linear(2, base_layer.out_features, bias=False)

    def forward(self, x):
        return self.base_layer(x) + self.up(self.down(x))


def test_adapters_around_matrices_are_proved_too():
    """The effective weights of the output projection are probed when its class is unknown."""
    module, _ = tiny("llama")
    run(module, some_inputs(module), read=["0.z"])  # the map is known before the model is changed
    for layer in module.model.layers:
        layer.self_attn.o_proj = Adapter(layer.self_attn.o_proj)
        layer.mlp.down_proj = Adapter(layer.mlp.down_proj)
    assert prove(module.eval()).passed


@pytest.mark.parametrize(
    ("name", "head"), [("stories260K", "ForCausalLM"), ("minilm_sst2", "ForSequenceClassification")]
)
def test_real_checkpoints_are_proved(name, head):
    import transformers

    path = shared_data(f"models/{name}")
    module = getattr(transformers, f"AutoModel{head}").from_pretrained(path, dtype=torch.float32)
    proof = prove(module.eval())
    assert proof.passed and proof.seconds < 20
    assert max(row.error for row in proof.rows if row.name != "reach") < 5e-6
