"""Keys: a planted trigger and value are found first, triggers are those of reading everything, controls do not agree."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError, ModelError, SiteError
from exegete.methods.mechanisms.ffn_keys import FfnKeys
from exegete.models.load import load
from exegete.models.tiny import tiny

ALL = FfnKeys(n_units=64, n_triggers=4, n_top=3, n_draws=5)
TRIGGER, SAID = 50, 60


def texts(n=12, after=SAID, seed=0):
    """Random ids of uneven lengths; the trigger is always followed by `after` (by anything where that is None)."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(n):
        ids = draw.integers(100, 160, 5 + i % 4).tolist()
        at = int(draw.integers(1, len(ids) - 1))
        ids[at : at + 2] = [TRIGGER, after if after is not None else int(draw.integers(100, 160))]
        found.append(xg.Text(ids=tuple(ids)))
    return found


def planted():
    """Unit 9 of layer 0 fires on the trigger's embedding and writes the row of the token said."""
    module, tokenizer = tiny("gpt2")
    gpt, block = module.transformer, module.transformer.h[0]
    with torch.no_grad():
        gpt.wpe.weight.zero_()
        block.attn.c_proj.weight.zero_(), block.attn.c_proj.bias.zero_()
        normed = block.ln_2(gpt.wte.weight)
        key = normed[TRIGGER] / normed[TRIGGER].norm()
        hits = normed @ key
        block.mlp.c_fc.weight[:, 9] = 4 * key
        others = torch.cat([hits[:TRIGGER], hits[TRIGGER + 1 :]]).max()
        block.mlp.c_fc.bias[9] = -2 * (hits[TRIGGER] + others)
        block.mlp.c_proj.weight[9] = module.lm_head.weight[SAID]
    return load((module, tokenizer))


def test_a_planted_key_and_value_are_found_first():
    model = planted()
    word = model.tokenizer.decode
    r = ALL(model, texts())
    best = r.keys[0]
    assert (best.layer, best.unit) == (0, 9)
    assert best.shared == word([TRIGGER])
    assert best.share == best.agreement == 1
    assert best.up[0] == word([SAID])
    assert set(best.nexts) == {word([SAID])}
    assert all(t.endswith(word([TRIGGER])) for t in best.triggers)


def test_what_is_not_planted_is_not_found():
    """The same key with another value, and the same unit where the texts go on otherwise: no agreement."""
    model = planted()
    with torch.no_grad():
        model.module.transformer.h[0].mlp.c_proj.weight[9] = model.module.lm_head.weight[61]
    for found in (ALL(model, texts()), ALL(planted(), texts(after=None))):
        assert not any((k.layer, k.unit) == (0, 9) and k.agreement > 0.5 for k in found.keys)


def brute(model, given, layer, units, t):
    """Each text alone, read by the bare model; triggers by sorting everything, each prefix once."""
    block = model.module.transformer.h[layer] if model.family == "gpt2" else model.module.model.layers[layer]
    proj = block.mlp.c_proj if model.family == "gpt2" else block.mlp.down_proj
    every, seen = [], set()
    for i, text in enumerate(given):
        kept = []
        handle = proj.register_forward_pre_hook(lambda _m, a, kept=kept: kept.append(a[0][0].clone()))
        with torch.no_grad():
            model.module(torch.tensor([text.ids]))
        handle.remove()
        special = set(model.tokenizer.all_special_ids)
        for p in range(len(text.ids) - 1):
            if text.ids[: p + 1] not in seen and text.ids[p] not in special:
                every.append((i, p, kept[0][p, units].numpy()))
            seen.add(text.ids[: p + 1])
    acts = np.stack([e[2] for e in every])
    order = np.argsort(-np.abs(acts), axis=0, kind="stable")[:t].T
    return [[(every[j][0], every[j][1], float(acts[j, u])) for j in row] for u, row in enumerate(order)]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_triggers_agreement_and_shares_are_those_of_reading_everything(family):
    model = load(tiny(family))
    given = [*texts(10), texts(1)[0]]  # the first text twice
    model.token_budget = 40
    r = FfnKeys(n_units=500, n_triggers=4, n_top=1000, n_draws=2)(model, given)
    truth = {n: brute(model, given, n, list(range(r.n_units)), 4) for n in r.layers}
    agreement, last = {n: [] for n in r.layers}, {n: [] for n in r.layers}
    top = values_of(model)
    for k in r.keys:
        mine = truth[k.layer][k.unit]
        assert k.coefficients == pytest.approx([v for _, _, v in mine[:3]], abs=1e-5)
        nexts = [given[i].ids[p + 1] for i, p, _ in mine]
        assert k.nexts == tuple(model.tokenizer.decode([j]) for j in nexts[:3])
        said = [top(k.layer, k.unit, v) for _, _, v in mine]
        assert k.agreement == pytest.approx(np.mean([a == b for a, b in zip(said, nexts)]))
        ends = [given[i].ids[p] for i, p, _ in mine]
        assert k.share == pytest.approx(max(ends.count(e) for e in ends) / 4)
        agreement[k.layer].append(k.agreement), last[k.layer].append(k.share)
    assert len(r.keys) == r.n_units * 2
    assert np.allclose(r.agreement, [np.mean(agreement[n]) for n in r.layers])
    assert np.allclose(r.last, [np.mean(last[n]) for n in r.layers])


def values_of(model):
    """The token that sign(m) times a value pushes up most, from raw weights (gain and centring of the final norm alone)."""
    module = model.module
    if model.family == "gpt2":
        norm, blocks = module.transformer.ln_f, module.transformer.h
        rows = [b.mlp.c_proj.weight for b in blocks]
        rows = [w - w.mean(1, keepdim=True) for w in rows]
    else:
        norm, rows = module.model.norm, [b.mlp.down_proj.weight.T for b in module.model.layers]
    logits = [(w * norm.weight) @ module.lm_head.weight.T for w in rows]
    return lambda layer, unit, v: int((np.sign(v) * logits[layer][unit]).argmax())


def test_random_texts_on_a_random_model_do_not_beat_the_control():
    r = FfnKeys(n_units=64, n_triggers=4, n_draws=20)(load(tiny("llama")), texts(30, after=None))
    assert not r.trust.scores[0].beats_control
    assert "no more often than other units' values" in r.lede


def test_a_trained_model_beats_its_controls():
    """The terrarium's decoder on its own sentences: values say what comes next, keys share their last token."""
    r = xg.study(xg.load("terrarium/decoder"), FfnKeys(n_units=32))
    assert all(s.beats_control for s in r.trust.scores[:2])
    assert r.agreement.mean() > 5 * r.agreement_random.mean()


def test_silent_units_are_counted_as_failed():
    module, tokenizer = tiny("opt")  # rectified units
    with torch.no_grad():
        module.model.decoder.layers[0].fc1.bias[:7] = -1e4
    r = ALL(load((module, tokenizer)), texts())
    assert r.silent >= 7
    score = r.trust.scores[0]
    assert score.n_failed == r.silent and score.n + score.n_failed == 2 * 64


def test_where_nothing_can_be_shared_the_lede_has_no_figure():
    """One place only: no unit has two triggers."""
    r = ALL(load(tiny("gpt2")), xg.Text(ids=(50, 60)))
    last = r.trust.scores[1]
    assert last.n == 0 and last.control is None and "enough" in last.skipped
    assert "nan" not in r.lede and "two triggers" in r.lede


def test_what_cannot_be_read_is_refused_with_a_letter():
    with pytest.raises(SiteError):
        ALL(load(tiny("mixtral")), texts())
    with pytest.raises(ModelError, match="causal"):
        ALL(load(tiny("bert")), texts())
    with pytest.raises(InputError, match="longer texts"):
        ALL(load(tiny("gpt2")), xg.Text(ids=(50,)))
