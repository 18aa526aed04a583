"""Activation patching against plain edits, states that carry everything by construction, and a model with one living head."""

from typing import Any

import numpy as np
import pytest
import torch

import exegete as xg
from exegete.core.errors import InputError, SiteError, TargetError, UsageError
from exegete.core.material import Pair
from exegete.core.site import Site
from exegete.core.text import Token
from exegete.methods.mechanisms.activation_patching import ActivationPatching
from exegete.methods.mechanisms.patch_pairs import correspond, differing
from exegete.models.edit import Add, Patch
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.circuit import normalised, normalised_interval
from exegete.ops.patching import picked_elsewhere, share_intervals, shares

CLEAN = (12, 20, 30, 40, 50, 33)
CORRUPT = (12, 20, 31, 40, 50, 33)
FAMILIES = [
    ("gpt2", "causal"),
    ("llama", "causal"),
    ("bert", "masked"),
    ("t5", "seq2seq"),
    ("bert", "sequence"),
]


def pair_for(model, clean=CLEAN, corrupt=CORRUPT):
    tail = (model.tokenizer.mask_token_id,) if model.task == "masked" else ()
    answers = (0, 1) if model.task == "sequence" else ((21,), (22,))
    return Pair.of(xg.Text(ids=clean + tail), xg.Text(ids=corrupt + tail), *answers)


def model_of(family, task="causal"):
    return load(tiny(family, task))


def plain_values(model, pair, direction):
    """What the study should say: a function from edits' place to the share, by whole passes with plain edits."""
    lab = Lab(model)
    label = pair.answer if model.task == "sequence" else tuple(pair.answer)
    both = [
        lab.aim([t], xg.Target(label=label, against=pair.against, scale="logit"))
        for t in (pair.clean, pair.corrupt)
    ]
    clean, corrupt = (float(lab.measure(a)) for a in both)
    host, guest = both[::-1] if direction == "denoising" else both

    def share(site, **where):
        source = lab.run(guest.inputs, read=[site])[site]
        found = float(lab.measure(host, edit={site: Patch(source, **where)}))
        start = corrupt if direction == "denoising" else clean
        return (found - start) / ((clean - corrupt) * (1 if direction == "denoising" else -1))

    return share


@pytest.mark.parametrize(("family", "task"), FAMILIES)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_shares_are_those_of_plain_edits(family, task, direction):
    model = model_of(family, task)
    pair = pair_for(model)
    r = ActivationPatching(direction=direction, sites=("resid_pre", "z", "mlp_out"))(model, pair)
    share = plain_values(model, pair, direction)
    stack = model.map.stacks[0]
    resid, heads, mlp = r.grids
    wrong = []
    for layer in range(2):
        for p in (0, 2, 4, 5):
            for grid in (resid, mlp):
                site = Site(grid.site, layer=layer, stack=stack)
                wrong.append(abs(grid.effect[layer, p] - share(site, positions=[p])))
        for h in range(4):
            wrong.append(abs(heads.effect[layer, h] - share(Site("z", layer=layer, stack=stack), heads=[h])))
    assert max(wrong) < 2e-4 * max(1.0, np.abs(resid.effect).max())
    assert np.ptp(resid.effect) > 0.5


def test_places_that_carry_everything_by_construction():
    """The only token that differs, before the first layer; the token that is read, after the last one."""
    model = model_of("llama")
    r = ActivationPatching(sites=("resid_pre", "resid_post"))(model, pair_for(model))
    assert r.grids[0].effect[0] == pytest.approx([0, 0, 1, 0, 0, 0], abs=1e-4)
    assert r.grids[1].effect[-1] == pytest.approx([0, 0, 0, 0, 0, 1], abs=1e-4)
    assert "30" not in r.grids[0].columns[1]
    assert "/" in r.grids[0].columns[2]


def test_only_a_living_head_carries():
    """All heads and feed-forward parts of a model but one are cut off: that one brings back everything at once."""
    module, tokenizer = tiny("gpt2")
    blocks: Any = module.transformer
    with torch.no_grad():
        for i, block in enumerate(blocks.h):
            block.mlp.c_proj.weight.zero_()
            rows = block.attn.c_proj.weight.unflatten(0, (4, 8))
            for h in range(4):
                if (i, h) != (1, 2):
                    rows[h].zero_()
    r = ActivationPatching(sites=("z",))(load((module, tokenizer)), pair_for(model_of("gpt2")))
    (heads,) = r.grids
    assert heads.best == (1, 2)
    assert heads.effect[1, 2] == pytest.approx(1, abs=1e-3)
    assert np.abs(np.delete(heads.effect.ravel(), 6)).max() < 1e-3
    (score,) = r.trust.scores
    assert score.value == pytest.approx(1, abs=1e-3)
    assert score.beats_chance


def test_a_named_head_token_by_token():
    model = model_of("gpt2")
    pair = pair_for(model)
    r = ActivationPatching(sites=("z",), head=2, positions=(2, 5))(model, pair)
    share = plain_values(model, pair, "denoising")
    assert r.grids[0].effect[1, 1] == pytest.approx(
        share(Site("z", layer=1), heads=[2], positions=[5]), abs=1e-4
    )
    assert r.grids[0].effect.shape == (2, 2)


def test_noise_is_the_same_noise_in_a_plain_run():
    """The mean over draws of noise at the tokens that differ, in a whole pass each."""
    model = model_of("gpt2")
    pair = pair_for(model)
    r = ActivationPatching(sites=("resid_pre",), corruption="noise", n_samples=3)(model, pair)
    lab = Lab(model)
    aim = lab.aim([pair.clean], xg.Target(label=(21,), against=(22,), scale="logit"))
    embed, site = Site("embed"), Site("resid_pre", layer=1)
    seen = lab.run(aim.inputs, read=[embed, site])
    sigma = 3.0 * float(seen[embed].double().std())
    draw = lab.rng("noise", CLEAN).standard_normal((3, 1, 32))
    noise = [Add(torch.from_numpy(d * sigma).float(), positions=[2]) for d in draw]
    corrupt = np.mean([float(lab.measure(aim, edit={embed: n})) for n in noise])
    mended = np.mean(
        [float(lab.measure(aim, edit={embed: n, site: Patch(seen[site], positions=[5])})) for n in noise]
    )
    clean = float(lab.measure(aim))
    assert r.corrupt[0] == pytest.approx(corrupt, abs=1e-5)
    assert r.grids[0].effect[1, 5] == pytest.approx((mended - corrupt) / (clean - corrupt), abs=1e-4)


def test_several_pairs_by_role_and_what_fails():
    """Pairs of unequal length go by roles; a pair without its corrupt text counts as failed."""
    model = xg.load("terrarium/decoder")
    a = Pair.of(
        "hugo saw emma near the station, and emma brought a map to",
        "hugo saw emma near the station, and hugo brought a map to",
        "hugo",
        "emma",
    )
    b = Pair.of(
        "mary saw john, and john gave a book to", "mary saw john, and mary gave a book to", "mary", "john"
    )
    r = ActivationPatching(sites=("resid_pre",))(model, [a, b, Pair.of("mary saw john")])
    (grid,), (score,) = r.grids, r.trust.scores
    assert grid.axis == "role"
    assert grid.effect[0, 1] == pytest.approx(1, abs=1e-4)  # what changed, before the first layer
    assert grid.effect[3, 3] > 0.5  # the reading token, before the last one
    assert (score.n, score.n_failed) == (2, 1)
    assert score.interval is not None
    assert "no corrupt text" in r.trust.notes[0]


def test_another_pair_as_the_corrupt_run():
    model = model_of("gpt2")
    pairs = [
        Pair.of(xg.Text(ids=CLEAN), None, (21,), (22,)),
        Pair.of(xg.Text(ids=CORRUPT), None, (22,), (21,)),
    ]
    r = ActivationPatching(sites=("resid_pre",), corruption="resample")(model, pairs)
    assert r.clean == pytest.approx(-r.corrupt[::-1], abs=1e-5)  # each is the other's corrupt run
    with pytest.raises(InputError, match="No other clean text"):
        ActivationPatching(corruption="resample")(model, pairs[0])


def words(*pieces):
    """Tokens of a text; a blank starts a new word."""
    found, at = [], 0
    for i, p in enumerate(pieces):
        found.append(Token(i + 100 * len(p), p.strip(), at + len(p) - len(p.strip()), at + len(p)))
        at += len(p)
    return found


def test_words_correspond_from_their_ends():
    host, guest = words("the", " ig", "nat", "ius", " left"), words("the", " john", " left")
    assert correspond(host, guest).tolist() == [0, 1, 1, 1, 2]
    assert correspond(guest, host).tolist() == [0, 3, 4]
    assert correspond(words("a", " b"), words("c", " d")).tolist() == [0, 1]
    assert differing(guest, host)[:1] == (1,)


def test_letters():
    model = model_of("gpt2")
    study = ActivationPatching()
    with pytest.raises(InputError, match="part at token 1: 'small dog' and 'dog'"):
        correspond(words("the", " small", " dog"), words("the", " dog"))
    with pytest.raises(InputError, match="nothing to carry"):
        study(model, pair_for(model, corrupt=CLEAN))
    with pytest.raises(TargetError, match="one token each"):
        study(model, Pair.of(xg.Text(ids=CLEAN), xg.Text(ids=CORRUPT), (21, 22)))
    with pytest.raises(SiteError, match="head 9"):
        ActivationPatching(head=9)(model, pair_for(model))
    with pytest.raises(UsageError, match="no place inside a layer"):
        ActivationPatching(sites=("logits",))(model, pair_for(model))
    with pytest.raises(UsageError, match="token 6"):
        ActivationPatching(positions=(6,))(model, pair_for(model))


def test_shares_and_intervals_have_a_slow_twin():
    draw = np.random.default_rng(0)
    span = draw.normal(2, 1, 30)
    moved = span[:, None] * [0.2, 0.9] + draw.normal(0, 0.3, (30, 2))
    for c in range(2):
        assert shares(moved, span)[c] == pytest.approx(normalised(moved[:, c], 0 * span, span))
        slow = normalised_interval(moved[:, c], 0 * span, span, n=4000)
        assert share_intervals(moved, span)[c] == pytest.approx(slow, abs=0.03)
    assert (picked_elsewhere(moved, span) == 1).all()
    assert np.isnan(share_intervals(moved[:1], span[:1])).all()
    assert np.isnan(shares(moved, span - span.mean())).all()
