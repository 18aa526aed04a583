"""Minimal pairs: likelihoods against a slow twin on the bare module and against a planted table, controls, and aggregation."""

import json
import math

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, ModelError
from exegete.core.material import Minimal
from exegete.core.target import Target
from exegete.methods.probing.minimal_pairs import MinimalPairs
from exegete.models.lab import Lab
from exegete.models.likelihood import Asked, convention, sentences, told
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.nested import group_means, nested_means, paths_of
from exegete.show.figures import tokens as shown
from support.data import shared_data
from support.planted_bigram import bigram

TEXTS = (
    "the food was not good",
    "mary and john went to the store",
    "the staff were wonderful",
    "was the old house",
)


def slow_decoder(model, text: str, lead: list[int]) -> list[float]:
    """Log-probabilities of a text's tokens, one token at a time, by the bare module."""
    ids = [*lead, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
    found = []
    for i in range(1, len(ids)):
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([ids[:i]])).logits[0, -1].double()
        found.append(float(logits.log_softmax(-1)[ids[i]]))
    return found


def slow_masked(model, text: str, whole_word: bool) -> list[float]:
    """Pseudo-log-likelihood, one masked text at a time; words by the tokenizer's own word numbers."""
    out = model.tokenizer(text)
    ids, words = list(out["input_ids"]), out.word_ids()
    found = []
    for i, word in enumerate(words):
        if word is None:
            continue
        hidden = [
            model.tokenizer.mask_token_id if j == i or (whole_word and j > i and words[j] == word) else t
            for j, t in enumerate(ids)
        ]
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([hidden])).logits[0, i].double()
        found.append(float(logits.log_softmax(-1)[ids[i]]))
    return found


@pytest.mark.parametrize(("family", "lead"), [("gpt2", []), ("llama", ["<s>"])])
def test_a_decoder_is_scored_as_its_tokenizer_writes(family, lead):
    model = load(tiny(family))
    before = model.tokenizer.convert_tokens_to_ids(lead)
    for text, said in zip(TEXTS, sentences(Lab(model), TEXTS)):
        assert said is not None
        np.testing.assert_allclose(said.logs, slow_decoder(model, text, before), atol=2e-5)
        assert len(said.tokens) == len(said.logs) == len(said.ids)
    assert ("reads '<s>'" in convention(model)) == bool(lead)


def test_a_beginning_token_may_be_put_and_left_out():
    model = load(tiny("gpt2"))
    put = sentences(Lab(model), TEXTS[:1], start="bos")[0]
    assert put is not None
    first = model.tokenizer.bos_token_id
    np.testing.assert_allclose(put.logs, slow_decoder(model, TEXTS[0], [first]), atol=2e-5)
    llama = load(tiny("llama"))
    bare = sentences(Lab(llama), TEXTS[:1], start="none")[0]
    assert bare is not None
    np.testing.assert_allclose(bare.logs, slow_decoder(llama, TEXTS[0], []), atol=2e-5)
    model.tokenizer.bos_token = None
    with pytest.raises(ModelError, match="has none"):
        sentences(Lab(model), TEXTS[:1], start="bos")


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_masked_model_is_scored_one_mask_at_a_time(family, whole_word):
    model = load(tiny(family, "masked"))
    for text, said in zip(TEXTS, sentences(Lab(model), TEXTS, whole_word=whole_word)):
        assert said is not None
        np.testing.assert_allclose(said.logs, slow_masked(model, text, whole_word), atol=2e-5)


def test_masking_the_rest_of_the_word_changes_what_is_scored():
    model = load(tiny("bert", "masked"))
    plain, whole = (sentences(Lab(model), TEXTS[:1], whole_word=w)[0] for w in (False, True))
    assert plain is not None
    assert whole is not None
    assert np.abs(plain.logs - whole.logs).max() > 1e-3


def test_company_does_not_change_a_score():
    scores = []
    for budget in (4096, 8):
        model = load(tiny("llama"))
        model.token_budget = budget
        scores.append([s.total for s in sentences(Lab(model), TEXTS) if s])
    assert len(scores[0]) == len(TEXTS)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_what_is_asked_twice_is_read_once():
    lab = Lab(load(tiny("bert", "masked")))
    found = sentences(lab, ["mary and people", "mary and john", "mary and people"])
    assert lab.meter.forwards == 5  # three masks each; with the last word masked both read the same
    assert found[0] is not None
    assert found[2] is not None
    assert found[0].total == found[2].total


def test_several_tokens_at_several_rows_of_one_input():
    model = load(tiny("gpt2"))
    asked = [
        Asked((20, 21, 22), (0, 2), (5, 6)),
        Asked((20, 21, 22), (2, 1), (7, 8)),
        Asked((30,), (0,), (9,)),
    ]
    found = told(Lab(model), asked)
    for a, logs in zip(asked, found):
        with torch.no_grad():
            logp = model.module(input_ids=torch.tensor([a.ids])).logits[0].double().log_softmax(-1)
        np.testing.assert_allclose(logs, [float(logp[r, w]) for r, w in zip(a.rows, a.wanted)], atol=2e-5)


# ---- a planted model ---------------------------------------------------------------------------------------------------

FOLLOWS = {
    "<s>": {"mary": 0.5, "john": 0.25},
    "mary": {"was": 0.6, "and": 0.2},
    "john": {"was": 0.1, "and": 0.8},
    "was": {"the": 0.3, "a": 0.3},
}


def pairs(n: int = 2) -> tuple[Minimal, ...]:
    one = (
        Minimal(good="mary was", bad="john was", phenomenon="a/x"),  # 0.5 * 0.6 > 0.25 * 0.1
        Minimal(good="john and", bad="mary and", phenomenon="a/y"),  # 0.25 * 0.8 > 0.5 * 0.2
        Minimal(good="mary was the", bad="mary was a", phenomenon="b"),  # a tie
    )
    return one * n


def test_the_planted_likelihoods_are_found():
    said = sentences(Lab(bigram(FOLLOWS)), ["mary was the", "john and"])
    assert said[0] is not None
    assert said[1] is not None
    assert said[0].total == pytest.approx(math.log(0.5 * 0.6 * 0.3), abs=1e-5)
    assert said[1].total == pytest.approx(math.log(0.25 * 0.8), abs=1e-5)


def test_accuracy_ties_and_groups():
    r = MinimalPairs().study(Lab(bigram(FOLLOWS)), pairs(), Target())
    assert r.paths == ("", "a", "a/x", "a/y", "b")
    np.testing.assert_allclose(r.accuracy, [(1 + 1 + 0.5) / 3, 1, 1, 1, 0.5])
    assert list(r.ties) == [2, 0, 0, 0, 2]
    assert list(r.n) == [6, 4, 2, 2, 2]
    assert all(s.chance == 0.5 and s.n == 6 and s.n_failed == 0 for s in r.trust.scores)
    assert {s.control_name for s in r.trust.scores} > {"the shorter sentence", "the commoner words"}


def test_turned_pairs_are_all_wrong():
    turned = tuple(Minimal(good=p.bad, bad=p.good, phenomenon=p.phenomenon) for p in pairs())
    r = MinimalPairs().study(Lab(bigram(FOLLOWS)), turned, Target())
    np.testing.assert_allclose(r.accuracy, [0.5 / 3, 0, 0, 0, 0.5])
    assert not r.trust.scores[0].beats_chance
    assert "does not beat chance" in r.lede


def test_one_pair_does_not_beat_chance():
    r = MinimalPairs().study(Lab(bigram(FOLLOWS)), pairs()[:1], Target())
    assert r.accuracy[0] == 1
    assert not any(s.beats_chance for s in r.trust.scores)
    assert "likelier than the other. One pair cannot be told from chance" in r.lede


def test_sums_favour_the_short_and_means_do_not():
    follows = {
        "<s>": {"mary": 0.5},
        "mary": {"was": 0.5},
        "was": {"the": 0.5, "a": 0.01},
        "the": {"mary": 0.5},
    }
    pair = (Minimal(good="mary was the mary was the", bad="mary was a"),) * 3
    by_sum, by_mean = (
        MinimalPairs(normalise=how).study(Lab(bigram(follows)), pair, Target()) for how in ("sum", "token")
    )
    # six tokens at 1/2 against two at 1/2 and one at 1/100
    assert by_sum.good[0] == pytest.approx(6 * math.log(0.5), abs=1e-5)
    assert by_mean.good[0] == pytest.approx(math.log(0.5), abs=1e-5)
    assert by_mean.accuracy[0] == 1
    assert by_sum.length[0] == 0
    assert "favour the shorter" in " ".join(by_sum.trust.notes)


def test_a_model_that_only_counts_words_does_not_beat_the_frequency_control(tmp_path):
    """The model prefers the commoner word whatever stands before it, and that is all it knows."""
    common = {w: {"the": 0.6, "a": 0.1} for w in ("<s>", "mary", "john", "was")}
    items = tuple(Minimal(good=f"{w} the", bad=f"{w} a") for w in ("mary", "john", "was"))
    r = MinimalPairs().study(Lab(bigram(common)), items, Target())
    assert r.accuracy[0] == 1
    assert r.frequency[0] == 0.5  # in the pairs themselves each word stands as often as the other
    (tmp_path / "c.txt").write_text("the the the mary\nthe john was a\n")
    counted = MinimalPairs(corpus=str(tmp_path / "c.txt")).study(Lab(bigram(common)), items, Target())
    assert counted.frequency[0] == 1
    score = next(s for s in counted.trust.scores if s.control_name == "the commoner words")
    assert not score.beats_control
    assert "NOT beat" in counted.lede


def test_pairs_that_cannot_be_read_are_counted():
    model = load(tiny("gpt2"))
    long = "the food " * 300
    items = (
        *(Minimal(good="the food was good", bad="the food were good"),) * 3,
        Minimal(good=long, bad="the food"),
    )
    r = MinimalPairs()(model, items)
    assert r.trust.scores[0].n == 3
    assert r.trust.scores[0].n_failed == 1
    assert np.isnan(r.good[-1])
    assert "1 pairs could not be scored" in r.lede
    with pytest.raises(InputError, match="None can be scored"):
        MinimalPairs()(model, items[-1:])


def test_the_terrariums_models_know_agreement_and_their_twins_do_not():
    from exegete.terrarium import corpora

    items = [
        Minimal(good=p.good, bad=p.bad, phenomenon=p.kind) for p in corpora.minimal_pairs(60, "test-pairs")
    ]
    r = MinimalPairs()(load("terrarium/encoder"), items)
    assert r.accuracy[0] > 0.95
    assert all(s.beats_control for s in r.trust.scores)
    assert 0.3 < r.twin[0] < 0.7
    assert all(c.passed for c in r.checks)


# ---- aggregation -------------------------------------------------------------------------------------------------------


def test_groups_are_plain_means_of_leaves():
    names = ["a/x"] * 4 + ["a/y"] * 2 + ["b/z"] * 2
    values = np.array([1, 1, 1, 0, 0, 0, 1, np.nan])
    found = nested_means(names, values)
    assert found.paths == ("", "a", "a/x", "a/y", "b/z")  # a group of one is not said twice
    np.testing.assert_allclose(found.mean, [(0.75 + 0 + 1) / 3, 0.375, 0.75, 0, 1])
    assert list(found.n) == [7, 6, 4, 2, 1]
    assert np.isnan(found.interval[0]).all()  # one leaf has a single item
    low, high = found.interval[2]
    assert low < 0.75 < high
    assert paths_of(["x", "x"]) == ("x",)


def test_published_tables_are_reproduced():
    """BLiMP's own means by term and over all, from its accuracies by paradigm."""
    path = shared_data("blimp/models_summary.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    own = [r for r in rows if r["UID"] != "overall"]
    names = [f"{r['linguistics_term']}/{r['UID']}" for r in own]
    assert len(own) == 67
    for model in ("ngram", "lstm", "txl", "gpt2"):
        values = np.array([r[model] for r in own])
        for r in (r for r in rows if r["UID"] == "overall"):
            path = "" if r["linguistics_term"] == "overall" else r["linguistics_term"]
            assert group_means([path], names, values)[0] == pytest.approx(r[model], abs=1e-9)
        wrong = np.mean(
            [values[[n.startswith(t) for n in names]].mean() for t in {n.split("/")[0] for n in names}]
        )
        assert (
            abs(wrong - group_means([""], names, values)[0]) > 1e-3
        )  # a mean of means is not what was published


def test_both_sentences_of_a_pair_are_shaded_on_one_scale_and_the_start_is_told_once():
    found = MinimalPairs()(
        load(tiny("gpt2")), [Minimal(good=a, bad=b, phenomenon=p) for a, b, p in zip(TEXTS, TEXTS[1:], "xyz")]
    )
    strips = [f for f in found.figures() if f.kind == "tokens"]
    assert len(strips) >= 2
    for one, other in zip(strips[::2], strips[1::2]):
        assert one.end == other.end == max(one.values.max(), other.values.max())
        assert shown(one).end == shown(other).end  # what is drawn
        alone = [shown(f.model_copy(update={"end": None})).end for f in (one, other)]
        assert alone[0] != alone[1]
    said = [*(words for _, words in found.context), *(f.caption for f in found.figures())]
    assert sum(found.convention in s for s in said) == 1
