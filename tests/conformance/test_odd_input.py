"""Odd input is explained or answered with a letter, never with another exception: whatever people type, ask, or load."""

import string
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import exegete as xg
from exegete.core.errors import ExegeteError, ModelError
from exegete.core.text import LEVELS
from exegete.models.tiny import tiny
from exegete.show.render import page, terminal
from support.saved import loaded

MODELS = (("bert", "sequence"), ("bert", "token"), ("gpt2", "causal"), ("llama", "causal"), ("t5", "seq2seq"))
METHODS = ("occlusion", "input_x_gradient")
LIMIT = {"suppress_health_check": list(HealthCheck), "deadline": None, "derandomize": True}

ODD = st.one_of(
    st.text(max_size=24),
    st.text(alphabet="אבגdéÿ🙂👩‍👧\u200b\u200d\ufeff\u202e日本\u0301 ", max_size=16),
    st.text(alphabet=string.punctuation + "\t\n ", max_size=16),
    st.lists(st.sampled_from(["the", "the", "dog", "[MASK]", "</s>", "<|end|>", "Ġ", "▁", "##s", "é́"]), max_size=8).map(" ".join),
    st.sampled_from(["supercalifragilistic" * 5, "a", ".", "\n\n\n", "\t", " a ", "\0", "a\0b", "\ud800", "ﬁ", "ß" * 9, "İ"]),
)  # fmt: skip


def explained(model, text, method, target=None, **more):
    """The explanation, checked for what every explanation must be; None when it was refused with a letter."""
    try:
        r = xg.explain(model, text, method, target, trust="fast", **more)
    except ExegeteError as e:
        assert e.asked and e.found and e.do, e.letter()
        return None
    assert len(r.total) == len(r.units) > 0
    assert np.isfinite(r.total).all()
    assert r.checks[0].name == "model untouched" and r.checks[0].passed
    return r


@pytest.mark.parametrize(("family", "task"), MODELS)
@settings(max_examples=12, **LIMIT)
@given(text=ODD, method=st.sampled_from(METHODS), unit=st.sampled_from(("token", "word", "sentence")))
def test_any_text(family, task, text, method, unit):
    r = explained(loaded(family, task), text, method, unit=unit)
    if r is not None:
        assert r.text == text
        used = [i for u in r.units for i in u.tokens]
        assert len(used) == len(set(used))
        page(r)
        terminal(r)


@settings(max_examples=8, **LIMIT)
@given(text=ODD, method=st.sampled_from(METHODS))
def test_any_text_on_the_embedded_model(text, method):
    explained(_sentiment(), text, method)


def _sentiment(cache=[]):  # noqa: B006 (loaded when first used)
    if not cache:
        cache.append(xg.load("terrarium/sentiment"))
    return cache[0]


@settings(max_examples=12, **LIMIT)
@given(
    text=ODD,
    target=ODD,
    against=st.none() | ODD,
    family=st.sampled_from(("gpt2", "llama", "t5")),
    prefix=st.booleans(),
)
def test_any_target_and_foil(text, target, against, family, prefix):
    model = loaded(family, "seq2seq" if family == "t5" else "causal")
    explained(model, text, "occlusion", target or None, against=against or None, prefix=prefix)


@settings(max_examples=10, **LIMIT)
@given(ids=st.lists(st.integers(-2, 400), max_size=8), family=st.sampled_from(("bert", "gpt2", "t5")))
def test_any_ids(ids, family):
    explained(
        loaded(family, {"bert": "sequence", "gpt2": "causal", "t5": "seq2seq"}[family]), ids, "occlusion"
    )


@settings(max_examples=10, **LIMIT)
@given(text=ODD, spans=st.lists(st.tuples(st.integers(-1, 20), st.integers(-1, 20)), max_size=3))
def test_any_spans(text, spans):
    try:
        request = xg.Text(text=text, spans=tuple(spans))
    except ExegeteError:
        return
    explained(loaded("bert", "sequence"), request, "occlusion", unit="span")


@settings(max_examples=8, **LIMIT)
@given(parts=st.lists(ODD, max_size=4), unit=st.sampled_from(LEVELS))
def test_any_segments(parts, unit):
    try:
        request = xg.Text.of_segments(*parts)
    except ExegeteError:
        return
    explained(loaded("gpt2", "causal"), request, "occlusion", unit=unit)


@settings(max_examples=8, **LIMIT)
@given(text=ODD, pair=ODD, family=st.sampled_from(("bert", "gpt2", "t5")))
def test_any_pair(text, pair, family):
    model = loaded(family, {"bert": "sequence", "gpt2": "causal", "t5": "seq2seq"}[family])
    explained(model, xg.Text(text=text, pair=pair), "occlusion")


@pytest.mark.parametrize("scale", ["logit", "logprob", "prob", "loss", "entropy"])
@pytest.mark.parametrize(
    "method", ["occlusion", "input_x_gradient", "integrated_gradients", "exact_shapley", "kernel_shap"]
)
def test_every_scale_by_removal_and_by_gradient(scale, method):
    for (family, task), target in product(MODELS[:3] + MODELS[4:], (None, "is here")):
        if (task in ("sequence", "token")) == (target is None):
            r = explained(loaded(family, task), "the dog saw a bird", method, target, scale=scale)
            assert r is not None and r.scale == scale
            if method == "exact_shapley":
                assert abs(r.total.sum() - (r.value - r.base_value)) < 1e-4 * max(1, abs(r.value))


def test_entropy_and_loss_mean_what_they_say():
    """Against the model's own logits."""
    model = loaded("bert", "sequence")
    ids = torch.tensor([model.tokenizer("the dog")["input_ids"]])
    with torch.no_grad():
        logp = model.module(ids).logits[0].double().log_softmax(-1)
    assert (
        abs(
            explained(model, "the dog", "occlusion", scale="entropy").value + float((logp.exp() * logp).sum())
        )
        < 1e-5
    )
    assert abs(explained(model, "the dog", "occlusion", 1, scale="loss").value + float(logp[1])) < 1e-5


def test_one_word_one_token_and_repeated_words():
    for text, n in (("dog", 1), (".", 1), ("the the the", 3)):
        r = explained(loaded("bert", "sequence"), text, "occlusion")
        assert r is not None and len(r.units) == n
    assert len({u.start for u in r.units}) == 3


def test_ids_of_any_kind_are_the_same_text():
    model = loaded("gpt2", "causal")
    wanted = explained(model, [40, 41, 42], "occlusion").total
    for ids in (
        (40, 41, 42),
        np.array([40, 41, 42]),
        torch.tensor([40, 41, 42]),
        np.array([40, 41, 42], dtype=np.int32),
    ):
        assert np.array_equal(explained(model, ids, "occlusion").total, wanted)


@pytest.mark.parametrize("at", range(8))
def test_each_position_of_a_token_classifier(at):
    assert explained(loaded("bert", "token"), "the dog saw", "occlusion", xg.Target(position=at)) is not None


def test_two_masks_are_two_questions():
    model = loaded("bert", "masked")
    first, second = (
        explained(model, "the [MASK] dog [MASK]", "occlusion", xg.Target(position=k)) for k in (0, 1)
    )
    assert first.value != second.value
    assert all("[MASK]" not in u.text for r in (first, second) for u in r.units)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_generated_text_that_ends_at_once(family):
    """The end token is all there is: it is explained, not an empty text."""
    module, tokenizer = tiny(family)
    end = tokenizer.eos_token_id
    head = module.get_output_embeddings()
    bias = torch.zeros(head.weight.shape[0])
    bias[end] = 1e4
    head.register_forward_hook(lambda _, args, out: out + bias)
    module.generation_config.eos_token_id = end
    r = explained(xg.load((module, tokenizer)), "the dog", "occlusion", "generated")
    assert r is not None and len(r.outputs) == 1 and r.target == tokenizer.decode([end])


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_contrast_of_several_tokens_with_the_models_own_words(family):
    model = loaded(family, "seq2seq" if family == "t5" else "causal")
    one = explained(model, "the dog", "occlusion", "is here now", against="was")
    other = explained(model, "the dog", "occlusion", "was", against="is here now")
    assert np.abs(one.total + other.total).max() < 1e-4


def test_earlier_target_words_are_scored_when_asked():
    r = explained(loaded("gpt2", "causal"), "the dog", "occlusion", " is here", prefix=True)
    assert {u.role for u in r.units} == {"prompt", "prefix"}
    assert not r.available[0, [u.role == "prefix" for u in r.units]].any()


@pytest.mark.parametrize(("family", "task"), MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_training_mode_with_dropout_gives_evaluation_numbers_and_stays(family, task, method):
    module, tokenizer = tiny(family, task)
    wanted = explained(xg.load((module, tokenizer)), "the dog saw", method)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5
    module.train()
    for p in module.parameters():
        p.requires_grad_(True)
        p.grad = torch.ones_like(p)
    found = explained(xg.load((module, tokenizer)), "the dog saw", method)
    assert np.array_equal(found.total, wanted.total)
    assert all(m.training for m in module.modules())
    assert all(p.requires_grad and bool((p.grad == 1).all()) for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("method", [*METHODS, "integrated_gradients"])
@pytest.mark.parametrize(("family", "task"), [("bert", "sequence"), ("gpt2", "causal"), ("t5", "seq2seq")])
def test_other_precisions(family, task, method, dtype):
    module, tokenizer = tiny(family, task)
    model = xg.load((module.to(dtype), tokenizer))
    r = explained(model, "the small dog saw", method)
    assert r is not None and r.provenance.dtype == str(dtype).removeprefix("torch.")
    exact = explained(loaded(family, task), "the small dog saw", method)
    if r.target == exact.target and dtype == torch.float64:
        assert np.abs(r.total - exact.total).max() < 1e-4 * max(1, np.abs(exact.total).max())


def test_a_module_that_will_not_take_the_input_is_named():
    """A tokenizer of another model: ids that the embedding does not have."""
    module, _ = tiny("bert", "sequence")
    _, other = tiny("llama")
    with pytest.raises(ModelError, match=r"refused the input|no token") as caught:
        xg.explain(xg.load((module, other), task="sequence"), "zebra quilt 🙂", "occlusion")
    assert caught.value.do


class _Uncached(torch.nn.Module):
    """A language model without a cache, that returns what `wrap` makes of its logits."""

    def __init__(self, inner, wrap):
        super().__init__()
        self.inner, self.config, self.wrap = inner, inner.config, wrap

    def get_input_embeddings(self):
        return self.inner.get_input_embeddings()

    def get_output_embeddings(self):
        return self.inner.get_output_embeddings()

    def forward(self, input_ids, attention_mask=None, use_cache=False):
        return self.wrap(self.inner(input_ids, attention_mask=attention_mask, use_cache=False).logits)


@pytest.mark.parametrize(
    "wrap", [lambda x: (x,), lambda x: SimpleNamespace(logits=x)], ids=["tuple", "plain object"]
)
def test_a_language_model_without_a_cache_is_read_whole(wrap):
    module, tokenizer = tiny("gpt2")
    text = "the small dog saw a bird " * 8
    r = explained(xg.load((_Uncached(module, wrap), tokenizer), task="causal"), text, "occlusion", "is here")
    wanted = explained(xg.load((module, tokenizer)), text, "occlusion", "is here")
    assert np.abs(r.total - wanted.total).max() < 1e-4
    assert all(c.passed for c in r.checks)
