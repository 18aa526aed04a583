"""Cloze facts: answers in blanks against a slow twin on the bare module, planted ranks, and controls that can fail."""

import math

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.material import Fact
from exegete.core.target import Target
from exegete.methods.probing.cloze_facts import ClozeFacts
from exegete.models.blank import answer_ids, answers, blank, ranked
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from support.planted_bigram import bigram


def logp(model, ids) -> torch.Tensor:
    """Log-probabilities [tok, vocab] of the bare module."""
    with torch.no_grad():
        return model.module(input_ids=torch.tensor([list(ids)])).logits[0].double().log_softmax(-1)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_answer_of_several_tokens_to_a_decoder(family):
    model = load(tiny(family))
    place = blank(model, "the capital of france is [MASK] .")
    assert blank(model, "the capital of france is") == place
    ids = answer_ids(model, place, "wonderful")
    assert len(ids) > 2
    want, read = 0.0, list(model.tokenizer("the capital of france is")["input_ids"])
    for i in ids:
        want += float(logp(model, read)[-1, i])
        read.append(i)
    found = answers(Lab(model), [place], [(ids, ids[:1])])[0]
    assert found[0] == pytest.approx(want, abs=5e-5)
    assert found[1] > found[0]


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_answer_of_several_tokens_to_a_masked_model(family):
    model = load(tiny(family, "masked"))
    mask = model.tokenizer.mask_token_id
    place = blank(model, "we love the [MASK] film")
    ids = answer_ids(model, place, "wonderful")
    assert len(ids) > 2
    head, tail, want = list(place.ids[: place.row]), list(place.ids[place.row + 1 :]), 0.0
    read = model.tokenizer.decode([*head, *ids, *tail], skip_special_tokens=True)
    assert read == model.tokenizer.decode(
        model.tokenizer("we love the wonderful film")["input_ids"], skip_special_tokens=True
    )
    for j, i in enumerate(ids):
        filled = [*head, *ids[:j], *[mask] * (len(ids) - j), *tail]
        want += float(logp(model, filled)[len(head) + j, i])
    assert answers(Lab(model), [place], [(ids,)])[0][0] == pytest.approx(want, abs=5e-5)


def test_ranks_in_the_vocabulary():
    model = load(tiny("bert", "masked"))
    place = blank(model, "mary went to the")
    assert place.ids[place.row] == model.tokenizer.mask_token_id
    line = logp(model, place.ids)[place.row]
    order = line.argsort(descending=True).tolist()
    found = ranked(Lab(model), [place, place], [order[6], order[0]])
    assert [f.rank for f in found] == [7, 1]
    assert found[0].log == pytest.approx(float(line[order[6]]), abs=2e-5)
    assert found[0].first == tuple(order[:5])


def test_a_blank_must_be_one_and_a_decoder_cannot_read_past_it():
    model = load(tiny("gpt2"))
    with pytest.raises(InputError, match="goes on after the blank"):
        blank(model, "the [MASK] of france")
    with pytest.raises(InputError, match="2 blanks"):
        blank(model, "the [MASK] of [MASK]")


FOLLOWS = {
    "mary": {"was": 0.6, "and": 0.2},
    "john": {"was": 0.1, "and": 0.8},
    "the": {"a": 0.9},
}


def facts() -> tuple[Fact, ...]:
    return (
        Fact(prompt="mary", subject="mary", answer="was", relation="r"),
        Fact(prompt="john", subject="john", answer="was", relation="r"),
        Fact(prompt="the", subject="the", answer="a", relation="s"),
        Fact(prompt="john", subject="john", answer="and", relation="s"),
    )


def test_planted_facts_have_planted_ranks():
    model = bigram(FOLLOWS)
    r = ClozeFacts().study(Lab(model), facts(), Target())
    assert [f.rank for f in r.filled] == [1, 2, 1, 1]
    assert [f.probability for f in r.filled] == pytest.approx([0.6, 0.1, 0.9, 0.8], abs=1e-5)
    assert r.relations == ("", "r", "s")
    np.testing.assert_allclose(r.hits[:, 0], [0.75, 0.5, 1])
    np.testing.assert_allclose(r.hits[:, 1], 1)
    np.testing.assert_allclose(r.mrr, [0.875, 0.75, 1])
    np.testing.assert_allclose(r.majority[:, 0], [0.75, 1, 0.5])  # "was" is always right in r
    assert r.chance[0, 0] == pytest.approx(1 / model.vocabulary)
    assert math.isnan(r.other[1, 0])  # in r no other subject has another answer
    assert r.other[2, 0] == 0  # in s the answers turn with the subject


def test_answers_of_the_relation_as_candidates():
    r = ClozeFacts(candidates="relation").study(Lab(bigram(FOLLOWS)), facts(), Target())
    assert len(r.filled) == 2  # r has a single answer, which is no choice
    assert r.chance[0, 0] == 0.5
    assert r.trust.scores[0].n_failed == 2
    assert r.filled[1].first == ("and", "a")


def test_a_model_that_heeds_no_subject_does_not_beat_its_control():
    follows = {w: {"was": 0.7} for w in ("mary", "john", "the")}
    items = tuple(
        Fact(prompt=s, subject=s, answer=a, relation="r")
        for s, a in (("mary", "was"), ("john", "and"), ("the", "was"))
    )
    r = ClozeFacts().study(Lab(bigram(follows)), items, Target())
    common = next(s for s in r.trust.scores if "commonest" in s.control_name)
    assert r.hits[0, 0] == common.control == pytest.approx(2 / 3)
    assert not common.beats_control
    assert "NOT beat the commonest answer" in r.lede


def test_what_cannot_be_asked_is_counted_and_refused_when_it_is_all():
    model = load(tiny("gpt2"))
    items = (
        Fact(prompt="mary was", subject="mary", answer="the", relation="r"),
        Fact(prompt="john was", subject="john", answer="wonderful", relation="r"),
        Fact(prompt="john [MASK] there", subject="john", answer="the", relation="r"),
    )
    r = ClozeFacts(candidates="vocabulary")(model, items)
    assert r.trust.scores[0].n == 1
    assert r.trust.scores[0].n_failed == 2
    with pytest.raises(InputError, match="None can be asked"):
        ClozeFacts(candidates="vocabulary")(model, items[1:])


def test_the_terrariums_decoder_knows_its_world():
    from exegete.terrarium.material import known_facts

    r = ClozeFacts()(load("terrarium/decoder"), known_facts("causal", 25, 1))
    assert r.hits[0, 1] > 0.9
    assert all(s.beats_control for s in r.trust.scores)


def test_ranks_are_whole_numbers_but_where_a_place_is_shared():
    found = ClozeFacts()(
        load("terrarium/decoder"), [Fact(prompt="the food was", subject="food", answer="good")]
    )
    rank = next(f for f in found.figures() if f.title == "Prompt by prompt").rows[0][2]
    assert isinstance(rank, int) and rank == found.filled[0].rank
    half = found.model_copy(update={"filled": (found.filled[0].model_copy(update={"rank": 2.5}),)})
    assert next(f for f in half.figures() if f.title == "Prompt by prompt").rows[0][2] == 2.5


def test_facts_ranked_in_the_vocabulary_can_be_asked_apart():
    lab, study, items = Lab(bigram(FOLLOWS)), ClozeFacts(), facts()
    parts = [*study.work(lab, items[:1], Target()), *study.work(lab, items[1:], Target())]
    whole, found = study.study(lab, items, Target()), study.merge(lab, items, parts, Target(), 2)
    assert found.filled == whole.filled
    for name in ("hits", "mrr", "twin", "other", "majority", "chance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert [s.n_failed - 2 for s in found.trust.scores] == [s.n_failed for s in whole.trust.scores]
    lab.meter.forwards = 0
    study.merge(lab, items, parts, Target())
    assert lab.meter.forwards <= 2  # the other subjects alone
    assert ClozeFacts(candidates="relation").whole
