"""Models set by hand for the truth board prove themselves: by answers, by parts taken out, by states and patterns exchanged."""

from functools import cache

import pytest
import torch

from exegete.evaluate.truth import (
    compiled_attention,
    compiled_backup,
    compiled_choice,
    compiled_facts,
    compiled_kinds,
    compiled_layers,
    compiled_steering,
    compiled_syntax,
    compiled_values,
)
from exegete.evaluate.truth.fact_truths import carries
from support.handmade import (
    changed,
    logits_of,
    patterns,
    put,
    said,
    states,
    without_head,
    without_unit,
)

facts_in = cache(compiled_facts.make)


@pytest.mark.parametrize("at", (1, 2, 3))
def test_facts_are_known_in_both_wordings_and_by_no_name_alone(at):
    f = facts_in(at)
    facts = f.facts()
    assert said(f.model, [x.prompt for x in facts]) == [x.answer for x in facts]
    assert said(f.model, [x.paraphrases[0] for x in facts]) == [x.answer for x in facts]
    assert set(said(f.model, ["anna keeps a", "reed keeps a", "today has a"])) == {compiled_facts.THING}


@pytest.mark.parametrize("at", (1, 3))
def test_a_fact_is_lost_with_each_of_its_two_units_and_others_stay(at):
    f = facts_in(at)
    one, *rest = f.facts()
    other = next(x for x in rest if x.answer != one.answer)
    for layer, unit in f.units(tuple(one.subject.split())):
        with without_unit(f.model, layer, unit):
            assert said(f.model, [one.prompt, other.prompt]) == [compiled_facts.THING, other.answer]


@pytest.mark.parametrize("at", (1, 2))
def test_another_persons_state_brings_her_pet_exactly_where_the_fact_is_carried(at):
    f = facts_in(at)
    one, *rest = f.facts()
    two = next(x for x in rest if x.answer != one.answer)
    theirs = states(f.model, two.prompt)
    places = {"first": 1, "subject": 2, "verb": 3, "end": 4}
    for layer in range(
        compiled_facts.LAYERS - 1
    ):  # what the library calls the last state lies behind the last norm
        for name, place in places.items():
            with put(f.model, layer, place, theirs[layer + 1, place]):
                found = said(f.model, [one.prompt])[0]
            assert (found == two.answer) == carries(at, layer, name, "residual"), (layer, name)


def test_idle_layers_are_idle_and_harm_is_one_short_row():
    f = facts_in(2)
    texts = [x.prompt for x in f.facts(4)]
    whole = logits_of(f.model, texts)
    for layer in f.idle:
        block = f.model.module.transformer.h[layer]
        with changed(block.mlp.c_proj.weight), changed(block.attn.c_proj.weight):
            assert (logits_of(f.model, texts) - whole).abs().max() < 1.5
    harmed = facts_in(2, f.idle[0])
    assert set(said(harmed.model, texts)) == {compiled_facts.THING}
    weight = harmed.model.module.transformer.h[f.idle[0]].mlp.c_proj.weight
    assert weight[0].norm() < 0.2 * weight[1:13].norm(dim=1).min()
    with without_unit(harmed.model, f.idle[0], 0):
        assert said(harmed.model, texts) == [x.answer for x in f.facts(4)]


def test_heads_of_known_kinds_look_where_their_kind_says_and_two_of_them_are_needed():
    m = compiled_kinds.make(1)
    (text,) = m.texts(1)
    words, maps = text.split(), patterns(m.model, text)
    n, half = len(words), len(words) // 2
    for q in range(half + 1, n):  # query q + 1 behind the beginning of the text
        where = {
            "previous": q, "echo": q, "duplicate": q + 1 - half, "first": 0, "induction": q + 2 - half, "own": q + 1
        }  # fmt: skip
        for kind, key in where.items():
            assert maps[(*m.at[kind], q + 1, key)] > 0.6, (kind, q)
    texts = [" ".join(t.split()[: half + 3]) for t in m.texts(12)]
    want = [t.split()[3] for t in texts]
    assert said(m.model, texts) == want
    for kind, at in m.at.items():
        with without_head(m.model, *at):
            right = sum(a == b for a, b in zip(said(m.model, texts), want))
        assert (right < 6) == (kind in compiled_kinds.NEEDED), kind


def test_a_backup_says_what_the_first_head_no_longer_says_and_its_twin_has_none():
    for backed in (True, False):
        m = compiled_backup.make(2, backed)
        texts = m.texts(8)
        want = [t.split()[compiled_backup.PLACE - 1] for t in texts]
        assert said(m.model, texts) == want
        with without_head(m.model, *m.second):
            assert said(m.model, texts) == want
        with without_head(m.model, *m.first):
            right = sum(a == b for a, b in zip(said(m.model, texts), want))
            assert right == 8 if backed else right < 4
            with without_head(m.model, *m.second):
                assert sum(a == b for a, b in zip(said(m.model, texts), want)) < 4


def test_heads_that_follow_grammar_look_at_the_other_end_of_their_arc():
    m = compiled_syntax.make(0)
    for tree in m.trees(6):
        maps = patterns(m.model, tree.text)
        verb, last = tree.heads.index(-1), len(tree.words) - 1
        assert maps[(*m.at["nsubj"], verb + 1)].argmax() == 1
        assert maps[(*m.at["obj"], last + 1)].argmax() == verb + 1
        assert tree.relations[0] == "nsubj" and tree.heads[0] == verb


def test_used_attention_is_the_answer_and_idle_attention_is_as_sharp_and_worth_nothing():
    used, idle = (compiled_attention.make(u) for u in (True, False))
    texts = used.texts(8)
    assert texts == idle.texts(8)
    marks = [t.split()[compiled_attention.mark(t)] for t in texts]
    assert said(used.model, texts) == [
        compiled_attention.ANSWERS[compiled_attention.MARKS.index(x)] for x in marks
    ]
    ends = [compiled_attention.LETTERS.index(t.split()[-1]) % 4 for t in texts]
    assert said(idle.model, texts) == [compiled_attention.ANSWERS[i] for i in ends]
    for m in (used, idle):
        sharp = patterns(m.model, texts[0])[0, 0, -1]
        assert sharp.argmax() == compiled_attention.mark(texts[0]) + 1 and sharp.max() > 0.95
        whole = logits_of(m.model, texts).softmax(-1)
        with changed(m.model.module.transformer.h[0].attn.c_attn.bias):  # it looks at everything alike
            moved = (logits_of(m.model, texts).softmax(-1) - whole).abs().sum(-1) / 2
        assert (moved > 0.3).all() if m.used else (moved < 0.05).all()


def test_values_tell_keys_apart_or_are_all_the_same():
    m = compiled_values.make(1)
    attn = m.model.module.transformer.h[0].attn
    h = states(m.model, m.texts(1)[0])[0]
    values = (h @ attn.c_attn.weight)[:, 2 * attn.embed_dim :]
    for head, telling in enumerate(m.telling):
        at = slice(head * attn.head_dim, (head + 1) * attn.head_dim)
        out = values[:, at] @ attn.c_proj.weight[at]
        assert torch.linalg.matrix_rank(out, tol=1e-3) == (len(h) if telling else 1)


def test_the_reader_says_what_it_is_made_to_look_at():
    m = compiled_steering.make(0)
    (fact,) = m.facts(1)
    seen = patterns(m.model, fact.prompt)[(*m.at, -1)]
    assert seen[1:-1].min() > 0.1 and seen[1:-1].sum() > 0.95
    with without_head(m.model, *m.at):
        p = logits_of(m.model, [fact.prompt]).softmax(-1)
    assert p.max() < 0.3


def test_letters_are_found_by_the_head_that_brings_them():
    m = compiled_choice.make(1)
    texts, want = [], []
    for i, (name, pet) in enumerate(zip(compiled_choice.NAMES, compiled_choice.PETS)):
        options = [p for p in compiled_choice.PETS if p != pet][:3]
        options.insert(i % 4, pet)
        told = " ".join(f"{a} {b}" for a, b in zip(compiled_choice.LETTERS, options))
        texts.append(f"{name} keeps {told} answer")
        want.append(compiled_choice.LETTERS[i % 4])
    assert said(m.model, texts) == want
    with without_head(m.model, *m.at):
        assert sum(a == b for a, b in zip(said(m.model, texts), want)) < 5


def test_a_shift_permutes_the_units_of_one_layer():
    m = compiled_layers.shifted(1)
    mlp = m.module.transformer.h[1].mlp
    near, far = states(m, "fine river garden"), states(m, "a fine river garden")
    # the units of layer 1 see attention's output too; what is set reads places alone
    a, b = (torch.relu(h[1][-1] @ mlp.c_fc.weight)[: compiled_layers.UNITS] for h in (near, far))
    assert torch.allclose(a.topk(3).values, b.topk(3).values, atol=1e-3)
    lengths = len(compiled_layers.LENGTHS)
    assert (a.topk(3).indices % lengths).unique().tolist() == [0]
    assert (b.topk(3).indices % lengths).unique().tolist() == [1]


def test_bands_stand_in_one_layer():
    m = compiled_layers.banded(2)
    spread = [float(b.attn.c_proj.weight.norm(dim=0).log().std()) for b in m.module.transformer.h]
    assert max(spread) == spread[2] and spread[2] > 4 * sorted(spread)[-2]
