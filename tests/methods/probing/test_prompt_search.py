"""Searched prompts bring out what a model knows, and nothing from one that knows nothing; a swap is the best one by brute force."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.material import Fact
from exegete.methods.probing.autoprompt import AutoPrompt
from exegete.methods.probing.optiprompt import OptiPrompt
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.soft_prompt import embeddings, says, slotted
from exegete.models.tiny import tiny
from exegete.terrarium.material import material


def relation(name: str, n: int = 24) -> list[Fact]:
    return [f for f in material("facts", "causal", n=250) if f.relation == name][:n]


def test_a_prompt_of_vectors_brings_out_facts_it_never_saw():
    r = OptiPrompt(n_steps=40, n_slots=3)(load("terrarium/decoder"), relation("lives_in"))
    score = r.trust.scores[0]
    assert score.value >= 0.8
    assert score.control is not None
    assert score.control <= 0.2  # randomised weights: the search learns by heart, and brings nothing out
    assert score.beats_control
    assert r.twin_trained[0] > score.control
    assert r.written[0] >= 0.8
    assert r.majority[0] <= 0.5


def test_no_fact_is_searched_on_and_held_out():
    study = OptiPrompt(n_steps=1, n_slots=1)
    lab = Lab(load("terrarium/decoder"))
    for found in study._relations(lab, material("facts", "causal", n=250))[0]:
        a, b = ({found.facts[i].subject for i in part} for part in (found.train, found.test))
        assert not a & b
        assert len(found.train) + len(found.test) == len(found.facts)


def test_a_swap_is_the_best_of_all():
    """With every token as candidate, a step is brute force over one slot."""
    model = load(tiny("gpt2"))
    lab = Lab(model)
    cases = slotted(lab, ["the food", "mary"], [21, 40], 2)
    table, start = embeddings(lab), torch.tensor([11, 12])
    usual = torch.tensor([i for i in range(60) if i not in model.tokenizer.all_special_ids])
    got = AutoPrompt(n_candidates=len(usual))._swapped(lab, cases, start, 1, usual, table)

    def loss(ids: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(says(lab, cases, table[ids].float()), cases.wanted))

    tried = {int(i): loss(torch.tensor([11, i])) for i in [*usual.tolist(), 12]}
    assert int(got[1]) == min(tried, key=lambda i: tried[i])
    assert int(got[0]) == 11
    few = AutoPrompt(n_candidates=3)._swapped(lab, cases, start, 1, usual, table)
    assert loss(few) <= loss(start)


def test_real_tokens_bring_out_facts_too():
    r = AutoPrompt(n_steps=9, n_candidates=20, n_slots=3)(load("terrarium/decoder"), relation("lives_in", 20))
    score = r.trust.scores[0]
    assert score.value > (score.control or 0)
    assert np.isfinite(r.vectors).all()
    assert len(r.prompts[0].split()) == 3


def test_too_few_facts_of_a_relation():
    with pytest.raises(InputError, match="No relation has 2"):
        OptiPrompt()(load("terrarium/decoder"), relation("keeps", 1))
