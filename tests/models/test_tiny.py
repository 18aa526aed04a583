"""`tiny`: every family and task builds, is deterministic, and is not trivial; its tokenizer takes any text."""

import pytest
import torch

from exegete.core.errors import UnknownName, UsageError
from exegete.models.tiny import FAMILIES, SEQUENCE_LABELS, TOKEN_LABELS, families, tasks, tiny
from exegete.models.tiny_tokenizer import KINDS, tiny_tokenizer
from support.tinies import logits_of, some_inputs

PAIRS = [(f, t) for f in FAMILIES for t in tasks(f)]
TEXTS = ["The cat sat on the mat.", "", "日本 ünïcode \U0001f600", "<script>alert(1)</script> 1990s\n\ttab"]


def test_there_are_thirty_three_families():
    assert len(families()) == len(set(families())) == 33


@pytest.mark.parametrize(("family", "task"), PAIRS)
def test_every_task_builds_and_its_logits_are_not_flat(family, task):
    module, tokenizer = tiny(family, task)
    assert not module.training
    assert all(p.dtype == torch.float32 for p in module.parameters())
    logits = logits_of(module, some_inputs(module))
    assert torch.isfinite(logits).all()
    assert logits.std() > 0.1
    assert module.get_input_embeddings().num_embeddings >= len(tokenizer)
    if task in ("sequence", "token"):
        names = SEQUENCE_LABELS if task == "sequence" else TOKEN_LABELS
        assert tuple(module.config.id2label.values()) == names


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_follow_from_the_seed_alone(family):
    state = torch.get_rng_state()
    one, two, other = (tiny(family, seed=s)[0] for s in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    inputs = some_inputs(one)
    assert torch.equal(logits_of(one, inputs), logits_of(two, inputs))
    assert not torch.equal(logits_of(one, inputs), logits_of(other, inputs))


@pytest.mark.parametrize("family", FAMILIES)
def test_biases_and_gains_are_not_zero_or_one(family):
    module, _ = tiny(family)
    for name, p in module.named_parameters():
        if p.ndim == 1 and p.numel() > 1:
            assert p.std() > 0.05, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_tokenizers_take_any_text(kind, text):
    tokenizer = tiny_tokenizer(kind)
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert all(0 <= i < len(tokenizer) for i in encoded["input_ids"])
    assert all(0 <= a <= b <= len(text) for a, b in encoded["offset_mapping"])
    if kind != "wordpiece":  # lower-cases, and has no piece for some characters
        plain = tokenizer.decode(encoded["input_ids"], skip_special_tokens=True)
        assert plain.strip() == " ".join(text.split(" ")).strip() or kind in ("spm_cls", "t5", "llama")


def test_tokenizers_are_fresh_objects():
    one, two = tiny_tokenizer("bytes"), tiny_tokenizer("bytes")
    one.padding_side = "left"
    assert two.padding_side == "right"


def test_an_unknown_family_names_near_ones():
    with pytest.raises(UnknownName, match=r"Did you mean .*gpt_neox"):
        tiny("gptneox2")


def test_a_task_the_family_lacks_is_refused():
    with pytest.raises(UsageError, match=r"has the tasks causal, sequence, token"):
        tiny("gpt2", "masked")


def test_sizes_follow_what_is_asked():
    module, _ = tiny("llama", layers=3, width=48, heads=6, vocab=500)
    assert len(module.model.layers) == 3
    assert module.get_input_embeddings().weight.shape == (500, 48)
