"""Induction heads in a model that learned them, in one that was written by hand, and in one that only looks like it."""

from typing import Any

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.methods.mechanisms.induction_heads import InductionHeadsStudy
from exegete.methods.mechanisms.repeated import knocked, repeats, watch
from exegete.models.copying import eigenvalue_share
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.model import still
from exegete.models.tiny import tiny
from support.planted_induction import distance, induction


@pytest.fixture(scope="module")
def trained():
    return InductionHeadsStudy(n_random=4)(load("terrarium/repeats"))


def test_the_trained_model_does_induction_and_is_destroyed_by_its_knock_out(trained):
    assert trained.induction == ((1, 0), (1, 2), (1, 3))
    assert trained.previous_heads == ((0, 2),)
    matching, learning, needed = trained.trust.scores
    assert matching.value > 0.85
    assert matching.control < 0.1
    assert learning.value < -4
    assert learning.control > 0  # nothing comes back: the model is wrong about the second half
    assert needed.value > 4
    assert needed.control < 0.2
    assert all(s.beats_control for s in trained.trust.scores)
    assert trained.copying[1] == pytest.approx([1, 0, 1, 1], abs=1e-3)  # 1.h1 writes nothing
    assert np.abs(trained.copying_shuffled[1]).max() < 0.6


def test_a_head_that_looks_right_but_writes_nothing_is_none(trained):
    """1.h1 looks behind the previous occurrence like the others; the penalty of the training took its output away."""
    assert trained.prefix[1, 1] > 0.5
    assert (1, 1) not in trained.induction


def test_the_previous_token_head_works_through_patterns_alone(trained):
    """K-composition, by intervention: without it nothing is left; with the patterns as they were, nothing is missed."""
    cost = {row[0]: row[-1] for row in trained.knock_outs}
    assert cost["previous-token heads"] > 4
    assert abs(cost["previous-token heads, patterns kept"]) < 0.2
    assert cost["induction heads, patterns kept"] == pytest.approx(cost["induction heads"], abs=1e-3)


def test_scores_are_those_of_the_model_s_own_attentions():
    """A slow twin: Hugging Face's attention outputs, read position by position."""
    model = load("terrarium/repeats")
    lab = Lab(model)
    how = repeats(lab, 3, 10)
    assert how.said.shape == (3, 21)
    seen = watch(lab, how.said, how, mean_z=True)
    module: Any = model.module
    module.set_attn_implementation("eager")
    with torch.no_grad():
        out = module(how.said, output_attentions=True)
    for layer, pattern in enumerate(out.attentions):
        for row in range(3):
            ids = how.said[row].tolist()
            behind = [ids[:t].index(ids[t]) + 1 for t in range(11, 21)]
            prefix = np.mean([pattern[row, :, t, s].numpy() for t, s in zip(range(11, 21), behind)], 0)
            previous = np.mean([pattern[row, :, t, t - 1].numpy() for t in range(2, 21)], 0)
            assert np.allclose(seen.kind("prefix")[row, layer], prefix, atol=1e-5)
            assert np.allclose(seen.kind("previous")[row, layer], previous, atol=1e-5)
    loss = -out.logits[:, :-1].log_softmax(-1).gather(-1, how.said[:, 1:, None])[..., 0]
    assert np.allclose(seen.loss, loss.numpy(), atol=1e-4)


def test_a_knock_out_is_a_head_that_says_its_mean():
    """Against the output projection's input replaced by hand."""
    model = load("terrarium/repeats")
    module: Any = model.module
    lab = Lab(model)
    how = repeats(lab, 4, 8)
    with still(model.module):
        seen = watch(lab, how.said, how, mean_z=True)
        found = knocked(lab, how.said, ((0, 2),), seen.mean_z)
        proj, kept = module.model.layers[0].self_attn.o_proj, []
        handle = proj.register_forward_pre_hook(lambda _m, a: kept.append(a[0].clone()))
        module(how.said)
        handle.remove()

        def replaced(_m, args):
            x = args[0].clone()
            x[..., 32:48] = kept[0][..., 32:48].mean((0, 1))
            return (x,)

        handle = proj.register_forward_pre_hook(replaced)
        logits = model.module(how.said).logits
        handle.remove()
    loss = -logits[:, :-1].log_softmax(-1).gather(-1, how.said[:, 1:, None])[..., 0]
    assert np.allclose(found, loss.detach().numpy(), atol=1e-4)


def test_the_planted_circuit_is_found_exactly():
    r = InductionHeadsStudy(n_repeats=6, n_random=2)(induction())
    assert r.induction == ((1, 1),)
    assert r.previous_heads == ((0, 0),)
    assert r.prefix[1, 1] == pytest.approx(1, abs=1e-3)
    assert r.previous[0, 0] == pytest.approx(1, abs=1e-3)
    assert r.copying[1, 1] == pytest.approx(1, abs=1e-6)
    others = [h for h in np.ndindex(2, 4) if h != (1, 1)]
    assert max(abs(r.copying[h]) for h in others) < 1e-6
    needed = r.trust.scores[2]
    assert needed.value > 3
    assert abs(needed.control) < 1e-3


@pytest.mark.parametrize("period", [25, 20])
def test_a_head_of_fixed_distance_is_no_induction_head(period):
    """It solves texts of its own period, by counting: behaviour is not mechanism. The detector stays silent."""
    r = InductionHeadsStudy(n_repeats=6, repeat_length=25)(distance(period))
    assert r.induction == ()
    assert not r.trust.scores[0].beats_control
    assert len(r.trust.scores) == 2
    assert r.trust.scores[1].beats_control == (period == 25)
    assert r.prefix[0, 0] == pytest.approx(float(period == 25), abs=1e-3)
    assert "No head does induction" in r.lede


def test_without_the_control_text_the_fixed_distance_would_pass():
    """The companion: prefix matching alone calls the counting head an induction head."""
    model = distance(25)
    how = repeats(Lab(model), 4, 25)
    assert watch(Lab(model), how.said, how).kind("prefix").mean(0)[0, 0] > 0.9


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_random_model_has_none(family):
    r = InductionHeadsStudy(n_repeats=24, repeat_length=12)(load(tiny(family)))
    assert r.induction == ()
    assert r.prefix.max() < 0.15
    assert not r.trust.scores[0].beats_control


def test_chance_is_what_an_even_head_gets():
    model = induction()
    how = repeats(Lab(model), 3, 9)
    even = watch(Lab(model), how.said, how)
    for kind, chance in how.chance.items():
        assert even.kind(kind)[:, 0, 1] == pytest.approx(chance)


def test_random_tokens_differ_and_come_back():
    how = repeats(Lab(load("terrarium/repeats")), 5, 25)
    assert how.lead == 1
    for said, fresh in zip(how.said.tolist(), how.fresh.tolist()):
        assert said[1:26] == said[26:] == fresh[1:26]
        assert len({*fresh[1:]}) == 50
    with pytest.raises(InputError, match="smaller repeat_length"):
        repeats(Lab(load("terrarium/repeats")), 2, 61)


def test_eigenvalue_share():
    """A symmetric positive matrix copies, its negative anti-copies, a rotation does neither, and nothing is nothing."""
    x = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    assert eigenvalue_share((x @ x.T)[None])[0] == pytest.approx(1)
    assert eigenvalue_share(-(x @ x.T)[None])[0] == pytest.approx(-1)
    assert eigenvalue_share(turn[None])[0] == pytest.approx(0, abs=1e-9)
    assert eigenvalue_share(torch.stack([x, x * 0, x * 1e-12]))[1:].tolist() == [0, 0]
