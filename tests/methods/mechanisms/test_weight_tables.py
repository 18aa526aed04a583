"""Tables against the model itself: one layer of attention is its tables; what was trained in can be read off."""

import numpy as np
import pytest
import torch

from exegete.core.errors import SiteError
from exegete.methods.mechanisms.weight_tables import _ROWS, WeightTablesStudy, _bigrams
from exegete.models.capture import run
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model, still
from exegete.models.series import checkpoints
from exegete.models.tables import Tables
from exegete.models.tiny import tiny
from exegete.terrarium.repeats import WORDS, followers
from support.planted_induction import induction

IDS = torch.tensor([30, 41, 52, 41, 63, 30, 77])


def one_layer(positions: bool = False, layers: int = 1) -> Model:
    """A random GPT-2 of attention alone, with every bias and gain in place."""
    module, tokenizer = tiny("gpt2", layers=layers)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "mlp.c_proj" in name or ("wpe" in name and not positions):
                p.zero_()
    return load((module, tokenizer))


def predicted(model: Model) -> torch.Tensor:
    """Logits [tok, vocab] of a text from the tables and the output bias alone; nothing is run on the text."""
    with torch.no_grad(), still(model.module):
        tables = Tables(Lab(model))
        heads, width = tables.layers[0].n_heads, tables.layers[0].q.shape[-1]
        bias = model.module.get_parameter("transformer.h.0.attn.c_proj.bias")
        resid = tables.embedded(IDS) + tables.constant(0) + bias
        hidden = torch.ones(len(IDS), len(IDS)).triu(1).bool()
        for h in range(heads):
            scores = tables.qk(0, h, IDS, IDS) / width**0.5
            resid = resid + scores.masked_fill(hidden, -np.inf).softmax(-1) @ tables.carried(0, h, IDS)
        return tables.said(resid)


def actual(model: Model) -> torch.Tensor:
    with torch.no_grad():
        ids = Tables(Lab(model)).ids
        return run(model, {"input_ids": IDS[None]}).logits[0][:, ids]


def test_one_layer_of_attention_is_its_tables():
    model = one_layer()
    assert torch.allclose(predicted(model), actual(model), atol=2e-5)


@pytest.mark.parametrize(
    "model", [one_layer(positions=True), one_layer(layers=2)], ids=["places", "two layers"]
)
def test_and_more_than_that_is_not(model):
    """The companion: where the page says that tables are no longer exact, they are not."""
    assert not torch.allclose(predicted(model), actual(model), atol=0.1)


@pytest.mark.parametrize("family", ["llama", "gemma2", "cohere", "granite", "bloom"])
def test_bigrams_are_the_model_without_its_parts(family):
    """Every part silenced in truth: the logits are the direct path, scales, caps and multipliers included."""
    model = load(tiny(family))
    with torch.no_grad(), still(model.module):
        tables = Tables(Lab(model))
        for i in range(model.map.n_layers):
            for part in ("attn", "mlp"):
                block: torch.nn.Module = model.map.at(model.map.part_path("", i, part, "proj"))
                for p in block.parameters():
                    p.zero_()
        if family == "bloom":  # the norm of the embedding adds a bias to every token
            model.module.get_parameter("transformer.word_embeddings_layernorm.bias").zero_()
        for name, p in model.module.named_parameters():
            if family == "gemma2" and "post_" in name:
                p.zero_()
        truth = run(model, {"input_ids": IDS[None]}).logits[0][:, tables.ids]
        assert torch.allclose(tables.said(tables.embedded(IDS)), truth, atol=1e-4)


@pytest.fixture(scope="module")
def trained():
    return WeightTablesStudy(heads=("1.h2",))(load("terrarium/repeats"))


def test_the_favourite_followers_of_the_training_are_read_off_the_weights(trained):
    """The permutation that the texts were made with, word by word, and the model says the same."""
    table = {WORDS[i - 4]: WORDS[j - 4] for i, j in enumerate(followers()) if i >= 4}
    assert {(token, says) for token, says, *_ in trained.bigrams} == set(table.items())
    assert all(row[3] == row[1] for row in trained.bigrams)
    assert np.mean([row[4] for row in trained.bigrams]) == pytest.approx(0.3, abs=0.05)  # three in ten
    assert trained.trust.scores[0].beats_control


def test_an_induction_head_copies(trained):
    copies = trained.trust.scores[1]
    assert copies.value == 1
    assert copies.control < 0.3
    assert copies.beats_chance
    assert copies.beats_control
    assert all(row[0] == "1.h2" and row[5] == 0 for row in trained.skip_trigrams)
    assert all(row[3].startswith(row[1]) for row in trained.skip_trigrams)


def test_the_untrained_checkpoint_says_nothing():
    """The companion: the same study before training finds neither."""
    r = WeightTablesStudy(n_heads=8)(load(checkpoints("terrarium/repeats")[0][1]))
    table = {WORDS[i - 4]: WORDS[j - 4] for i, j in enumerate(followers()) if i >= 4}
    assert np.mean([table[row[0]] == row[1] for row in r.bigrams]) < 0.15
    assert not r.trust.scores[1].beats_control
    assert "does NOT copy" in r.lede


def test_the_planted_copying_head_and_the_planted_negative():
    model = induction()
    r = WeightTablesStudy(n_heads=1)(model)
    assert {row[0] for row in r.skip_trigrams} == {"1.h1"}
    assert r.copying[1, 1] == pytest.approx(1)
    assert r.trust.scores[1].value == 1
    with torch.no_grad():
        model.module.get_parameter("transformer.h.1.attn.c_proj.weight").mul_(-1)
    turned = WeightTablesStudy(n_heads=1)(model)
    assert turned.copying[1, 1] == pytest.approx(-1)
    assert turned.trust.scores[1].value == 0
    assert "does NOT copy" in turned.lede


def test_chunks_change_nothing(monkeypatch):
    """Large vocabularies are read in pieces."""
    study = WeightTablesStudy(n_tokens=20, n_top=5)
    whole = study(load(tiny("llama")))
    for module in ("vocabulary", "copying", "tables"):
        monkeypatch.setattr(f"exegete.models.{module}._CHUNK", 50)
    pieces = study(load(tiny("llama")))
    assert [r[:2] for r in whole.bigrams] == [r[:2] for r in pieces.bigrams]
    assert [r[:4] for r in whole.skip_trigrams] == [r[:4] for r in pieces.skip_trigrams]
    assert np.allclose(whole.copying, pieces.copying, atol=1e-6)


@pytest.mark.parametrize("name", ["2.h0", "0.h4", "h1", "0.1"])
def test_a_head_that_is_not_there_is_refused(name):
    with pytest.raises(SiteError, match="layer 0, head 3"):
        WeightTablesStudy(heads=(name,))(load("terrarium/repeats"))


def test_no_token_is_its_own_control():
    """Rows come in chunks; a chunk of one token would be held against itself."""
    lab = Lab(load(tiny("gpt2")))
    tables = Tables(lab)
    with torch.no_grad():
        rows, apart, other, _ = _bigrams(lab, tables, tables.ids[: _ROWS + 1])
    assert len(rows) == _ROWS + 1
    assert (np.abs(other - apart) > 1e-6).all()
