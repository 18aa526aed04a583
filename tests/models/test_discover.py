"""Discovery: known families without their tables, a stranger written here, real strangers, and honest refusals."""

import pytest
import torch
import transformers as hf
from torch import nn

from exegete.core.errors import UnsupportedModel
from exegete.models import family as family_module
from exegete.models.capture import run
from exegete.models.discover import discover
from exegete.models.edit import Ablate
from exegete.models.family import bind, bind_table, table_for
from exegete.models.prove import prove
from exegete.models.tiny import FAMILIES, tiny
from support.tinies import hook_count, logits_of, some_inputs, tiny_module

UNDISCOVERED = {"albert": "list of equal blocks", "t5": "encoder-decoder", "bart": "encoder-decoder"}
FOUND = [f for f in FAMILIES if f not in UNDISCOVERED]


@pytest.fixture
def no_tables(monkeypatch):
    monkeypatch.setattr(family_module, "family_tables", dict)


@pytest.mark.parametrize("family", FOUND)
def test_known_families_are_found_again_without_their_tables(family, no_tables):
    module, _ = tiny(family)
    found = bind(module)
    assert found.established == "discovered"
    proof = prove(module)
    assert proof.passed, [r for r in proof.rows if not r.passed]
    assert (found.head is None) == (bind(module).head is None)
    assert hook_count(module) == 0


@pytest.mark.parametrize("family", FOUND)
def test_what_is_found_is_what_the_table_says(family):
    """Sites exist alike, and what they hold is bit by bit the same, wherever the word means one thing."""
    module = tiny_module(family)
    told = bind_table(module, table_for(module), "table")
    inputs = some_inputs(module)
    by_table = run(module, inputs, read=told.sites())
    stranger, _ = tiny(family)
    family_module.remember(stranger, discover(stranger), "discovered")
    found = bind(stranger)
    assert set(found.sites()) == set(told.sites())
    seen = run(stranger, inputs, read=found.sites())
    loose = (
        {"attn_out", "mlp_out"} if family in ("bloom", "mpt") else {"mlp_out"}
    )  # which module is "the part"
    if family == "deberta_v2":  # without a table q and k are those of the product, scaled
        loose |= {"q", "k"}
    for site in told.sites():
        if site.kind not in loose:
            torch.testing.assert_close(seen[site], by_table[site], atol=1e-6, rtol=1e-6, msg=str(site))


@pytest.mark.parametrize(("family", "words"), UNDISCOVERED.items())
def test_what_cannot_be_found_is_named(family, words, no_tables):
    module, _ = tiny(family)
    with pytest.raises(UnsupportedModel, match=rf"(?s)no table.*could not find.*{words}.*Write a table"):
        bind(module)
    assert hook_count(module) == 0


class StrangeConfig(hf.PretrainedConfig):
    model_type = "strangeling"

    def __init__(self, vocab_size=60, mouths=4, floors=3, size=32, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size, self.mouths, self.floors, self.size = vocab_size, mouths, floors, size
        self.loudness = 0.7


class Looking(nn.Module):
    """Attention in one function call, with its own names; fused and oddly packed."""

    def __init__(self, config):
        super().__init__()
        self.mouths = config.mouths
        self.all_in = nn.Linear(config.size, 3 * config.size)
        self.back = nn.Linear(config.size, config.size)

    def forward(self, view):
        b, t, d = view.shape
        parts = self.all_in(view).view(b, t, self.mouths, -1, 3).permute(4, 0, 2, 1, 3)
        query, key, value = parts.unbind(0)
        logits = query @ key.mT / (d / self.mouths) ** 0.5
        logits = logits.masked_fill(torch.ones(t, t).triu(1).bool(), float("-inf"))
        seen = torch.softmax(logits, dim=-1) @ value
        return self.back(seen.transpose(1, 2).reshape(b, t, d))


class Floor(nn.Module):
    """Sandwiched norms: the part's output is normed again before it is added."""

    def __init__(self, config):
        super().__init__()
        self.before_look, self.after_look = nn.LayerNorm(config.size), nn.RMSNorm(config.size)
        self.look = Looking(config)
        self.before_think = nn.LayerNorm(config.size)
        self.think = nn.Sequential(nn.Linear(config.size, 64), nn.SiLU(), nn.Linear(64, config.size))

    def forward(self, stream, note=None):
        stream = stream + self.after_look(self.look(self.before_look(stream)))
        return stream + self.think(self.before_think(stream)), note


class StrangeModel(hf.PreTrainedModel):
    config_class = StrangeConfig

    def __init__(self, config, bypass=False):
        super().__init__(config)
        self.letters = nn.Embedding(config.vocab_size, config.size)
        self.tower = nn.ModuleList(Floor(config) for _ in range(config.floors))
        self.roof = nn.LayerNorm(config.size)
        self.voice = nn.Linear(config.size, config.vocab_size)
        self.bypass = bypass
        self.post_init()

    def get_input_embeddings(self):
        return self.letters

    def get_output_embeddings(self):
        return self.voice

    def forward(self, input_ids=None, **_):
        stream = self.letters(input_ids)
        for floor in self.tower:
            stream = floor(stream)[0]
        logits = self.voice(self.roof(stream)) * self.config.loudness
        if self.bypass:
            logits = logits + self.voice(self.letters(input_ids))
        return hf.modeling_outputs.CausalLMOutput(logits=logits)


def stranger(**options):
    torch.manual_seed(0)
    module = StrangeModel(StrangeConfig(), **options)
    for p in module.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    return module.eval()


def test_a_stranger_is_discovered_and_proved():
    module = stranger()
    bound = bind(module)
    assert (bound.established, bound.n_layers, bound.n_heads, bound.d_head) == ("discovered", 3, 4, 8)
    block = bound.tower().table.block
    assert (block.attn.add, block.attn.proj, block.mlp.norm) == ("after_look", "look.back", "before_think")
    assert bound.head is not None and bound.head.times == "loudness"
    assert prove(module).passed
    ids = {"input_ids": torch.randint(60, (2, 6))}
    twin = stranger()
    with torch.no_grad():
        twin.tower[1].look.back.weight[:, 8:16] = 0
    ablated = run(module, ids, edit={"1.z[h1]": Ablate()}).logits
    torch.testing.assert_close(ablated, logits_of(twin, ids), atol=1e-5, rtol=1e-5)


def test_a_stranger_with_a_bypass_is_mapped_only_as_far_as_it_is_true():
    """Logits that do not come from the last residual alone: the unembedding is refused, the layers stay."""
    module = stranger(bypass=True)
    bound = bind(module)
    refused = {s.kind for s in bound.refused}
    assert "final_in" in refused and "resid_post" not in refused
    run(module, {"input_ids": torch.randint(60, (1, 4))}, read=["2.pattern"])


def test_a_model_without_attention_is_refused():
    config = hf.MambaConfig(num_hidden_layers=2, hidden_size=32, vocab_size=60, state_size=4)
    module = hf.MambaForCausalLM(config).eval()
    with pytest.raises(UnsupportedModel, match="could not find the attention"):
        bind(module)


SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 90,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    ("config", "more"),
    [
        ("Starcoder2Config", {"num_key_value_heads": 2}),
        ("Glm4Config", {"num_key_value_heads": 2, "head_dim": 8}),
        ("OlmoeConfig", {"num_key_value_heads": 2, "num_experts": 4, "num_experts_per_tok": 2}),
        ("NemotronConfig", {"num_key_value_heads": 2}),
        ("Olmo3Config", {"num_key_value_heads": 2}),
        ("BioGptConfig", {}),
        ("PersimmonConfig", {}),
    ],
)
def test_real_strangers_are_proved(config, more):
    module = hf.AutoModelForCausalLM.from_config(getattr(hf, config)(**SMALL, **more)).eval()
    for p in module.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    assert bind(module).established == "discovered"
    assert prove(module).passed
