"""Attention steering against models given an additive attention mask of their own, and against really edited patterns."""

import math

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError
from exegete.core.results.edits import ModelEdit, SiteEdit
from exegete.methods.mechanisms.attention_steering import AttentionSteering
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.terrarium.material import known_facts

FACT = xg.Fact(prompt="mary gave the small dog to", subject="the small dog", answer="him")
ALL = AttentionSteering(n_top=4, n_draws=2, alpha=0.05)


def probability(model, inputs: dict, answer: int) -> float:
    with torch.no_grad():
        return float(model.module(**inputs).logits[0, -1].softmax(-1)[answer])


def additive_mask(pattern_inside: list[int], n: int, alpha: float) -> torch.Tensor:
    """[1, 1, tok, key]: log(alpha) outside of the span for queries that see some of it, minus infinity for later keys."""
    mask = torch.zeros(n, n)
    for q in range(n):
        for k in range(n):
            if k > q:
                mask[q, k] = torch.finfo(torch.float32).min
            elif k not in pattern_inside and min(pattern_inside) <= q:
                mask[q, k] = math.log(alpha)
    return mask[None, None]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_steering_all_heads_is_an_additive_mask(family):
    """Multiplying attention and normalising again is adding log(alpha) to the scores; Transformers takes such a mask."""
    module, tokenizer = tiny(family)
    module.config._attn_implementation = "eager"
    model = load((module, tokenizer))
    heads = module.config.num_attention_heads * module.config.num_hidden_layers
    study = AttentionSteering(n_top=heads, n_draws=1, alpha=0.05)
    item = study.item(Lab(model), FACT)
    every = torch.ones(
        1, module.config.num_hidden_layers, module.config.num_attention_heads, dtype=torch.bool
    )
    p, _ = study._measured(Lab(model), item, every, [item.inside])
    ids, wanted = item.aim.inputs["input_ids"], item.aim.rows[0][0].id
    n = len(item.aim.encoded[0].tokens)
    mask = additive_mask(list(item.inside), n, 0.05)
    with torch.no_grad():
        logits = module(ids[:, :n], attention_mask=mask).logits[0, -1].log_softmax(-1)
        plain = module(ids[:, :n]).logits[0, -1].log_softmax(-1)
    if len(item.aim.rows[0]) == 1:
        assert p[0] == pytest.approx(float(logits[wanted].exp()), rel=1e-3)
    assert float((logits - plain).abs().max()) > 1e-2  # the mask does something
    steered = study._edit(item, {i: every[:, i] for i in range(every.shape[1])}, [item.inside], "")
    got = Lab(model).run({"input_ids": ids[:, :n]}, edit=steered).logits[0, -1].log_softmax(-1)
    assert torch.allclose(got, logits, atol=1e-4)


def test_an_encoder_takes_the_same_mask():
    """A classifier that reads both ways: every query sees the span."""
    module, tokenizer = tiny("bert", "sequence")
    module.config._attn_implementation = "eager"
    model = load((module, tokenizer))
    study = AttentionSteering(alpha=0.05)
    item = study.item(Lab(model), xg.Fact(prompt=FACT.prompt, subject=FACT.subject, answer="positive"))
    ids = item.aim.inputs["input_ids"]
    mask = torch.full((ids.shape[1],) * 2, math.log(0.05))
    mask[:, list(item.inside)] = 0
    with torch.no_grad():
        truth = module(ids, attention_mask=mask[None, None]).logits[0].softmax(-1)
        plain = module(ids).logits[0].softmax(-1)
    every = torch.ones(1, 2, module.config.num_attention_heads, dtype=torch.bool)
    p, said = study._measured(Lab(model), item, torch.cat([every, every]), [item.inside] * 2)
    assert p == pytest.approx([float(truth[2])] * 2, abs=1e-5)
    assert said.tolist() == [int(truth.argmax()) == 2] * 2
    assert abs(float(plain[2]) - p[0]) > 1e-3


def test_each_head_alone_is_a_real_edit():
    """The profile, head by head, with the edit that a user would write."""
    model = load(tiny("gpt2"))
    r = ALL(model, FACT)
    lab, item = Lab(model), ALL.item(Lab(model), FACT)
    base = float(lab.measure(item.aim))
    for layer in range(2):
        for head in range(model.config.n_head):
            site = SiteEdit(
                site=f"{layer}.pattern",
                how="emphasise",
                value=np.array(0.05),
                heads=(head,),
                positions=item.inside,
            )
            edit = ModelEdit(title="", lede="", claim="", sites=(site,), provenance=r.provenance)
            with xg.edited(model, edit):
                gain = float(lab.measure(item.aim)) - base
            assert r.effect[layer, head] == pytest.approx(gain, abs=1e-4)
    assert len(set(r.effect.ravel().round(5))) > 2
    best = np.argsort(-r.effect, axis=None)[: len(r.heads)]
    assert {(int(i) // 4, int(i) % 4) for i in best} == set(r.heads)


def test_a_planted_head_that_reads_the_span_is_found():
    """Only head 2 of layer 1 writes anything: no other head's attention matters."""
    module, tokenizer = tiny("gpt2")
    width = module.config.n_embd // module.config.n_head
    with torch.no_grad():
        for layer, block in enumerate(module.transformer.h):
            keep = block.attn.c_proj.weight[2 * width : 3 * width].clone()
            block.attn.c_proj.weight.zero_()
            if layer == 1:
                block.attn.c_proj.weight[2 * width : 3 * width] = 5 * keep
    r = ALL(load((module, tokenizer)), FACT)
    others = np.delete(r.effect.ravel(), 1 * module.config.n_head + 2)
    assert abs(r.effect[1, 2]) > 1e-3
    assert np.abs(others).max() < 1e-5


def test_clauses_are_heeded(tmp_path):
    """Reviews of two clauses, the weaker emphasised: the classifier turns, for the chosen heads and that span only."""
    model = xg.load("terrarium/sentiment")
    r = AttentionSteering(n_draws=4)(model, known_facts("sequence", 16))
    gain, span, said = r.trust.scores
    assert gain.n == 8
    assert gain.value > 0.3
    assert gain.beats_control
    assert gain.control < 0.5 * gain.value
    assert span.beats_control
    assert said.beats_control
    assert all(c.before < 0.5 for c in r.cases)
    best = max(range(len(r.cases)), key=lambda i: r.cases[i].after)
    again = xg.open(r.save(tmp_path / "s.exg"))
    assert again == r
    case, inputs = r.cases[best], model.tokenizer(r.cases[best].prompt, return_tensors="pt")
    wanted = model.labels.index(case.wanted)
    with torch.no_grad():
        plain = float(model.module(**inputs).logits[0].softmax(-1)[wanted])
        with xg.edited(model, again.only(best)):  # type: ignore[union-attr]
            steered = float(model.module(**inputs).logits[0].softmax(-1)[wanted])
    assert plain == pytest.approx(case.before, abs=1e-5)
    assert steered == pytest.approx(case.after, abs=1e-5)
    assert case.said == (steered > 0.5)


def test_without_emphasis_nothing_is_heeded():
    """The companion: alpha = 1 changes nothing, and the lede says that no control is beaten."""
    r = AttentionSteering(alpha=1.0, n_draws=2)(xg.load("terrarium/sentiment"), known_facts("sequence", 2))
    assert np.allclose(r.effect, 0, atol=1e-5)
    assert r.trust.scores[0].value == pytest.approx(0, abs=1e-5)
    assert "does not stand out" in r.lede


def test_first_choices_are_compared_with_first_choices():
    """A language model's first choice is seldom likelier than one half: that is no measure of what it said before."""
    model = xg.load("terrarium/decoder")
    facts = [f.model_copy(update={"new": ""}) for f in known_facts("causal", 6)]
    r = AttentionSteering(alpha=1.0, n_draws=2)(model, facts)
    said = r.trust.scores[-1]
    lab = Lab(model)
    truth = []
    for f in (f for f in facts if f.prompt in {c.prompt for c in r.cases}):
        aim = lab.aim([f.prompt], xg.Target(label=f.answer, scale="logprob"))
        with torch.no_grad():
            logits = model.module(aim.inputs["input_ids"]).logits[0]
        truth.append(all(int(logits[w.position].argmax()) == w.id for w in aim.rows[0]))
    assert any(truth) and said.value == said.chance == said.control == np.mean(truth)
    assert not said.beats_control and not said.beats_chance


def test_heads_chosen_on_the_text_that_is_scored_are_told_in_the_lede():
    r = ALL(load(tiny("gpt2")), FACT)
    assert "chosen on the very text" in r.lede
    two = ALL(load(tiny("gpt2")), [FACT, FACT.model_copy(update={"prompt": "mary saw the small dog near"})])
    assert "chosen on the very text" not in two.lede


def test_a_stated_fact_is_emphasised_in_a_text_of_its_own():
    model = load(tiny("gpt2"))
    fact = xg.Fact(prompt="mary went to the", subject="mary", answer="river", new="mat")
    item = ALL.item(Lab(model), fact)
    assert item.prompt == "mary went to the mat. mary went to the"
    tokens = item.aim.encoded[0].tokens
    assert item.span == "mary went to the mat"
    assert item.prompt[tokens[item.inside[0]].start : tokens[item.inside[-1]].end].strip() == item.span
    assert item.aim.answers[0].strip() == "mat"


def test_on_the_command_line(tmp_path, capsys):
    from exegete.cli.main import dispatch

    text, span = "the food was bad but the staff were wonderful", "the food was bad"
    path = tmp_path / "s.exg"
    args = ["--method", "attention_steering", "--subject", span, "--target", "negative", "--n-draws", "2"]
    assert dispatch(["edit", text, *args, "--out", str(path)]) == 0
    assert "the very text that is scored" in " ".join(capsys.readouterr().out.split())
    assert dispatch(["apply", str(path)]) == 0
    assert "to the bit" in capsys.readouterr().out


def test_letters():
    model = load(tiny("gpt2"))
    with pytest.raises(InputError, match="all of the text"):
        ALL(model, xg.Fact(prompt="the dog", subject="the dog", answer="him"))
    with pytest.raises(InputError, match="no part of the text"):
        AttentionSteering(statement="{prompt} {new}", template="{prompt}")(
            model, xg.Fact(prompt="the dog saw", subject="dog", answer="him", new="her")
        )
    r = ALL(model, [FACT, FACT, xg.Fact(prompt="the dog", subject="the dog", answer="him")])
    assert r.trust.scores[0].n_failed == 1
    assert any("all of the text" in note for note in r.trust.notes)
