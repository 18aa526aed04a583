"""Reading on from what variants have in common equals reading each whole (slow twin), and reads fewer tokens."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exegete.models import prefix
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import families, tiny

TEXT = "the small dog saw a cat near the house and the bird sang in the old garden"
DECODERS = [f for f in families() if load(tiny(f)).task == "causal"]


def variants(q, n=24):
    """Each variant changes one token, as occlusion does."""
    ids = np.tile(q.ids, (n, 1))
    ids[np.arange(n), np.arange(n) % len(q.ids)] = 11
    return ids


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("target", [None, "a bird"])
def test_fast_equals_slow(family, target, monkeypatch):
    fast, slow = (ask(load(tiny(family)), TEXT, target) for _ in range(2))
    monkeypatch.setattr("exegete.models.question.PREFIX_FROM", 0)
    fast.model.token_budget = slow.model.token_budget = 4 * len(fast.ids)
    with_prefix = fast.ask(variants(fast, len(fast.ids)))
    monkeypatch.setattr("exegete.models.question.PREFIX_FROM", 10**9)
    whole = slow.ask(variants(slow, len(slow.ids)))
    assert np.abs(with_prefix - whole).max() < 1e-4
    assert fast.meter.tokens < 0.8 * slow.meter.tokens


@pytest.mark.parametrize("family", DECODERS)
def test_cached_reading_agrees(family):
    q = ask(load(tiny(family)), TEXT)
    assert q.cache_gap < 1e-5


def test_a_model_that_reads_its_cache_wrongly_is_caught():
    """Sabotage: the cache is fed the whole prefix again, as a released package did."""
    model = load(tiny("gpt2"))
    q = ask(model, TEXT)
    forward = model.module.forward

    def wrong(*args, **kwargs):
        if kwargs.get("past_key_values") is not None:
            kwargs["position_ids"] = torch.zeros_like(kwargs["input_ids"])
        return forward(*args, **kwargs)

    model.module.forward = wrong
    assert q.cache_gap > 1e-3
    assert not q.reads_on
    del model.module.forward


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=1, max_size=12), st.integers(1, 40)
)
def test_a_plan_covers_every_variant_once_and_its_prefixes_are_common(rows, budget):
    ids = np.array(rows)
    chunks = prefix.plan(ids, ids[0], 5, budget)
    assert sorted(i for c, _ in chunks for i in c) == list(range(len(ids)))
    for members, start in chunks:
        assert (ids[members][:, :start] == ids[0][:start]).all()
        assert len(members) == 1 or len(members) * (6 - start) <= budget
    assert prefix.saving(chunks, 6) <= 1


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_decoder_reads_on_from_its_cache(family):
    q = ask(load(tiny(family)), TEXT, "a bird sang")
    assert q.cache_gap < 1e-5
    assert np.isnan(ask(load(tiny(family)), TEXT).cache_gap), "one token has nothing to read on"
