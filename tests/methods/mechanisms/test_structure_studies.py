"""The studies of structure on models in which the structure was planted, and on models without any."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError
from exegete.methods.mechanisms.branch_specialisation import DESCRIPTIONS, BranchSpecialisation
from exegete.methods.mechanisms.equivariance import Equivariance
from exegete.methods.mechanisms.weight_banding import WeightBanding
from exegete.models.load import load
from exegete.models.tiny import tiny

WORDS = (
    "the",
    "food",
    "was",
    "good",
    "john",
    "mary",
    "store",
    "river",
    "film",
    "story",
    "house",
    "old",
    "cat",
    "mat",
)


def sentences(n: int, seed: int = 0, length: int = 8) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, length)) for _ in range(n)]


def banded(along: str):
    module, tokenizer = tiny("gpt2")
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for block in module.transformer.h:
            for proj in (block.attn.c_proj, block.mlp.c_proj):
                size = proj.weight.shape[0 if along == "unit" else 1]
                gain = torch.exp(torch.randn(size, generator=draw))
                proj.weight.mul_(gain[:, None] if along == "unit" else gain)
    return load((module, tokenizer))


@pytest.mark.parametrize(("along", "column"), [("unit", 0), ("residual", 1)])
def test_planted_bands_are_found_and_placed(along, column):
    r = WeightBanding()(banded(along))
    assert r.trust.scores[0].beats_chance
    assert r.trust.scores[0].beats_control
    assert (r.detail[:, column] > 3 * r.detail[:, 1 - column]).all()


def test_random_weights_show_no_bands():
    r = WeightBanding(n_permutations=100)(load(tiny("gpt2")))
    assert not r.trust.scores[0].beats_chance
    assert "no bands" in r.lede


def test_sorted_heads_are_found():
    """Head 0 of each layer attends to position and says nothing of the word; the others only repeat the word."""
    module, tokenizer = tiny("gpt2", heads=2)
    d = module.config.n_embd
    with torch.no_grad():
        module.transformer.wpe.weight.zero_()
        module.transformer.wpe.weight[:, : d // 2] = torch.linspace(-3, 3, 256)[:, None] * 20
        module.transformer.wte.weight[:, : d // 2] = 0
        for block in module.transformer.h:
            block.ln_1 = torch.nn.Identity()
            block.attn.c_attn.weight.zero_(), block.attn.c_attn.bias.zero_()
            block.attn.c_attn.weight[:, 2 * d :] = torch.eye(
                d
            )  # v: the first head position, the second words
            block.attn.c_proj.weight.zero_(), block.mlp.c_proj.weight.zero_()
    r = BranchSpecialisation(n_permutations=50)(load((module, tokenizer)), sentences(12))
    assert r.trust.scores[0].beats_chance
    position = r.detail[::2, DESCRIPTIONS.index("position")]
    assert (position > 0.9).all()


def test_dealt_at_random_nothing_is_sorted():
    r = BranchSpecialisation(n_permutations=50)(load(tiny("gpt2", seed=3)), sentences(12))
    assert r.null_low.max() <= r.null_mean.max() <= r.null_high.max()
    assert r.value.shape == r.control.shape == (2,)


def test_a_model_that_ignores_positions_is_invariant_to_a_shift():
    """Without positions and attention the last token's state is the word's alone: matched with itself, correlation 1."""
    module, tokenizer = tiny("gpt2")
    with torch.no_grad():
        module.transformer.wpe.weight.zero_()
        for block in module.transformer.h:
            block.attn.c_proj.weight.zero_()
    texts = [" ".join([*WORDS[:3], w]) for w in WORDS]
    r = Equivariance(filler="the the ", n_permutations=40)(load((module, tokenizer)), texts)
    assert np.allclose(r.value, 1, atol=1e-5)
    assert np.allclose(r.detail, 1, atol=1e-5)
    assert r.trust.scores[0].beats_chance


def test_a_transformation_that_the_tokenizer_does_not_see_is_refused():
    model = xg.load("terrarium/decoder")
    with pytest.raises(InputError, match="alike"):
        Equivariance(transformation="capitals")(model, ["the food was good"] * 8)


def test_paraphrases_come_as_pairs():
    model = load(tiny("gpt2"))
    with pytest.raises(InputError, match="paraphrase"):
        Equivariance(transformation="paraphrase")(model, sentences(8))
    pairs = [xg.Text(text=a, pair=b) for a, b in zip(sentences(8), sentences(8, 1))]
    assert Equivariance(transformation="paraphrase", n_permutations=20)(model, pairs).value.shape == (2,)
