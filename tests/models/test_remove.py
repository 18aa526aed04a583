"""Removal operators and the game: each operator against building the input by hand; baselines; letters."""

import numpy as np
import pytest
import torch

from exegete.core.errors import ModelError, UnknownName
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.remove import Game, baseline, fill, operator
from exegete.models.tiny import tiny

TEXT = "the small dog saw a cat"


def question(family="bert", task="sequence", target=None):
    return ask(load(tiny(family, task)), TEXT, target)


def by_hand(q, ids):
    with torch.no_grad():
        logits = q.model.module(torch.tensor(ids)[None]).logits[0]
    row = q.branches[0].rows[0]
    return float(logits[row.id] if row.position is None else logits[row.position, row.id])


@pytest.mark.parametrize("how", ["mask", "pad", "unk"])
def test_replacing_operators(how):
    q = question()
    units = q.units("word")
    keep = np.array([True, False, True, True, False, True])
    ids = q.ids.copy()
    for u, k in zip(units, keep):
        if not k:
            ids[list(u.tokens)] = getattr(q.model.tokenizer, f"{how}_token_id")
    assert Game(q, units, how)(keep)[0, 0] == pytest.approx(by_hand(q, ids), abs=1e-5)


def test_delete_is_the_shorter_text():
    q = question()
    units = q.units("word")
    without = Game(q, units, "delete")(np.array([True] * 5 + [False]))
    ids = np.delete(q.ids, list(units[5].tokens))
    assert without[0, 0] == pytest.approx(by_hand(q, ids), abs=1e-5)


@pytest.mark.parametrize("how", ["mean", "zero"])
def test_embedding_operators(how):
    q = question()
    units = q.units("word")
    e = q.embeddings().clone()
    table = q.model.embedding("").weight
    e[list(units[2].tokens)] = table.mean(0) if how == "mean" else 0.0
    handle = q.model.embedding("").register_forward_hook(lambda m, a, out: e[None])
    expected = by_hand(q, q.ids)
    handle.remove()
    keep = np.arange(6) != 2
    game = Game(q, units, how)
    assert game(keep)[0, 0] == pytest.approx(expected, abs=1e-5)
    before = q.meter.forwards
    game(np.stack([keep, keep]))
    assert q.meter.forwards == before, "a coalition asked twice is run once"


def test_resample_is_seeded_and_a_mean_over_draws():
    q = question()
    keep = np.zeros((1, 6), dtype=bool)
    a, b, c = (Game(q, q.units("word"), "resample", seed=s, draws=3)(keep) for s in (0, 0, 1))
    assert a == b
    assert a != c
    parts = []
    for d in range(3):
        game = Game(q, q.units("word"), "resample", seed=0)
        parts.append(by_hand(q, np.where(game.slots(keep)[0], q.ids, game._drawn(d))))
    assert a[0, 0] == pytest.approx(np.mean(parts), abs=1e-5)


def test_slots_outside_the_units_stay():
    q = question()
    slots = Game(q, q.units("word")[:2], "mask").slots(np.zeros((1, 2), dtype=bool))[0]
    gone = [i for u in q.units("word")[:2] for i in u.tokens]
    assert sorted(np.flatnonzero(~slots)) == sorted(gone)


def test_everything_deleted_reads_the_stand_in_for_an_empty_text():
    q = question("gpt2", "causal", "bird")
    values = Game(q, q.units("word"), "delete")(np.zeros((1, 6), dtype=bool))
    assert np.isfinite(values).all()


def test_auto_and_letters():
    assert operator(question(), "auto") == "mask"
    assert operator(question("gpt2", "causal"), "auto") == "delete"
    with pytest.raises(UnknownName, match="mask"):
        operator(question(), "msk")
    with pytest.raises(ModelError, match="no mask token"):
        operator(question("gpt2", "causal"), "mask")
    with pytest.raises(UnknownName, match="zero"):
        baseline(question(), "zer")


def test_baselines():
    q = question()
    table = q.model.embedding("").weight
    assert torch.equal(baseline(q, "zero"), torch.zeros(len(q.ids), table.shape[1]))
    assert torch.equal(baseline(q, "mask")[0], table[q.model.tokenizer.mask_token_id])
    assert torch.allclose(baseline(q, "mean")[0], table.mean(0), atol=1e-6)
    units = q.units("word")[:1]
    changed = (fill(q, units, "zero") != q.embeddings()).any(1)
    assert changed.nonzero().flatten().tolist() == list(units[0].tokens)
