"""Attention maps show what the model really attends with: the patterns that Hugging Face's own eager kernel returns."""

import numpy as np
import pytest
import torch

from exegete.core.errors import UsageError
from exegete.core.request import Text
from exegete.methods.attention.attention_map import AttentionMap
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.patterns import NAMES, summary

IDS = (5, 9, 21, 33, 12, 40, 7)
OWN = {"self-attention": "attentions", "encoder": "encoder_attentions", "decoder": "decoder_attentions",
       "decoder on encoder": "cross_attentions"}  # fmt: skip
FAMILIES = [
    ("gpt2", "causal"), ("llama", "causal"), ("gemma2", "causal"), ("bloom", "causal"), ("gpt_neox", "causal"),
    ("bert", "sequence"), ("albert", "masked"), ("deberta_v2", "token"), ("t5", "seq2seq"), ("bart", "seq2seq"), ("bart", "sequence"),
]  # fmt: skip


def ids_for(family, task):
    """Ordinary ids; a classifier of the BART family pools at an end token."""
    return (*IDS, 2) if (family, task) == ("bart", "sequence") else IDS


def eager(family, task, found, target=None):
    """The patterns that the eager twin returns for the tokens the study read, by name of attention [layer, head, q, k]."""
    module = tiny(family, task, overrides={"attn_implementation": "eager"})[0]
    inputs = {"input_ids": torch.tensor([ids_for(family, task)])}
    if task == "seq2seq":
        inputs["decoder_input_ids"] = torch.tensor([target])
    with torch.no_grad():
        out = module(**inputs, output_attentions=True)
    return {m.name: torch.stack(getattr(out, OWN[m.name]))[:, 0].numpy() for m in found.maps}


@pytest.mark.parametrize(("family", "task"), FAMILIES)
def test_patterns_are_those_of_the_models_own_eager_kernel(family, task):
    model = load(tiny(family, task))
    found = AttentionMap()(model, Text(ids=ids_for(family, task)), "a bird" if task == "seq2seq" else None)
    start = [model.config.decoder_start_token_id or 0] if task == "seq2seq" else []
    rest = model.tokenizer("a bird", add_special_tokens=False)["input_ids"][:-1] if start else []
    truth = eager(family, task, found, [*start, *rest])
    assert len(found.maps) == (3 if family in ("t5", "bart") else 1)
    for m in found.maps:
        own = truth[m.name]
        assert m.patterns.shape == (own.shape[0] * own.shape[1], len(m.queries), len(m.keys))
        for pattern, layer, head in zip(m.patterns, m.layers, m.heads, strict=True):
            assert np.abs(pattern - own[layer, head]).max() < 1e-5
        assert np.abs(m.patterns[0] - own[-1, -1]).max() > 1e-3  # the check would see another head


def test_texts_of_a_pair_are_told_apart_as_the_model_is_told():
    model = load(tiny("bert", "sequence"))
    found = AttentionMap()(model, Text(text="the cat sat", pair="a dog ran"))
    module, tokenizer = tiny("bert", "sequence", overrides={"attn_implementation": "eager"})
    given = tokenizer("the cat sat", "a dog ran", return_tensors="pt")
    with torch.no_grad():
        own = torch.stack(module(**given, output_attentions=True).attentions)[:, 0].numpy()
        given["token_type_ids"] = torch.zeros_like(given["token_type_ids"])
        untold = torch.stack(module(**given, output_attentions=True).attentions)[:, 0].numpy()
    m = found.maps[0]
    assert np.abs(m.patterns - own.reshape(m.patterns.shape)).max() < 1e-5
    assert np.abs(m.patterns - untold.reshape(m.patterns.shape)).max() > 1e-3
    assert set(m.query_parts) == {-1, 0, 1}


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "gemma2", "bloom"])
def test_q_and_k_make_the_pattern_where_the_model_adds_nothing(family):
    """softmax(scale q . k) is the pattern; where a cap or a position bias comes in, the scale says that it is not."""
    m = AttentionMap()(load(tiny(family)), Text(ids=IDS)).maps[0]
    if family in ("gemma2", "bloom"):
        assert np.isnan(m.scale)
        return
    scores = m.scale * np.einsum("mqd,mkd->mqk", m.q, m.k)
    scores = np.where(m.patterns > 0, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    assert np.abs(weights / weights.sum(-1, keepdims=True) - m.patterns).max() < 1e-5


def test_layers_heads_and_sentences_are_filters_of_the_same_numbers():
    model = load(tiny("bert", "sequence"))
    text = "the cat sat. a dog ran."
    whole = AttentionMap()(model, text).maps[0]
    part = AttentionMap(layers=(1,), heads=(0, 2), from_sentence=2, to_sentence=1)(model, text).maps[0]
    assert (part.layers, part.heads) == ((1, 1), (0, 2))
    rows = [i for i, p in enumerate(whole.query_parts) if p == 1]
    columns = [i for i, p in enumerate(whole.key_parts) if p == 0]
    assert len(rows) > 1
    assert len(columns) > 1
    for pattern, layer, head in zip(part.patterns, part.layers, part.heads):
        which = list(zip(whole.layers, whole.heads)).index((layer, head))
        assert np.array_equal(pattern, whole.patterns[which][np.ix_(rows, columns)])
    assert np.array_equal(part.numbers, whole.numbers, equal_nan=True)  # the numbers are of the whole text


def test_what_is_not_there_is_refused():
    model = load(tiny("gpt2"))
    for wrong, word in (
        ({"layers": (7,)}, "layer 7"),
        ({"heads": (-1,)}, "head -1"),
        ({"to_sentence": 3}, "sentence 3"),
    ):
        with pytest.raises(UsageError, match=word):
            AttentionMap(**wrong)(model, Text(ids=IDS))


def test_only_so_many_numbers_are_kept_those_of_the_least_told_heads():
    model = load(tiny("gpt2"))
    whole = AttentionMap()(model, Text(ids=IDS)).maps[0]
    few = AttentionMap(most_numbers=3 * len(IDS) ** 2)(model, Text(ids=IDS)).maps[0]
    assert len(few.patterns) == 3
    assert few.left_out == len(whole.patterns) - 3
    content = whole.numbers[:, NAMES.index("content")]
    best = sorted(np.argsort(-content)[:3])
    assert [(few.layers[i], few.heads[i]) for i in range(3)] == [
        (whole.layers[b], whole.heads[b]) for b in best
    ]


def test_numbers_of_planted_heads():
    """A head that looks at the token before, one at the first, one at itself, a uniform one; a blind query counts nowhere."""
    n = 6
    previous = np.eye(n, k=-1)
    previous[0, 0] = 1
    first = np.zeros((n, n))
    first[:, 0] = 1
    causal = np.tril(np.ones((n, n)))
    uniform = causal / causal.sum(-1, keepdims=True)
    heads = np.stack([previous, first, np.eye(n), uniform])
    visible = np.tile(np.arange(1, n + 1), (4, 1))
    found = summary(heads, visible, np.zeros(n, bool))
    assert found.previous == pytest.approx([1, 1 / 5, 0, np.mean([1 / (i + 1) for i in range(1, n)])])
    assert found.first[1] == 1
    assert found.own[2] == 1
    assert found.distance[:3] == pytest.approx([5 / 6, np.mean(range(n)), 0])
    assert found.entropy == pytest.approx([0, 0, 0, found.room[3]])
    assert found.content[:3] == pytest.approx([0, 0, 0])
    blind = heads.copy()
    blind[:, 3] = 1 / n  # what eager code writes where a query sees nothing
    visible[:, 3] = 0
    assert summary(blind, visible, np.zeros(n, bool)).own[2] == 1
    visible[:, 3] = n
    assert summary(blind, visible, np.zeros(n, bool)).own[2] < 0.9  # counted, it would show


def test_shares_of_a_head_add_up_at_most_to_one_with_content():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(7), (3, 7))
    special = np.array([1, 0, 0, 0, 0, 0, 1], bool)
    found = summary(p, np.full((3, 7), 7), special)
    slow = np.zeros((3, 7))
    for h in range(3):
        for i in range(7):
            slow[h, i] = sum(p[h, i, j] for j in range(7) if j not in (0, i, i - 1) and not special[j])
    assert found.content == pytest.approx(slow.mean(-1))
