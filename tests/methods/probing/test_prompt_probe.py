"""Prompt probe: probabilities against a slow twin, a planted model that a prompt can and cannot ask, calibration, and letters."""

import math
import warnings
from string import ascii_letters

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, UsageError
from exegete.core.material import Mark, Marked
from exegete.core.target import Target
from exegete.methods.probing.prompt_probe import SILENT, PromptProbe
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted_bigram import bigram

# what is asked of the planted model hangs on the last word alone, so the text comes last in its prompts
FOLLOWS = {
    "mary": {"was": 0.6, "and": 0.2},
    "john": {"was": 0.3, "and": 0.4},
    "the": {"was": 0.6, "and": 0.1},
    "a": {"was": 0.4, "and": 0.2},
}
TEXTS = (
    tuple(Marked.of(w, label) for w, label in (("mary", "x"), ("john", "y"), ("the", "x"), ("a", "y"))) * 3
)
LAST = ("{text} {label}",)
WORDS = ("x=was", "y=and")


def found(items=TEXTS, follows=FOLLOWS, **more):
    return PromptProbe(**{"templates": LAST, "words": WORDS, **more}).study(
        Lab(bigram(follows)), items, Target()
    )


def test_planted_texts_get_the_class_of_the_likelier_word():
    r = found()
    assert r.classes == ("x", "y")
    np.testing.assert_allclose(r.probabilities[:4, 0, 0], [0.75, 3 / 7, 6 / 7, 2 / 3], atol=1e-5)
    np.testing.assert_allclose(r.raw, [0.75])  # "a" is said to be x
    assert r.majority == 0.5
    turned = next(s for s in r.trust.scores if "dealt" in s.control_name)
    assert turned.control == pytest.approx(0.25)
    assert all(s.chance == 0.5 and s.n == 12 for s in r.trust.scores)


def test_calibration_divides_by_what_silence_gets():
    """The last token of each silent text decides here; with "was" preferred there, "a" turns to y."""
    model = bigram(FOLLOWS)
    free = []
    for text in SILENT:
        last = model.tokenizer(text)["input_ids"][-1]
        row = model.module.table.weight[last].double().softmax(-1)
        ids = [model.tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in ("was", "and")]
        free.append(float(row[ids[0]] / row[ids].sum()))
    r = found()
    np.testing.assert_allclose(r.content_free[0], [np.mean(free), 1 - np.mean(free)], atol=1e-5)
    odds = r.probabilities[:, 0, 0] / r.content_free[0, 0] - r.probabilities[:, 0, 1] / r.content_free[0, 1]
    right = (odds > 0) == np.array([label == "x" for label in r.labels])
    np.testing.assert_allclose(r.calibrated, [right.mean()])


def test_a_model_that_heeds_no_text_does_not_beat_the_largest_class():
    deaf = {w: {"was": 0.6, "and": 0.2} for w in FOLLOWS}
    r = found(follows=deaf)
    assert r.raw[0] == 0.5
    assert not any(s.beats_chance for s in r.trust.scores)
    assert "NOT beat" in r.lede


def test_prompts_are_templates_times_words_and_their_spread_is_told():
    r = found(templates=("{text} {label}", "the {text} {label}"), words=("x=was|and", "y=and|was"))
    assert len(r.prompts) == 4
    np.testing.assert_allclose(r.raw, [0.75, 0.25, 0.75, 0.25])  # the second set of words says the opposite
    assert r.spread == pytest.approx((0.25, 0.75, 0.25))
    best = next(s for s in r.trust.scores if "best prompt" in s.name)
    assert best.value == pytest.approx(0.75)
    assert r.trust.scores[0].value == pytest.approx(0.5)


def test_examples_stand_before_the_text_and_are_not_scored():
    once = tuple(Marked.of(f"{t.text} {n}", t.labels[0]) for t, n in zip(TEXTS, ascii_letters))
    r = found(items=once, shots=1)
    assert len(r.labels) == len(TEXTS) - 2
    shown = [len(TEXTS) - len(found(shots=k).labels) for k in (0, 1)]
    assert shown == [0, 2 * 3]  # every text comes three times: an example's label would be known
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a single text there is no other half to choose a prompt on
        one = found(items=(TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[3]), shots=1)
    assert len(one.labels) == 1 and one.trust.scores[0].interval is None
    with pytest.raises(InputError, match="some must be left"):
        found(shots=6)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_probabilities_are_those_of_the_bare_module_and_no_batch_moves_them(family):
    task = "masked" if family == "bert" else None
    items = tuple(
        Marked.of(t, str(i % 2))
        for i, t in enumerate(("the old house", "mary and john went", "a story", "people"))
    )
    study = PromptProbe(templates=("{text} it was {label} .",), words=("0=the", "1=and"))
    said = []
    for budget in (4096, 8):
        model = load(tiny(family, task))
        model.token_budget = budget
        said.append(study(model, items))
    np.testing.assert_allclose(said[0].probabilities, said[1].probabilities, atol=1e-5)
    assert all(c.passed for c in said[0].checks)
    model, tokenizer = load(tiny(family, task)), load(tiny(family, task)).tokenizer
    words = [tokenizer(w, add_special_tokens=False)["input_ids"] for w in ("the", "and")]
    assert all(len(w) == 1 for w in words)
    for item, p in zip(items, said[0].probabilities[:, 0]):
        if family == "bert":
            ids = tokenizer(f"{item.text} it was {tokenizer.mask_token} .")["input_ids"]
            row = ids.index(tokenizer.mask_token_id)
        else:
            ids = tokenizer(f"{item.text} it was")["input_ids"]
            row = len(ids) - 1
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([ids])).logits[0, row].double()
        a, b = (math.exp(float(logits[w[0]])) for w in words)
        assert p[0] == pytest.approx(a / (a + b), abs=1e-5)


def test_letters():
    with pytest.raises(UsageError, match="must hold"):
        found(templates=("{text} was",))
    with pytest.raises(UsageError, match="The classes are x, y"):
        found(words=("z=was",))
    with pytest.raises(InputError, match="single class"):
        found(items=TEXTS[:1] * 4)
    marked = Marked(text="mary", marks=(Mark(label="x", spans=((0, 4),)),))
    with pytest.raises(InputError, match="stand on words"):
        found(items=(*TEXTS, marked))
    with pytest.raises(InputError, match="read past the blank"):
        found(templates=("{label} was {text}",))
