"""Summaries of planted units and of a classifier's outputs whose words are known; readings by hand; a language model's bad answers."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import UsageError
from exegete.core.request import Text
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.methods.neurons.black_boxes import outputs_box, units_box
from exegete.methods.neurons.chat_writer import ChatWriter
from exegete.methods.neurons.summarize_and_score import SummarizeAndScore
from exegete.methods.neurons.unit_texts import Unit
from exegete.models.chat.scripted import Line, ScriptedChat
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import Model
from exegete.models.randomise import Randomiser
from exegete.models.tiny import tiny
from exegete.ops.ngram_summary import Candidate
from exegete.terrarium.lexicon import polarity
from exegete.terrarium.material import texts as sentences

NAMES = ("john", "mary")
WORDS = ("cat", "river", "the", "was", "on", "this", "and", "ink")


def texts(n: int = 80) -> list[str]:
    """A third of the texts hold either name."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        row = ["we", *rng.choice(WORDS, 4)]
        if i % 3 < 2:
            row[int(rng.integers(1, 5))] = NAMES[i % 3]
        rows.append(" ".join(row))
    return rows


def planted() -> Model:
    """Units 3 and 5 of layer 0 fire on one name each: their keys are what its embedding is after the norm."""
    model = load(tiny("gpt2"))
    module: Any = model.module
    block = module.transformer.h[0]
    with torch.no_grad():
        for p in (*block.attn.parameters(), module.transformer.wpe.weight):
            p.zero_()
        for unit, name in zip((3, 5), NAMES):
            (token,) = model.tokenizer(f" {name}")["input_ids"]
            key = block.ln_2(module.transformer.wte.weight[token])
            block.mlp.c_fc.weight[:, unit] = key
            block.mlp.c_fc.bias[unit] = -0.9 * key @ key
    return model


def test_planted_units_are_summed_up_by_their_word_and_beat_both_controls():
    found = SummarizeAndScore(layers=(0,), units=(3, 5))(planted(), texts())
    for m, name in zip(found.modules, NAMES):
        assert m.words == f"the word {name!r}"
        assert m.n_grams[0] == name
        assert m.score > 1.5
        assert m.swapped < 0.2
        assert all(name in t.words for t in m.plus)
        assert not any(name in t.words for t in m.minus)
        assert sum(c.best for c in m.candidates) == 1
    assert all(s.beats_chance and s.beats_control for s in found.trust.scores)


def test_without_the_planted_keys_the_names_are_not_found():
    found = SummarizeAndScore(layers=(0,), units=(3, 5))(load(tiny("gpt2")), texts())
    assert [m.words for m in found.modules] != [f"the word {n!r}" for n in NAMES]


def by_polarity(found: Any, name: str) -> tuple[int, int]:
    """Words of the class's own polarity and of the other among its highest n-grams."""
    module = next(m for m in found.modules if m.name == name)
    told = [polarity(w) for g in module.n_grams for w in g.split()]
    sign = 1 if name == "class positive" else -1
    return sum(s == sign for s in told), sum(s == -sign for s in told)


def test_classes_of_a_classifier_are_summed_up_by_words_of_their_polarity():
    """Whatever the draw: no seed is chosen, and the bar is what the study's own controls reach. (Scores of single draws spread from
    0.2 to 1.2, since few held-out texts hold the words.)
    """
    model, said = load("terrarium/sentiment"), sentences("sequence", 400)
    runs = [SummarizeAndScore(site="output", longest=1, n_random=1, seed=s)(model, said) for s in range(2)]
    both = ("class positive", "class negative")
    for found in runs:
        for name in both:
            own, other = by_polarity(found, name)
            assert own > 5 * other
    told = [m for found in runs for m in found.modules if m.name in both]
    scores, random, swapped = (
        np.array([getattr(m, f) for m in told]) for f in ("score", "random", "swapped")
    )
    assert (swapped < 0).all()  # what raises the one class lowers the other
    assert scores.mean() > 0.3 > random.mean()  # of a score that can be 0.2 in one draw and 1.2 in another
    blind = SummarizeAndScore(site="output", longest=1, n_random=1)(Randomiser(0)(model), said[:100])
    assert any(by_polarity(blind, name)[0] <= 2 * by_polarity(blind, name)[1] + 2 for name in both)


def test_units_of_a_batch_are_what_one_text_alone_gives():
    model = load(tiny("gpt2"))
    unit = Unit(Site.parse("1.mlp_act"), 7)
    given = [" john was on the river", "we", " this cat and the ink"]
    for pool, how in (("max", np.max), ("mean", np.mean), ("last", lambda x: x[-1])):
        got = units_box(Lab(model), [unit], pool)(given)[:, 0]
        for text, value in zip(given, got):
            lab = Lab(model)
            trace = lab.run(lab.passed(lab.read([text])), read=[unit.site])
            assert value == pytest.approx(how(trace[unit.site][0, :, 7].numpy()), abs=1e-5)


def test_outputs_of_a_batch_are_the_logits_at_the_end_and_unreadable_texts_are_nan():
    model = load(tiny("gpt2"))
    given = ["we", "", " john was on the river"]
    got = outputs_box(Lab(model), [Target(kind="next", label=" the", scale="logit")])(given)[:, 0]
    assert np.isnan(got[1])
    (token,) = model.tokenizer(" the")["input_ids"]
    for i in (0, 2):
        ids = torch.tensor([model.tokenizer(given[i])["input_ids"]])
        with torch.no_grad():
            assert got[i] == pytest.approx(float(model.module(ids).logits[0, -1, token]), abs=1e-4)


def test_a_language_model_is_asked_for_one_token():
    with pytest.raises(UsageError, match="One output is explained"):
        SummarizeAndScore(site="output")(load(tiny("gpt2")), texts(8))
    found = SummarizeAndScore(site="output", k=4)(load(tiny("gpt2")), texts(30), " the")
    assert len(found.modules) == 1
    assert found.trust.scores[1].skipped


def test_a_language_model_that_writes_finds_the_planted_unit_and_its_bad_answers_are_counted(tmp_path):
    fits = "\n".join(f"{i}. we {w} john" for i, w in enumerate(WORDS, 1))
    others = "\n".join(f"{i}. we {w} this" for i, w in enumerate(WORDS, 1))
    script = [
        {"when": "What is common", "say": "1. men called john\n2. rivers"},
        {"when": "about this theme: men", "say": fits},
        {"when": "nothing to do with this theme: men", "say": others},
        {"when": "about this theme: any", "say": others},
        {"when": "nothing to do with this theme: any", "say": fits.replace("john", "cat")},
        {"when": "theme: rivers", "say": ""},
    ]
    path = tmp_path / "script.jsonl"
    path.write_text("\n".join(map(json.dumps, script)))
    study = SummarizeAndScore(layers=(0,), units=(3,), writer=f"script:{path}", n_written=8)
    m = (found := study(planted(), texts())).modules[0]
    assert m.words == "men called john"
    assert [c.words for c in m.candidates] == ["men called john"]
    assert m.score > 1.5
    assert abs(m.random) < 0.5
    assert found.n_unused == 2  # both lists about rivers


def test_texts_that_were_summed_up_do_not_judge():
    said = "\n".join(f"- text {i}" for i in range(8))
    other = "\n".join(f"- other {i}" for i in range(8))
    lines = [Line(said, "clearly about"), Line(other, "nothing to do")]
    free = ChatWriter(ScriptedChat(lines), ()).sides(Candidate((), "x"))
    assert free is not None
    assert "text 0" in free[0][0]
    held = ChatWriter(ScriptedChat(lines), ("text 0", "other 5")).sides(Candidate((), "x"))
    assert held is not None
    read = {t for half in held for side in half for t in side}
    assert not read & {"text 0", "other 5"}
    assert len(read) == 14


def test_the_last_sentence_of_a_cut_answer_is_left_out_also_where_enough_were_begun():
    said = "\n".join(f"{i}. text {i}" for i in range(1, 9))
    chat = ScriptedChat([Line(said, finish="length"), Line(said), Line(said + "\n9. text", finish="length")])
    writer = ChatWriter(chat, (), 8)
    assert [len(writer._list("more", 8)) for _ in range(3)] == [7, 8, 8]


def test_too_few_texts_say_so():
    found = SummarizeAndScore(n_shown=2)(load(tiny("gpt2")), [Text(text="we saw john"), Text(text="the cat")])
    assert found.trust.scores[0].n_failed == 2
    assert "Give more texts" in found.lede
