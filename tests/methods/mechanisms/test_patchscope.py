"""Patchscopes: states put back where they came from change nothing, slow twins with plain hooks, models that hand on or copy."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import ModelError, UsageError
from exegete.methods.mechanisms.identity_prompt import identity_prompt
from exegete.methods.mechanisms.patched_prompt import PatchedPrompt, states
from exegete.methods.mechanisms.patchscope import Patchscope, _of_others
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import FAMILIES, tasks, tiny
from exegete.terrarium import material

DECODERS = [f for f in FAMILIES if "causal" in tasks(f)]
TEXTS = [xg.Text(ids=i) for i in ((10, 20, 30, 40, 50), (11, 22, 33), (12, 24, 36, 48))]
LIGHT = Patchscope(n_top=2, n_new=2)


@pytest.mark.parametrize("family", DECODERS)
def test_a_state_put_back_into_its_own_text_says_what_the_model_says(family):
    """The prompt is the text itself: nothing is changed, at any layer, so every distribution is the model's own."""
    model = load(tiny(family, "causal"))
    lab, reading = Lab(model), Lab(model).read(TEXTS[:1])
    with torch.no_grad():
        taken = states(lab, reading, [(0, 4)])
        prompt = PatchedPrompt.of(lab, reading, None)
        logp = model.module(torch.tensor([TEXTS[0].ids])).logits[0, -1].log_softmax(-1)
        truth = logp.exp()
        assert int(taken.next[0]) == int(truth.argmax())
        some = torch.tensor([7])
        for row in range(model.map.n_layers + 1):
            said = prompt.says(taken.resid[row], row, some, 3)
            assert said.probability[0] == pytest.approx(float(truth[7]), rel=1e-3, abs=1e-6)
            assert said.top[0].tolist() == truth.topk(3).indices.tolist()
        moved = prompt.says(taken.resid[0].flip(-1), 0, some, 3)  # another state: the equality can fail
        assert moved.probability[0] != pytest.approx(float(truth[7]), rel=1e-3)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("into", [None, 1])
def test_against_plain_hooks(family, into):
    """Every cell by a hook of its own on the bare model, texts one by one, and generation token by token."""
    model = load(tiny(family))
    ids = [51, 52, 53, 54]
    # the prompt is built from ids: the study's own form of a user's prompt takes text
    study = Patchscope(n_top=2, n_new=3, into=into)
    study_prompt = type(study)._prompt
    try:
        type(study)._prompt = lambda self, lab: xg.Text(ids=tuple(ids))
        r = study(model, TEXTS)
    finally:
        type(study)._prompt = study_prompt
    blocks = model.module.transformer.h if family == "gpt2" else model.module.model.layers
    said = []
    for i, text in enumerate(TEXTS):
        with torch.no_grad():
            hidden, own = taken_by_hand(model, blocks, text.ids)
        said.append(own)
        for row in range(2 + (into is not None)):
            logits = patched_by_hand(model, blocks, ids, row if into is None else into, hidden[row])
            assert r.top[row][i] == model.tokenizer.decode([int(logits.argmax())])
            assert r.probability[row, i] == pytest.approx(float(logits.softmax(-1)[own]), abs=1e-5)
    assert r.said == tuple(model.tokenizer.decode([s]) for s in said)
    with torch.no_grad():
        hidden, _ = taken_by_hand(model, blocks, TEXTS[0].ids)
    line = list(ids)
    for _ in range(3):
        line.append(int(patched_by_hand(model, blocks, line, 1, hidden[1], at=3).argmax()))
    assert r.told[1].generated == model.tokenizer.decode(line[4:])


def taken_by_hand(model, blocks, ids):
    """The inputs of every block at the last token, the output of the last one, and the model's own next token."""
    found = []
    hooks = [b.register_forward_pre_hook(lambda _m, a, k: found.append((a[0] if a else k["hidden_states"])[0, -1].clone()), with_kwargs=True) for b in blocks]  # fmt: skip
    hooks.append(
        blocks[-1].register_forward_hook(
            lambda _m, _a, out: found.append((out[0] if isinstance(out, tuple) else out)[0, -1].clone())
        )
    )
    own = int(model.module(torch.tensor([ids])).logits[0, -1].argmax())
    for h in hooks:
        h.remove()
    return found, own


def patched_by_hand(model, blocks, ids, layer, state, at=-1):
    """Logits after the last of `ids` with a state written over the input of a block, in place, at one position."""

    def write(_module, args, kwargs):
        (args[0] if args else kwargs["hidden_states"])[0, at] = state

    handle = blocks[layer].register_forward_pre_hook(write, with_kwargs=True)
    with torch.no_grad():
        logits = model.module(torch.tensor([ids]), use_cache=False).logits[0, -1]
    handle.remove()
    return logits


def test_where_blocks_write_nothing_it_is_the_logit_lens():
    module, tokenizer = tiny("gpt2")
    with torch.no_grad():
        for block in module.transformer.h:
            for part in (block.attn.c_proj, block.mlp.c_proj):
                part.weight.zero_(), part.bias.zero_()
    r = LIGHT(load((module, tokenizer)), TEXTS)
    assert all(t.words == t.lens for t in r.told)
    assert np.array_equal(r.precision, r.lens)
    plain = LIGHT(load(tiny("gpt2")), TEXTS)  # and where they write, it is not
    assert any(t.words != t.lens for t in plain.told)


def test_generation_from_the_text_itself_is_the_models_own():
    model = xg.load("terrarium/decoder")
    text = "mary went to the market with john . john gave a book to"
    r = Patchscope(prompt=text, n_new=4)(model, text)
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    own = model.module.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)
    assert {t.generated for t in r.told} == {model.tokenizer.decode(own[0, ids.shape[1] :])}
    assert np.array_equal(r.precision, np.ones(len(r.layers)))


def test_states_of_a_trained_model_beat_unrelated_ones_and_random_states_do_not():
    model = xg.load("terrarium/decoder")
    texts = [p.clean for p in material.pairs("causal", 20)]
    r = LIGHT(model, texts)
    assert r.trust.scores[0].beats_control
    assert r.trust.scores[0].beats_chance
    assert r.precision[-1] == r.lens[-1] == 1
    assert r.unrelated.max() < 0.2
    same = LIGHT(model, [texts[0]] * 20)  # the other states are the very state: nothing can stand out
    assert not same.trust.scores[0].beats_control
    assert "Unrelated states do as well" in same.lede


def test_unrelated_states_are_those_of_every_other_place():
    draw = np.random.default_rng(0)
    tops, own = draw.integers(0, 3, (4, 7)), draw.integers(0, 3, 5)
    slow = [[np.mean([tops[r, j] == own[i] for j in range(7) if j != i]) for i in range(5)] for r in range(4)]
    assert np.allclose(_of_others(tops, own), slow)
    model = load(tiny("gpt2"))
    alone = LIGHT(model, TEXTS[0])
    assert alone.trust.scores[0].control is not None  # other positions of the same text
    lonely = LIGHT(model, xg.Text(ids=(10,)))
    assert lonely.trust.scores[0].skipped and "nan" not in lonely.lede
    assert "unrelated" in alone.lede


@pytest.mark.parametrize("family", DECODERS)
def test_the_prompt_says_words_twice_behind_the_models_own_beginning(family):
    model = load(tiny(family, "causal"))
    ids = identity_prompt(model, 3, np.random.default_rng(0))
    usual = model.tokenizer("the")["input_ids"]
    special = set(model.tokenizer.all_special_ids)
    lead = [i for i in usual if i in special]
    assert list(ids[: len(lead)]) == lead
    rest = ids[len(lead) :]
    step = (len(rest) - 1) // 3
    assert all(rest[i] == rest[i + 1] and rest[i] not in special for i in range(0, 3 * step, step))
    assert len({rest[i] for i in range(0, 3 * step, step)}) == 3


def test_what_cannot_work_is_refused_with_a_letter():
    for family in ("bert", "t5"):
        with pytest.raises(ModelError, match="causal"):
            LIGHT(load(tiny(family)), TEXTS)
    model = load(tiny("gpt2"))
    with pytest.raises(UsageError, match="has 3 tokens"):
        Patchscope(position=4)(model, TEXTS)
    with pytest.raises(UsageError, match="layers 0 to 1"):
        Patchscope(into=2)(model, TEXTS)
