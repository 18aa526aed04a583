"""Knowledge neurons: completeness and finite differences, planted units, and what the model says with units really off."""

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError
from exegete.methods.mechanisms.knowledge_neurons import KnowledgeNeuronStudy
from exegete.methods.mechanisms.unit_attribution import attribute, switched
from exegete.models.bare import bare_gpt2
from exegete.models.capture import run
from exegete.models.edit import Scale, Set
from exegete.models.feedforward import feed_forward, layers_with_units
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.rewrite import edited
from exegete.models.tiny import tiny
from exegete.terrarium.material import known_facts

WORDS = ("truly", "now", "ann", "bob", "lee", "likes", "enjoys", "tea", "milk", "rye")


def asked(family, scale="prob"):
    model = load(tiny(family))
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    texts = ["the small dog saw" + mask, "mary went to the river and" + mask]
    lab = Lab(model)
    parts = {i: feed_forward(model.map, i) for i in layers_with_units(model.map)}
    return lab, lab.aim(texts, xg.Target(label="a", scale=scale)), parts


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "bert", "t5", "gemma2"])
def test_a_layers_attributions_sum_to_what_its_units_do(family):
    """P less P of a real pass with all units of the layer off at that token; a wrong number of steps would not sum."""
    lab, aims, parts = asked(family)
    aim = aims.only(0)
    found, rough = attribute(lab, aim, parts, 300), attribute(lab, aim, parts, 1)
    at, gaps = aim.rows[0][0].position, []
    for n, part in parts.items():
        off = run(lab.model, aim.inputs, edit={part.act: Set(0.0, positions=at)})
        without = float(aim.measure(off.logits)[0])
        gaps.append(abs(found.units[n].sum() - (found.said - without)) / max(found.said, without))
        assert abs(found.said - without) > 1e-3 * found.said
    assert found.gap == pytest.approx(max(gaps), abs=1e-5)
    # where the part's own output is normed the slope near zero is too steep for 300 steps
    assert found.gap < (0.3 if family == "gemma2" else 2e-3)
    assert rough.gap > found.gap


def test_each_attribution_is_its_finite_difference():
    module, tokenizer = tiny("gpt2")
    model = load((module.double(), tokenizer))
    lab, part = Lab(model), feed_forward(model.map, 1)
    aim = lab.aim(["the small dog saw"], xg.Target(label="a", scale="prob"))
    found = attribute(lab, aim, {1: part}, 4).units[1]
    at = aim.rows[0][0].position
    full = run(model, aim.inputs, read=[part.act])[part.act][:, at]

    def said(x) -> float:
        return float(
            aim.measure(run(model, aim.inputs, edit={part.act: Set(x[:, None], positions=[at])}).logits)[0]
        )

    for unit in np.argsort(-np.abs(found))[:3]:
        step = torch.zeros_like(full)
        step[0, unit] = 1e-4
        slopes = [
            (said(a * full + step) - said(a * full - step)) / 2e-4 for a in (0.125, 0.375, 0.625, 0.875)
        ]
        assert found[unit] == pytest.approx(float(full[0, unit]) * np.mean(slopes), rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_switching_is_one_plain_pass_a_set_and_wording(family):
    lab, aims, parts = asked(family, "logprob")
    sets = [((), 1.0), (((0, 3), (1, 5), (1, 7)), 0.0), (((1, 2),), 2.0)]
    found = switched(lab, aims, parts, sets)
    for i, (units, by) in enumerate(sets):
        edit = {parts[n].act: Scale(by, units=[u for m, u in units if m == n]) for n in {m for m, _ in units}}
        for j in range(2):
            aim = aims.only(j)
            p = float(aim.measure(run(lab.model, aim.inputs, edit=edit).logits.double())[0].exp())
            assert found[i, j] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
    assert abs(found[1] - found[0]).max() > 1e-3


# ---- planted units -------------------------------------------------------------------------------------------------------


def planted():
    """Attention of layer 0 brings the name to the last token; unit j of layer 1 says what name j likes, unit 3 says tea too,
    but only where "enjoys" is read.
    """
    module, tokenizer = bare_gpt2(WORDS, layers=2, heads=1, width=24, inner=6, positions=16)
    at = {w: i for i, w in enumerate(("<s>", "<pad>", *WORDS))}
    gpt, copied = module.transformer, {"ann": 12, "bob": 13, "lee": 14}
    with torch.no_grad():
        gpt.wte.weight[:, : len(at)] = torch.eye(len(at))
        gpt.h[0].attn.c_proj.weight.copy_(torch.eye(24))
        mlp = gpt.h[1].mlp
        for j, (name, answer) in enumerate((("ann", "tea"), ("bob", "milk"), ("lee", "rye"))):
            gpt.h[0].attn.c_attn.weight[at[name], 48 + copied[name]] = 4.0
            mlp.c_fc.weight[copied[name], j] = 1.0
            mlp.c_proj.weight[j, 15 + j] = 5.0
            module.lm_head.weight[at[answer], 15 + j] = 1.0
        mlp.c_fc.weight[at["enjoys"], 3] = 1.0
        mlp.c_proj.weight[3, 15] = 5.0
    return load((module, tokenizer))


def liking() -> list[xg.Fact]:
    likes = (("ann", "tea"), ("bob", "milk"), ("lee", "rye"))
    return [
        xg.Fact(
            prompt=f"{s} likes", subject=s, answer=a, paraphrases=(f"truly {s} likes", f"now {s} enjoys", f"truly {s} enjoys")
        )
        for s, a in likes
    ]  # fmt: skip


def test_planted_units_are_found_and_units_of_one_wording_are_not():
    r = KnowledgeNeuronStudy()(planted(), liking())
    assert [c.units for c in r.cases] == [((1, 0),), ((1, 1),), ((1, 2),)]
    assert r.per_layer.tolist() == [0, 3]
    assert all(c.apart for c in r.cases)
    by_name = {s.name: s for s in r.trust.scores}
    lost = by_name["log-odds of the answer lost with its neurons suppressed"]
    assert lost.beats_control
    assert lost.value > 4
    assert by_name["log-odds of the answer gained with its neurons doubled"].beats_control
    # the wording of ann's second finding prompt uses unit 3, which no other does
    loose = KnowledgeNeuronStudy(share=0.5)(planted(), liking())
    assert (1, 3) in loose.cases[0].units


def test_a_fact_with_the_same_answer_is_no_control():
    """Ann and mary both like tea: units that say tea move both, so bob is asked about ann's units."""
    facts = liking()
    same = facts[0].model_copy(
        update={"prompt": "truly lee likes", "subject": "lee", "paraphrases": ("now lee likes",)}
    )
    study = KnowledgeNeuronStudy(known_only=False, n_steps=4, n_draws=2)
    model = planted()
    r = study(model, [facts[0], same, facts[1]])
    alone = study(model, [facts[0], facts[1]])
    assert np.array_equal(r.cases[0].other, alone.cases[0].other)
    assert np.isnan(study(model, [facts[0], same]).cases[0].other).all()


def test_an_answer_of_probability_zero_has_nothing_to_attribute():
    module, tokenizer = tiny("gpt2")
    with torch.no_grad():
        module.lm_head.weight.mul_(1e4)
    model = load((module, tokenizer))
    facts = xg.Fact(prompt="the small dog saw a", subject="dog", answer="bird", paraphrases=("a dog saw a",))
    r = KnowledgeNeuronStudy(known_only=False, n_steps=2, n_draws=2)(model, facts)
    assert not any("nan" in note for note in r.trust.notes)


def test_the_edit_switches_the_fact_off():
    model, facts = planted(), liking()
    r = KnowledgeNeuronStudy()(model, facts)
    lab = Lab(model)
    for i, (fact, case) in enumerate(zip(facts, r.cases)):
        aim = lab.aim(case.tested, xg.Target(label=fact.answer, scale="logprob"))
        parts = {0: feed_forward(model.map, 0)}
        before = switched(lab, aim, parts, [((), 1.0)]).mean()
        with edited(model, r.only(i)):
            after = switched(lab, aim, parts, [((), 1.0)]).mean()
        assert (before, after) == pytest.approx((case.odds[0], case.odds[1]), abs=1e-4)
        assert after < before - 4


# ---- the terrarium, and letters ------------------------------------------------------------------------------------------


def test_terrarium_neurons_are_held_out_and_beat_random_units_and_other_facts():
    model, facts = xg.load("terrarium/decoder"), known_facts("causal", 8)
    r = KnowledgeNeuronStudy(n_steps=8, n_draws=4)(model, facts)
    suppressed = [s for s in r.trust.scores if "suppressed" in s.name]
    assert len(suppressed) == 2
    for s in suppressed:
        assert s.beats_control, s.name
        assert s.interval[0] > 2 * abs(s.control)
    doubled = next(s for s in r.trust.scores if "doubled" in s.name)
    assert doubled.beats_control or doubled.name in r.lede  # said in words where it is not beaten
    wrong = [f.model_copy(update={"answer": "lamps", "paraphrases": ()}) for f in facts[:2]]
    with pytest.raises(InputError, match="None of them can be asked"):
        KnowledgeNeuronStudy(n_steps=1)(model, wrong)
    some = KnowledgeNeuronStudy(n_steps=2, n_draws=1)(model, [wrong[0], facts[1]])
    assert {s.n_failed for s in some.trust.scores} == {1}
