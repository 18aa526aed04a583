"""Composition: low-rank scores against dense products, chance against real rotations, planted and trained circuits."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2, norm

from exegete.core.errors import ModelError
from exegete.core.results.composition import KINDS
from exegete.methods.mechanisms.composition import CompositionStudy
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.composition import beyond, by_chance, composition, evenness, reader, writer
from support.planted_induction import induction


def dense(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a @ b).norm() / (a.norm() * b.norm()))


def test_low_rank_scores_are_dense_ones():
    draw = torch.Generator().manual_seed(0)
    a, b, c, d = (torch.randn(3, 12, 4, generator=draw).double() for _ in range(4))
    mine = composition(writer(a, b.mT), reader(c, d))
    for i in range(3):
        for j in range(3):
            assert mine[i, j] == pytest.approx(dense(a[i] @ b[i].T, c[j] @ d[j].T))


def by_hand(family: str) -> np.ndarray:
    """Scores [kind, writer, reader] from layer 0 to layer 1 with whole matrices, from the checkpoint's own parameters."""
    module = tiny(family)[0]
    weights = {n: p.detach().double() for n, p in module.named_parameters()}
    layers = []
    for i in range(2):
        if family == "gpt2":
            gain = weights[f"transformer.h.{i}.ln_1.weight"]
            fused = weights[f"transformer.h.{i}.attn.c_attn.weight"]
            q, k, v = (w.unflatten(1, (4, -1)).movedim(1, 0) for w in fused.chunk(3, 1))
            o = weights[f"transformer.h.{i}.attn.c_proj.weight"].unflatten(0, (4, -1))
        else:
            gain, at = weights[f"model.layers.{i}.input_layernorm.weight"], f"model.layers.{i}.self_attn"
            q, k, v = (
                weights[f"{at}.{n}_proj.weight"].T.unflatten(1, (heads, -1)).movedim(1, 0)
                for n, heads in (("q", 4), ("k", 2), ("v", 2))
            )
            k, v = k[[0, 0, 1, 1]], v[[0, 0, 1, 1]]
            o = weights[f"{at}.o_proj.weight"].T.unflatten(0, (4, -1))
        fold = torch.diag(gain)
        if family == "gpt2":
            fold = (torch.eye(len(gain)) - 1 / len(gain)).double() @ fold
        layers.append([fold @ w for w in (q, k, v)] + [o])
    (_, _, v0, o0), (q1, k1, v1, o1) = layers
    found = np.zeros((3, 4, 4))
    for w in range(4):
        for r in range(4):
            ov = v0[w] @ o0[w]
            found[:, w, r] = [
                dense(ov, k1[r] @ q1[r].T),
                dense(ov, q1[r] @ k1[r].T),
                dense(ov, v1[r] @ o1[r]),
            ]
    return found


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_scores_of_a_model_are_dense_products_of_its_own_parameters(family):
    """Fused and transposed with a centred norm; grouped queries with a plain one."""
    r = CompositionStudy()(load(tiny(family)))
    assert np.allclose(r.score[:, :4, 4:], by_hand(family), atol=1e-5)
    assert np.isnan(r.score[:, 4:]).all()
    assert np.isnan(r.score[:, :, :4]).all()


@pytest.mark.parametrize("large", [1.0, 30.0])
def test_chance_is_that_of_real_rotations(large):
    """Mean and tail of the formula against rotating the residual in truth; the mean square is 1 / d exactly."""
    draw = torch.Generator().manual_seed(1)
    d, n = 24, 1500
    a, b, c, e = (torch.randn(1, d, 3, generator=draw).double() for _ in range(4))
    a[..., 0] *= large  # one large singular value: nearly rank 1
    c[..., 0] *= large
    writes, reads = writer(a, b.mT), reader(c, e)
    drawn: list[torch.Tensor] = []
    for _ in range(n):
        q, r = torch.linalg.qr(torch.randn(d, d, generator=draw, dtype=torch.float64))
        drawn.append(composition(writes @ (q * torch.diagonal(r).sign()), reads)[0, 0])
    real = torch.stack(drawn).numpy()
    spread = evenness(writes).numpy(), evenness(reads).numpy()
    assert (real**2).mean() == pytest.approx(1 / d, rel=0.06)
    assert by_chance(*spread, d)[0, 0] == pytest.approx(real.mean(), rel=0.05)
    for share in (0.5, 0.1, 0.02):
        bar = np.quantile(real, 1 - share)
        said = beyond(np.array([[bar]]), *spread, d)[0, 0]
        assert 0.75 * share < said < 2 * share  # rather too wide than too narrow
    if large > 1:  # a normal of the same mean and spread misjudges the tail of heads of low rank
        assert 1 - norm.cdf((np.quantile(real, 0.98) - real.mean()) / real.std()) < 0.013


def test_heads_of_rank_one_follow_a_chi_squared():
    """Theorem: with one singular value each, d X is the square of one normal, as d grows."""
    one, score = np.ones(1), np.array([[0.05]])
    assert beyond(score, one, one, 400)[0, 0] == pytest.approx(chi2.sf(400 * 0.05**2, 1))


@pytest.fixture(scope="module")
def trained():
    return CompositionStudy()(load("terrarium/repeats"))


def test_the_keys_of_the_trained_induction_heads_are_the_previous_token_head_s(trained):
    """0.h2 is the previous-token head, the heads of layer 1 do induction (test_induction): K-composition, and it stands out."""
    first = trained.top[:4]
    assert {(kind, w) for kind, w, *_ in first} == {("K", "0.h2")}
    assert {r for _, _, r, *_ in first} == {"1.h0", "1.h1", "1.h2", "1.h3"}
    score = trained.trust.scores[0]
    assert score.beats_chance
    assert score.beats_control
    assert score.percentile is not None
    assert score.percentile > 99.99
    assert score.value > 2 * score.chance
    assert score.chance == pytest.approx(1 / 8, rel=0.02)  # 1 / sqrt(d)
    by_kind = np.nanmax(trained.excess, (1, 2))
    assert by_kind[KINDS.index("k")] > 1.5 * by_kind[KINDS.index("q")] > by_kind[KINDS.index("v")]
    assert trained.distance_zero


def test_heads_that_write_nothing_have_no_scores(trained):
    dead = [trained.heads.index(h) for h in ("0.h1", "0.h3")]
    assert np.isnan(trained.score[:, dead]).all()


def test_the_untrained_checkpoint_has_no_such_pair():
    """The companion: the same study before training."""
    from exegete.models.series import checkpoints

    r = CompositionStudy()(load(checkpoints("terrarium/repeats")[0][1]))
    assert not r.trust.scores[0].beats_chance
    assert "does NOT stand out" in r.lede


def test_the_planted_circuit_and_the_same_turned_away():
    model = induction()
    r = CompositionStudy(n_top=1)(model)
    assert r.top[0][:3] == ("K", "0.h0", "1.h1")
    assert r.top[0][3] == pytest.approx(1 / 8, abs=0.001)  # 64 of 64 directions meet: 8 / (8 * 8)
    assert r.top[0][4] == pytest.approx(320**-0.5, rel=0.02)
    assert not r.distance_zero
    with (
        torch.no_grad()
    ):  # what 0.h0 writes is moved to where nobody reads: from "previous token" to the idle part
        o = model.module.get_parameter("transformer.h.0.attn.c_proj.weight")
        o.copy_(o.roll(128, 1))
    moved = CompositionStudy(n_top=1)(model)
    assert moved.score[0, 0, 5] < 0.2 * r.score[0, 0, 5]


def test_the_strongest_of_many_random_pairs_is_not_taken_for_a_find():
    """Of random models of many heads the best pair is nearly always far out by itself, and hardly ever after the correction."""
    alone, corrected = [], []
    for seed in range(12):
        module, tokenizer = tiny("gpt_neox", layers=4, seed=seed)
        r = CompositionStudy(n_top=1, seed=seed)(load((module, tokenizer)))
        alone.append(r.top[0][6] > 95)
        corrected.append(r.trust.scores[0].beats_chance)
    assert sum(alone) >= 10
    assert sum(corrected) <= 3


def test_one_layer_is_refused():
    with pytest.raises(ModelError, match="one layer"):
        CompositionStudy()(load(tiny("gpt2", layers=1)))
