"""Effective attention against least squares and real runs; hidden token attribution against whole Jacobians."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.methods.attention.effective_attention import EffectiveAttentionStudy
from exegete.methods.attention.hidden_token_attribution import HiddenTokenAttributionStudy
from exegete.models.capture import run
from exegete.models.edit import Set
from exegete.models.load import load
from exegete.models.matrix import linear_map
from exegete.models.tiny import tiny
from exegete.ops.effective import effective, narrow

IDS = (10, 20, 30, 40, 50, 21)
LONG = Text(ids=tuple(20 + (7 * i) % 30 for i in range(24)))


def attention(n: int, d: int, causal: bool):
    rng = np.random.default_rng(n + d)
    sees = np.tril(np.ones((n, n), bool)) if causal else np.ones((n, n), bool)
    a = np.where(sees, rng.random((n, n)), 0)
    a /= a.sum(1, keepdims=True)
    return a[None], rng.standard_normal((1, n, d)), sees[None]


@pytest.mark.parametrize("causal", [True, False])
def test_effective_attention_is_the_least_with_the_same_output(causal):
    a, t, sees = attention(9, 4, causal)
    own, free = effective(a, t, sees)
    assert np.allclose(own @ t, a @ t, atol=1e-12)
    assert (own[~sees] == 0).all()
    for i in range(9):
        keys = np.flatnonzero(sees[0, i])
        least = np.linalg.lstsq(t[0, keys].T, (a @ t)[0, i], rcond=None)[0]  # least norm among all solutions
        assert np.allclose(own[0, i, keys], least, atol=1e-10)
        assert free[0, i] == max(len(keys) - 4, 0)
    assert np.linalg.norm(own) < np.linalg.norm(a) - 0.01


def test_more_keys_than_the_head_is_wide_is_not_identifiable():
    """Exactly then other weights give the same output: found by adding what no value carries."""
    for n, identifiable in ((4, True), (5, False)):
        a, t, sees = attention(n, 4, False)
        own, free = effective(a, t, sees)
        assert (free == 0).all() == identifiable
        assert np.allclose(own, a) == identifiable
        other = np.linalg.svd(t[0].T, full_matrices=True)[2][4:]
        assert len(other) == n - 4
        if len(other):
            assert np.allclose((a[0] + 3 * other[0]) @ t[0], a[0] @ t[0])
            assert np.allclose(
                effective(a + 3 * other[0], t, sees)[0], own
            )  # and they have the same effective attention


def test_values_may_be_brought_to_the_width_of_the_head():
    rng = np.random.default_rng(0)
    a, v, sees = attention(9, 4, True)
    w = rng.standard_normal((4, 32))
    whole, free = effective(a, v @ w, sees)
    short, same = effective(a, v @ narrow(w), sees)
    assert np.allclose(whole, short, atol=1e-10)
    assert (free == same).all()


@pytest.mark.parametrize(("family", "task"), [("gpt2", None), ("llama", None), ("bert", "masked")])
def test_a_model_runs_on_effective_attention(family, task):
    """By hand: its own T = E W_v W_o, the pattern replaced, the logits the same; and not so with weights moved at random."""
    model = load(tiny(family, task))
    r = EffectiveAttentionStudy()(model, LONG)
    assert r.open.min() > 0
    assert r.kept.max() < 1
    ids = {"input_ids": torch.tensor([LONG.ids])}
    base = run(model, ids).logits
    own = torch.from_numpy(r.maps[0].effective)
    edit = {f"{k}.pattern": Set(own[k][None]) for k in range(len(own))}
    assert (run(model, ids, edit=edit).logits - base).abs().max() < 1e-4 * base.abs().max()
    raw = torch.from_numpy(r.maps[0].pattern)
    moved = raw + torch.randn(raw.shape, generator=torch.Generator().manual_seed(0)) * (own - raw).std()
    edit = {f"{k}.pattern": Set(moved[k][None]) for k in range(len(own))}
    assert (run(model, ids, edit=edit).logits - base).abs().max() > 1e-2 * base.abs().max()


def test_every_head_has_its_own_values_and_output_weights():
    """A head whose output weights are nothing carries nothing: all of its attention is without effect."""
    module, tokenizer = tiny("gpt2")
    proj = module.transformer.h[1].attn.c_proj
    width = linear_map(proj)[0].shape[0] // 4
    with torch.no_grad():
        proj.weight[2 * width : 3 * width] = 0
    r = EffectiveAttentionStudy()(load((module, tokenizer)), LONG)
    assert r.kept[1, 2] == 0
    assert (np.delete(r.kept.ravel(), 6) > 0.1).all()


def jacobian_shares(module, states, n: int) -> np.ndarray:
    """|dh_j/dx_i| / sum by whole Jacobians: `states` gives the hidden states of embedded inputs."""
    x = module.get_input_embeddings()(torch.tensor([IDS])).detach()
    whole = torch.autograd.functional.jacobian(lambda e: torch.stack(states(e)), x)
    size = whole[:, 0, :, :, 0].square().sum((2, 4)).sqrt()
    return (size / size.sum(-1, keepdim=True)).numpy()


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_contributions_are_those_of_whole_jacobians(family):
    module, tokenizer = tiny(family, "masked" if family == "bert" else None)
    module.eval().requires_grad_(False)
    last = 1 if family == "bert" else None  # the last hidden state of GPT-2 has passed the final norm

    def states(e):
        out = module(inputs_embeds=e, output_hidden_states=True).hidden_states
        return out[:-1] if last is None else out

    truth = jacobian_shares(module, states, len(IDS))
    r = HiddenTokenAttributionStudy(n_draws=1000)(load((module, tokenizer)), Text(ids=IDS))
    assert np.allclose(r.shares[: len(truth)], truth, atol=1e-5)
    assert np.allclose(r.shares.sum(-1), 1, atol=1e-6)
    few = HiddenTokenAttributionStudy(n_draws=8)(load((module, tokenizer)), Text(ids=IDS))
    assert np.abs(few.own - r.own).max() < 0.1
    assert np.abs(few.shares - r.shares).max() > 1e-4  # it is an estimate


def test_nothing_comes_from_the_future_and_nothing_without_attention():
    module, tokenizer = tiny("gpt2")
    with torch.no_grad():
        module.transformer.h[0].attn.c_proj.weight.zero_()
    r = HiddenTokenAttributionStudy(n_draws=4)(load((module, tokenizer)), Text(ids=IDS))
    assert (np.triu(r.shares, 1) == 0).all()
    assert np.allclose(r.own[0, :2], 1)
    assert r.own[0, 2] < 0.99


def test_a_single_token_is_refused():
    with pytest.raises(InputError, match="two tokens"):
        HiddenTokenAttributionStudy()(load(tiny("gpt2")), Text(ids=(10,)))
