"""Head types against a model whose every head is planted, loops over the eager patterns, and maps made by rule."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.request import Text
from exegete.core.target import Target
from exegete.methods.attention.head_evidence import ON_TEXTS, on_repeats, on_texts, repeated
from exegete.methods.attention.head_reading import heads_of
from exegete.methods.attention.head_removal import Removal, tasks_of
from exegete.methods.attention.head_types import HeadTypesStudy
from exegete.methods.attention.map_classifier import _trained, trained
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.attended import mass, offsets
from exegete.ops.map_kinds import KINDS, describe, synthetic, visible
from support.planted_looks import PLANTED, planted_heads

LIGHT = HeadTypesStudy(n_repeats=4, repeat_length=10, n_maps=20, n_twins=2)


def some_texts(n: int = 4, size: int = 14) -> tuple[Text, ...]:
    draw = np.random.default_rng(5)
    return tuple(Text(ids=tuple(draw.integers(10, 330, size - i).tolist())) for i in range(n))


def test_every_planted_head_is_found():
    model = planted_heads()
    r = LIGHT(model, some_texts())
    assert r.label == PLANTED
    types = [r.types.index(t) for t in PLANTED if t != "-"]
    heads = [i for i, t in enumerate(PLANTED) if t != "-"]
    assert r.share[heads, types].min() > 0.8
    assert r.distance[7] == -3
    best = {s.name.split(":")[0]: s for s in r.trust.scores}
    for i, t in zip(heads, types):
        s = best[r.types[t]]
        if r.types[t] != "fixed distance":
            assert f" {r.heads[i]}," in s.name
        assert s.beats_chance
        assert s.beats_control
    assert [r.kind[i] for i in (0, 1, 3)] == ["diagonal", "vertical", "diagonal"]


def test_heads_that_look_evenly_have_no_type():
    """Also without a threshold: even attention is no better than chance."""
    study = HeadTypesStudy(n_repeats=4, repeat_length=10, n_maps=5, n_twins=1, threshold=0.0)
    r = study(planted_heads(sharp=0.0), some_texts())
    assert set(r.label) == {"-"}
    assert r.lede.startswith("No head")


def test_models_without_structure_are_silent():
    """The negative control: of 3 random models (36 heads) none has a type; nearly every one would pass for one if being above
    chance made a type."""
    study = HeadTypesStudy(n_repeats=4, repeat_length=10, n_maps=5)
    found = [study(load(tiny("gpt2", layers=3, seed=k)), some_texts()) for k in range(3)]
    assert [set(r.label) for r in found] == [{"-"}] * 3
    assert sum(int((r.share > r.chance).any(-1).sum()) for r in found) > 30


def slow_shares(pattern: np.ndarray, causal: bool) -> dict[str, float]:
    """Shares of one head by loops over queries and keys."""
    found: dict[str, list[float]] = {
        "previous token": [],
        "own token": [],
        "next token": [],
        "first token": [],
    }
    n = len(pattern)
    for i in range(n):
        sees = [j for j in range(n) if not causal or j <= i]
        if len(sees) < 2:
            continue
        for name, j in (
            ("previous token", i - 1),
            ("own token", i),
            ("next token", i + 1),
            ("first token", 0),
        ):
            if j in sees:
                found[name].append(float(pattern[i, j]))
    return {k: float(np.mean(v)) for k, v in found.items() if v}


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert"])
def test_shares_are_those_of_the_eager_patterns(family):
    """Grouped queries too: every query head has its own row."""
    ids = (5, 9, 21, 33, 12, 40, 7)
    lab = Lab(load(tiny(family)))
    heads = heads_of(lab)
    found = on_texts(lab, heads, [Text(ids=ids)])
    module = tiny(family, overrides={"attn_implementation": "eager"})[0]
    with torch.no_grad():
        own = torch.stack(module(torch.tensor([ids]), output_attentions=True).attentions)[:, 0].numpy()
    assert found.value.shape == (1, own.shape[0] * own.shape[1], len(ON_TEXTS))
    for i, pattern in enumerate(own.reshape(-1, *own.shape[2:])):
        for name, share in slow_shares(pattern, family != "bert").items():
            assert found.value[0, i, ON_TEXTS.index(name)] == pytest.approx(share, abs=1e-5)
    assert np.ptp(found.value[0, :, 0]) > 1e-3  # the check would see another head


def test_a_repeat_is_said_twice_within_the_models_own_marks():
    for family in ("gpt2", "bert", "llama", "t5"):
        lab = Lab(load(tiny(family)))
        ids, start, length = repeated(lab, 2, 7)
        assert torch.equal(ids[:, start : start + length], ids[:, start + length : start + 2 * length])
        assert not set(ids[:, start : start + length].flatten().tolist()) & set(
            lab.model.tokenizer.all_special_ids
        )
    assert length == 7
    assert repeated(lab, 2, 10_000)[2] == (256 - 1) // 2
    seen = on_repeats(lab, heads_of(lab), 2, 7)  # the decoder reads it one place later
    assert np.isfinite(seen.value).all()
    assert seen.chance[:, -1, 0] == pytest.approx(np.mean([1 / (i + 1) for i in range(8, 15)]))


def test_chance_is_the_share_of_even_attention():
    seen = visible(6, True)[None]
    even = seen / seen.sum(-1, keepdims=True)
    wanted = np.eye(6, k=-1, dtype=bool)
    value, chance = mass(even, seen, wanted)
    assert value == pytest.approx(chance)
    assert chance[0] == pytest.approx(np.mean([1 / (i + 1) for i in range(1, 6)]))
    assert np.isinf(offsets(even, seen)[0, 1:]).all()  # no distance is preferred
    assert np.isnan(offsets(even, seen)[0, 0])  # nothing to choose


@pytest.mark.parametrize("causal", [False, True])
def test_maps_made_by_rule_are_told_apart_and_shuffled_labels_teach_nothing(causal):
    c = trained(causal, [8, 30], 60, 0)
    assert c.score.value > 0.85
    assert c.score.chance == 0.2
    assert (c.score.control or 0.0) < 0.4
    assert c.score.beats_chance
    assert c.score.beats_control
    clean = np.stack([np.eye(20, k=-1) + np.outer(np.arange(20) == 0, np.arange(20) == 0),
                      np.outer(np.ones(20), np.arange(20) == 0)]).astype(float)  # fmt: skip
    kinds = c(describe(clean, visible(20, causal))).argmax(-1)
    assert [KINDS[k] for k in kinds] == ["diagonal", "vertical"]


def test_maps_made_by_rule_are_patterns():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        for causal in (False, True):
            p = synthetic(kind, 9, causal, rng)
            assert np.allclose(p.sum(-1), 1)
            assert (p[~visible(9, causal)] == 0).all()


def test_a_single_short_text_is_taken_and_says_so():
    r = LIGHT(load(tiny("gpt2")), Text(ids=(5, 6, 7)))
    assert set(r.kind) == {"-"}  # too small to have a kind
    scores = {s.name.split(":")[0]: s for s in r.trust.scores}
    assert scores["previous token"].interval is None
    assert scores["previous token"].n == 1


def test_trained_induction_heads_are_found_and_what_they_are_for_is_lost_without_them():
    """Attention alone, trained to look back: with its induction heads really removed it can no longer repeat."""
    model = xg.load("terrarium/repeats")
    draw = np.random.default_rng(0)
    plain = tuple(Text(ids=tuple(draw.permutation(np.arange(5, 60))[:20].tolist())) for _ in range(4))
    r = HeadTypesStudy(n_repeats=4, repeat_length=12, n_maps=5)(model, plain)
    typed = np.array([t == "induction" for t in r.label])
    assert typed.any()
    assert not typed[:4].any()  # one layer alone cannot do it
    lab = Lab(model)
    ids, start, length = repeated(lab, 4, 12)
    tasks = [
        t for t in tasks_of(lab, [Text(ids=tuple(row)) for row in ids.tolist()], Target()) if t is not None
    ]
    again = torch.arange(start + length, start + 2 * length - 1)
    tasks = [replace(t, rows=again[None], right=t.inputs["input_ids"][0, again + 1]) for t in tasks]
    masks = np.ones((3, 8), bool)
    masks[1, typed] = False
    masks[2, [i for i in range(4, 8) if not typed[i]]] = False  # the other heads of the second layer
    loss, right = (x.mean(1) for x in Removal(lab, heads_of(lab))(tasks, masks))
    assert right[0] > 0.8
    assert right[1] < 0.3
    assert loss[1] > loss[0] + 1
    assert loss[2] < loss[1] - 1


def test_what_is_trained_once_is_what_would_be_trained_again():
    first, again = trained(True, [8, 12], 10, 3), trained(True, [12, 9, 8], 10, 3)
    assert again is first  # of the same sizes
    _trained.cache_clear()
    anew = trained(True, [8, 12], 10, 3)
    maps = describe(
        np.stack([synthetic(k, 10, True, np.random.default_rng(0)) for k in KINDS]), visible(10, True)
    )
    assert anew is not first
    assert anew.score == first.score
    assert np.array_equal(anew(maps), first(maps))
    assert trained(True, [8, 12], 10, 4) is not anew
    assert not np.array_equal(trained(False, [8, 12], 10, 3)(maps), first(maps))
