"""Sub-updates: shares against the decomposition of logits and real runs, planted units, interventions by hand."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import SiteError, TargetError
from exegete.methods.mechanisms import sub_updates
from exegete.methods.mechanisms.ffn_values import FfnValues
from exegete.models import norms
from exegete.models.capture import run
from exegete.models.decompose import decompose
from exegete.models.edit import Set
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import FAMILIES, tasks, tiny
from exegete.terrarium import material

IDS = xg.Text(ids=(10, 20, 30, 40, 50))
LIGHT = FfnValues(n_random=4, n_top=3, n_units=2, n_draws=2)
KINDS = ("gpt2", "llama", "gemma2", "gpt_neox", "bloom", "bert", "granite", "t5", "bart", "opt")


def asked(family):
    task = next(t for t in ("causal", "masked", "seq2seq") if t in tasks(family))
    model = load(tiny(family, task))
    blank = f" {model.tokenizer.mask_token}" if task == "masked" else ""
    return model, f"the small dog{blank} saw a bird"


def surveyed(family, target=None):
    model, text = asked(family)
    lab = Lab(model)
    aim = sub_updates.aimed(lab, text, xg.Target.of(target))
    return lab, aim, sub_updates.survey(lab, aim)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "mixtral"])
def test_shares_are_those_of_the_decomposition_of_the_logit_and_sub_updates_sum(family):
    with torch.no_grad():
        lab, aim, s = surveyed(family)
        ids = torch.tensor([[s.id], [s.rival], [7], [9]])
        truth = decompose(lab, aim, ids, units=4).units
        seen = s.seen([7, 9])
        values = {n: s.parts[n].weight[:3] for n in seen}
        words = s.way.logits(values)
    assert s.gap < 1e-4
    assert set(truth) == set(seen)
    for layer, (mine, rival, rest) in seen.items():
        every = torch.stack([mine, rival, *rest])
        assert torch.allclose(every * s.act[layer], truth[layer][:, 0], atol=1e-5), layer
        assert torch.allclose(words[layer][:, ids[:, 0]], every[:, :3].T, atol=1e-5), layer


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_share_is_what_the_logit_loses_without_the_unit_at_the_same_scale_of_the_final_norm(family):
    model = load(tiny(family))
    lab = Lab(model)
    with torch.no_grad():
        s = sub_updates.survey(lab, sub_updates.aimed(lab, IDS, xg.Target(label=60)))
        inputs, site = {"input_ids": torch.tensor([IDS.ids])}, s.parts[1].act
        seen = run(model, inputs, read=["final_in"])
        frozen = norms.freeze(model.map.at(model.map.tower().norm), seen["final_in"])
        shares = s.act[1] * s.seen([1, 2])[1][0]
        for unit in (0, 5, 17):
            cut = run(model, inputs, read=["final_in"], edit={site: Set(0.0, units=[unit], positions=[-1])})
            lost = model.module.lm_head(frozen(seen["final_in"]) - frozen(cut["final_in"]))[0, -1, 60]
            assert float(shares[unit]) == pytest.approx(float(lost), abs=1e-5)


def test_a_wrong_value_matrix_is_noticed(monkeypatch):
    """The self-check can fail: one entry of a bias off by a tenth."""
    model = load(tiny("gpt2"))
    assert LIGHT(model, IDS).checks[1].passed
    right = sub_updates.FeedForward.bias.fget
    monkeypatch.setattr(sub_updates.FeedForward, "bias", property(lambda self: right(self) + 0.1))
    assert not LIGHT(model, IDS).checks[1].passed


def test_half_precision_is_held_to_its_own_rounding():
    module, tokenizer = tiny("llama")
    model = load((module.to(torch.bfloat16), tokenizer))
    found = LIGHT(model, IDS).checks[1]
    assert found.passed
    assert found.value > 1e-4


def planted():
    """Layer 1's unit 9 is always on and writes token 60's row; the answer is token 60."""
    module, tokenizer = tiny("gpt2")
    mlp = module.transformer.h[1].mlp
    with torch.no_grad():
        mlp.c_fc.weight[:, 9] = 0.0
        mlp.c_fc.bias[9] = 4.0
        mlp.c_proj.weight[9] = module.lm_head.weight[60]
    return load((module, tokenizer))


def test_a_planted_unit_is_listed_first_with_its_word_and_without_it_the_answer_is_lost():
    model = planted()
    study = FfnValues(n_random=20, n_top=3, n_units=1, n_draws=4)
    r = study(model, IDS)
    assert r.answers == (model.tokenizer.decode([60]),)
    best = r.units[0]
    assert (best.layer, best.unit, best.rank) == (1, 9, 0)
    assert best.up[0] == model.tokenizer.decode([60])
    assert best.coefficient == pytest.approx(4.0, abs=1e-3)
    assert all(s.beats_chance is not False for s in r.trust.scores[:2])
    assert r.trust.scores[1].beats_control
    with torch.no_grad():  # switched off by hand

        def off(_module, args):
            x = args[0].clone()
            x[:, -1, 9] = 0.0
            return (x,)

        logp = model.module(torch.tensor([IDS.ids])).logits[0, -1].log_softmax(-1)[60]
        handle = model.module.transformer.h[1].mlp.c_proj.register_forward_pre_hook(off)
        gone = model.module(torch.tensor([IDS.ids])).logits[0, -1].log_softmax(-1)[60]
        handle.remove()
    assert r.lost[1] == pytest.approx(float(logp - gone), abs=1e-5)
    assert r.lost[1] > 10 * np.abs(r.lost_random[1]).max()
    plain = study(load(tiny("gpt2")), IDS, xg.Target(label=60))  # nothing planted: nothing found
    assert (plain.units[0].layer, plain.units[0].unit) != (1, 9)


@pytest.mark.parametrize("family", KINDS)
def test_changed_coefficients_are_real_runs(family):
    """Running on from a layer gives what the whole model gives with the same units set."""
    with torch.no_grad():
        lab, aim, s = surveyed(family)
        for layer, part in s.parts.items():
            new = torch.stack([s.act[layer], s.act[layer].flip(0)])
            got = s.changed(layer, new)
            assert got[0] == pytest.approx(s.values, abs=1e-5)
            edit = {part.act: Set(new[1], positions=[s.position])}
            logits = run(lab.model, dict(aim.inputs), edit=edit).logits[0, s.position].log_softmax(-1)
            assert got[1] == pytest.approx([float(logits[s.id]), float(logits[s.rival])], abs=1e-5)
            assert np.abs(got[1] - got[0]).max() > 1e-3


def test_values_that_promote_the_rival_steer_towards_it():
    """Layer 1's unit 3 is off and would write token 70's row: turning it on helps token 70, and no random unit does as much."""
    module, tokenizer = tiny("gpt2")
    mlp = module.transformer.h[1].mlp
    with torch.no_grad():
        mlp.c_fc.weight[:, 3], mlp.c_fc.bias[3] = 0.0, -30.0
        mlp.c_proj.weight[3] = 2 * module.lm_head.weight[70]
    model = load((module, tokenizer))
    target = xg.Target(kind="next", label=60, against=70)
    r = FfnValues(n_random=20, n_units=1, n_draws=8)(model, IDS, target)
    assert r.rivals == (tokenizer.decode([70]),)
    assert r.gained[1] > r.gained_random[1].max()
    assert r.trust.scores[2].beats_control


def test_texts_are_averaged_and_a_foil_is_a_difference():
    model = xg.load("terrarium/decoder")
    texts = [p.clean for p in material.pairs("causal", 3)]
    target = xg.Target(label="hugo", against="emma")
    together, alone = LIGHT(model, texts, target), [LIGHT(model, t, target) for t in texts]
    assert np.allclose(together.promotion, np.mean([a.promotion for a in alone], 0), atol=1e-4)
    one, foil = (LIGHT(model, texts, xg.Target(label=w)) for w in ("hugo", "emma"))
    net = [r.promotion + r.elimination for r in (together, one, foil)]
    assert np.allclose(net[0], net[1] - net[2], atol=1e-4)
    assert together.trust.scores[1].interval is not None
    assert together.trust.scores[1].n == 3


def test_the_largest_share_is_scored_where_larger_ones_eliminate():
    model = load(tiny("gpt2", seed=1))
    few, all_ = (
        FfnValues(n_top=n, n_draws=1, n_random=4)(model, "the small dog saw a bird") for n in (1, 1000)
    )
    assert min(u.share for u in all_.units) < -max(u.share for u in all_.units)  # or nothing is tested
    assert few.trust.scores[0] == all_.trust.scores[0]
    assert len(few.units) == 1 and few.trust.scores[0].value > 0


def test_chance_takes_the_largest_mean_as_the_score_does():
    """The mean of each text's largest share is larger: no unit could beat it over many texts."""
    model, texts = load(tiny("gpt2")), [xg.Text(ids=(10 + i, 20, 30 + i)) for i in range(4)]
    study = FfnValues(n_draws=1, n_random=6)
    score = study(model, texts).trust.scores[0]
    lab = Lab(model)
    drawn = lab.rng("tokens").integers(0, model.vocabulary, 6).tolist()
    with torch.no_grad():
        surveys = [sub_updates.survey(lab, sub_updates.aimed(lab, t, xg.Target())) for t in texts]
        shares = [[s.act[n] * s.seen(drawn)[n][2] for n in sorted(s.parts)] for s in surveys]
        means = [sum(text[n] for text in shares) / 4 for n in range(2)]
        each = [torch.stack([x.max(1).values for x in text]).max(0).values for text in shares]
    assert score.chance == pytest.approx(
        float(torch.stack([m.max(1).values for m in means]).max(0).values.mean()), rel=1e-4
    )
    assert float(torch.stack(each).mean()) > 1.1 * score.chance


def test_what_cannot_be_done_is_refused_with_a_letter():
    with pytest.raises(SiteError):
        LIGHT(load(tiny("mixtral")), IDS)
    model = xg.load("terrarium/decoder")
    with pytest.raises(TargetError, match="added to logits"):
        LIGHT(model, "the dog", xg.Target(label="sees", scale="prob"))
    with pytest.raises(TargetError, match="several tokens"):
        LIGHT(model, "the dog", xg.Target(kind="continuation", label="sees the bird"))
