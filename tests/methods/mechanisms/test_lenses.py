"""Lenses against the model itself: what a layer would say, a trained lens that recovers a planted shift, and saved lenses."""

import sys

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError, ModelError, UsageError
from exegete.methods.mechanisms.lensing import read_layers
from exegete.methods.mechanisms.logit_lens import LogitLens
from exegete.methods.mechanisms.translators import Training, train
from exegete.methods.mechanisms.tuned_lens import TunedLens
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny

TEXT = "the small dog saw a bird"


def shifted(size: float = 4.0):
    """A model whose last layer adds one fixed vector, and nothing else: its earlier layers are read right after that shift."""
    module, tokenizer = tiny("gpt2")
    block = module.transformer.h[1]
    shift = torch.randn(module.config.n_embd, generator=torch.Generator().manual_seed(3)) * size
    with torch.no_grad():
        for part in (block.attn.c_proj, block.mlp.c_proj):
            part.weight.zero_(), part.bias.zero_()
        block.mlp.c_proj.bias.copy_(shift)
    return load((module, tokenizer)), shift


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert", "t5"])
def test_the_last_row_is_the_model_and_an_earlier_row_is_the_model_without_its_later_layers(family):
    task = {"bert": "masked", "t5": "seq2seq"}.get(family, "causal")
    model = load(tiny(family, task))
    text = TEXT if task != "masked" else f"the small {model.tokenizer.mask_token} saw"
    r = LogitLens()(model, text)
    assert r.kl[-1].max() < 1e-5 and (r.rank[-1] == 0).all()
    if family in ("gpt2", "llama"):
        module = tiny(family)[0]
        blocks = module.transformer.h if family == "gpt2" else module.model.layers
        del blocks[1]
        module.config.num_hidden_layers = 1
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            short = module(ids, use_cache=False).logits[0].softmax(-1)
        assert np.allclose(r.probability[1], short.max(-1).values, atol=1e-5)


def test_a_planted_shift_is_learned_and_untrained_translators_do_not_know_it():
    model, shift = shifted()
    r = TunedLens(n_steps=150, batch=8, rate=0.05, n_held_out=8)(model, TEXT)
    assert r.held_out_plain[1] > 0.5
    assert r.held_out[1] < 0.02 * r.held_out_plain[1]
    learned = r.bias[1] - r.bias[1].mean()
    planted = (shift - shift.mean()).numpy()
    assert np.corrcoef(learned, planted)[0, 1] > 0.8
    assert r.trust.scores[0].beats_chance and r.trust.scores[0].beats_control
    idle = TunedLens(n_steps=1, batch=2, rate=1e-9, n_held_out=8)(model, TEXT)
    assert idle.held_out[1] > 0.9 * r.held_out_plain[1]
    plain = LogitLens()(model, TEXT)
    assert np.allclose(idle.kl, plain.kl, atol=1e-4)


def test_on_the_terrarium_every_layer_comes_closer_to_the_output():
    r = TunedLens(n_steps=40, batch=8)(
        xg.load("terrarium/decoder"), "the staff were wonderful but the food was"
    )
    assert (r.held_out[:-1] < 0.7 * r.held_out_plain[:-1]).all()
    assert "closer to" in r.lede
    assert any("corpus=FILE" in n for n in r.trust.notes)


def test_a_saved_lens_reads_other_texts_and_refuses_other_models(tmp_path):
    model, _ = shifted()
    made = TunedLens(n_steps=5, batch=4, n_held_out=4)(model, TEXT)
    path = made.save(tmp_path / "lens.exg")
    again = TunedLens(lens=path, n_held_out=4)(model, TEXT)
    assert np.array_equal(again.kl, made.kl) and np.array_equal(again.weight, made.weight)
    assert again.cost.forwards < 10 < made.cost.forwards
    with pytest.raises(ModelError, match="fingerprint"):
        TunedLens(lens=path)(load(tiny("gpt2")), TEXT)
    assert again.trust.scores[0].n == 4 and not again.trust.notes
    other = LogitLens()(model, TEXT).save(tmp_path / "other.exg")
    with pytest.raises(UsageError, match="holds a LensGrid"):
        TunedLens(lens=other)(model, TEXT)


def test_a_saved_lens_is_not_scored_on_texts_it_was_trained_on(tmp_path):
    """The other way round the same file has its training texts first; so does another seed of the same sentences."""
    model, _ = shifted()
    lines = [f"the dog saw {i} birds" for i in range(12)]
    there, back = tmp_path / "there.txt", tmp_path / "back.txt"
    there.write_text("\n".join(lines)), back.write_text("\n".join(lines[::-1]))
    made = TunedLens(corpus=str(there), n_steps=3, batch=4, n_held_out=4)(model, TEXT)
    path = made.save(tmp_path / "lens.exg")
    again = TunedLens(lens=path, corpus=str(there), n_held_out=6)(model, TEXT)
    assert again.trust.scores[0].n == 4  # the other two were trained on
    with pytest.raises(InputError, match="trained on them"):
        TunedLens(lens=path, corpus=str(back), n_held_out=4)(model, TEXT)
    there.unlink()
    lost = TunedLens(lens=path, corpus=str(back), n_held_out=4)(model, TEXT)
    assert "may have seen these texts" in lost.trust.notes[0]


def test_a_text_said_twice_is_not_trained_on_and_scored_on(tmp_path, monkeypatch):
    model, _ = shifted()
    file, seen = tmp_path / "twice.txt", []
    file.write_text("\n".join([f"the dog saw {i} birds" for i in (1, 2, 1, 3, 2, 4, 5, 6)]))
    monkeypatch.setattr(
        sys.modules[TunedLens.__module__],
        "train",
        lambda lab, texts, how: seen.extend(texts) or train(lab, texts, how),
    )
    TunedLens(corpus=str(file), n_steps=2, batch=2, n_held_out=2)(model, TEXT)
    assert seen and not {"the dog saw 1 birds", "the dog saw 2 birds"} & set(seen)


def test_half_precision_says_probabilities_that_sum_to_one():
    """KL in bfloat16 itself is off by some per cent, and below 0 where two guesses are alike."""
    module, tokenizer = tiny("llama")
    half = load((module.to(torch.bfloat16), tokenizer))
    _, final = read_layers(Lab(half), Lab(half).aim([TEXT]))
    assert final.dtype == torch.float32 and torch.allclose(
        final.exp().sum(-1), torch.ones(len(final)), atol=1e-5
    )
    raw = Lab(half).run(Lab(half).read([TEXT]).inputs).logits[0].log_softmax(-1)
    assert float((raw.exp().float().sum(-1) - 1).abs().max()) > 1e-3
    for study in (LogitLens(), TunedLens(n_steps=2, batch=2, n_held_out=2)):
        assert (study(half, TEXT).kl > -1e-6).all()


def test_a_model_of_one_layer_is_scored_before_it():
    """The row after the last layer is the output itself, and says nothing about a lens."""
    model = load(tiny("gpt2", layers=1))
    for study in (LogitLens(), TunedLens(n_steps=2, batch=2, n_held_out=2)):
        score = study(model, TEXT).trust.scores[0]
        assert "the embedding" in score.name and score.value > 1e-3


def test_a_text_file_that_is_missing_or_too_short_is_refused(tmp_path):
    model, _ = shifted()
    with pytest.raises(InputError, match="cannot be read"):
        TunedLens(corpus=str(tmp_path / "no.txt"))(model, TEXT)
    short = tmp_path / "short.txt"
    short.write_text("one line\n\n")
    with pytest.raises(InputError, match="1 lines"):
        TunedLens(corpus=str(short))(model, TEXT)
    long = tmp_path / "long.txt"
    long.write_text("\n".join(f"the dog saw {i} birds" for i in range(40)))
    r = TunedLens(corpus=str(long), n_steps=2, batch=2, n_held_out=4)(model, TEXT)
    assert not r.trust.notes


def test_a_rate_that_diverges_is_a_letter():
    model, _ = shifted()
    with pytest.raises(ModelError, match="diverged"):
        train(Lab(model), [TEXT, TEXT], Training(n_steps=3, batch=2, rate=1e37))
