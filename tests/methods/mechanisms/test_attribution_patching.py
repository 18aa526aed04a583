"""Attribution patching: slopes of real patches, a sum that is complete, and exact values that are those of exact patching."""

import numpy as np
import pytest

import exegete as xg
from exegete.core.material import Pair
from exegete.core.site import Site
from exegete.methods.mechanisms.activation_patching import ActivationPatching
from exegete.methods.mechanisms.attribution_patching import AttributionPatching
from exegete.models.edit import Add
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.patching import correlation, correlation_interval

CLEAN, CORRUPT = (12, 20, 30, 40, 50, 33), (12, 20, 31, 40, 50, 33)
PAIR = Pair.of(xg.Text(ids=CLEAN), xg.Text(ids=CORRUPT), (21,), (22,))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_the_tangent_is_the_slope_of_a_real_patch(family, direction):
    """A patch of a hundredth of the change, up and down."""
    model = load(tiny(family))
    r = AttributionPatching(direction=direction, sites=("resid_pre", "z"))(model, PAIR)
    lab = Lab(model)
    target = xg.Target(label=(21,), against=(22,), scale="logit")
    clean, corrupt = (lab.aim([xg.Text(ids=ids)], target) for ids in (CLEAN, CORRUPT))
    host, guest = (corrupt, clean) if direction == "denoising" else (clean, corrupt)
    span = float(lab.measure(clean) - lab.measure(corrupt)) * (1 if direction == "denoising" else -1)
    for grid, at, where in ((r.grids[0], (1, 5), {"positions": [5]}), (r.grids[1], (0, 3), {"heads": [3]})):
        site = Site(grid.site, layer=at[0])
        change = lab.run(guest.inputs, read=[site])[site] - lab.run(host.inputs, read=[site])[site]
        part = change[:, 5:6] if grid.site == "resid_pre" else change[:, 3:4]
        up, down = (float(lab.measure(host, edit={site: Add(s * 0.02 * part, **where)})) for s in (1, -1))
        assert grid.effect[at] == pytest.approx((up - down) / 0.04 / span, rel=0.02, abs=2e-3)


def test_gradients_on_the_way_add_up():
    """At the embeddings the mean gradient over many steps is integrated gradients: the shares of all tokens sum to 1."""
    model = load(tiny("gpt2"))
    sums = [
        AttributionPatching(sites=("resid_pre",), n_steps=n)(model, PAIR).grids[0].effect[0].sum()
        for n in (1, 60)
    ]
    assert sums[1] == pytest.approx(1, abs=2e-3)
    assert abs(sums[0] - 1) > 0.01  # the tangent alone does not


@pytest.mark.parametrize(("family", "task"), [("gpt2", "causal"), ("t5", "seq2seq")])
def test_the_sampled_exact_values_are_those_of_exact_patching(family, task):
    model = load(tiny(family, task))
    r = AttributionPatching(sites=("z",), n_exact=8)(model, PAIR)
    exact = ActivationPatching(sites=("z",))(model, PAIR).grids[0]
    named = {f"{i}.z {c}": exact.effect[i, j] for i in range(2) for j, c in enumerate(exact.columns)}
    assert r.exact == pytest.approx([named[p] for p in r.places], abs=1e-4)
    (score,) = r.trust.scores
    assert score.value == pytest.approx(correlation(r.estimated, r.exact))
    assert score.control is not None


def test_pairs_that_are_checked_are_scored_by_themselves_and_all_are_estimated():
    """Exact patches of two of three pairs: the score is that of these two alone, the grid that of all."""
    model = load(tiny("gpt2"))
    pairs = [PAIR, Pair.of(xg.Text(ids=CORRUPT), xg.Text(ids=(12, 20, 32, 40, 50, 33)), (24,), (25,))]
    pairs.append(Pair.of(xg.Text(ids=(7, *CLEAN[1:])), xg.Text(ids=(7, *CORRUPT[1:])), (26,), (27,)))
    whole, few = (AttributionPatching(sites=("z",), n_exact=8, n_checked=n)(model, pairs) for n in (3, 2))
    ends = AttributionPatching(sites=("z",), n_exact=8)(model, [pairs[0], pairs[2]])
    assert np.array_equal(few.grids[0].effect, whole.grids[0].effect)
    assert few.exact == pytest.approx(ends.exact) and few.estimated == pytest.approx(ends.estimated)
    assert few.trust.scores[0].control == pytest.approx(ends.trust.scores[0].control)
    assert few.exact != pytest.approx(whole.exact)
    assert any("2 of the 3 pairs" in n for n in few.trust.notes) and not whole.trust.notes


def test_on_a_trained_model_steps_on_the_way_are_better_and_beat_the_length_of_the_change():
    model = xg.load("terrarium/decoder")
    pair = Pair.of(
        "hugo saw emma near the station, and emma brought a map to",
        "hugo saw emma near the station, and hugo brought a map to", "hugo", "emma",
    )  # fmt: skip
    tangent, steps = (
        AttributionPatching(sites=("z",), n_steps=n)(model, pair).trust.scores[0] for n in (1, 8)
    )
    assert steps.value > 0.95
    assert steps.beats_control
    assert steps.value > tangent.value


def test_correlation_and_its_interval():
    draw = np.random.default_rng(0)
    a = draw.normal(size=200)
    b = a + draw.normal(size=200)
    low, high = correlation_interval(a, b) or (0, 0)
    assert low < correlation(a, b) < high
    fisher = np.tanh(np.arctanh(correlation(a, b)) + np.array([-1.96, 1.96]) / np.sqrt(197))
    assert (low, high) == pytest.approx(fisher, abs=0.03)
    assert np.isnan(correlation(a, np.ones(200)))
    assert correlation_interval(a, np.ones(200)) is None
    shuffled = correlation_interval(a, draw.permutation(b)) or (1, 1)
    assert shuffled[0] < 0 < shuffled[1]
