"""Dictionaries of sparse features: slow twins, automatic differentiation, and a planted dictionary that must be found again."""

import math
from dataclasses import replace

import pytest
import torch

from exegete.ops.dictionary import (
    KINDS,
    Dictionary,
    alike,
    explained,
    random_dictionary,
    strongest,
    summed,
    turned,
)  # fmt: skip
from exegete.ops.dictionary_gradients import Weights, gradients
from exegete.ops.dictionary_training import Recipe, Trainer, train

IN, OUT, FEATURES, ROWS, K = 5, 4, 7, 6, 3


def drawn(kind, out=IN, centred=True, seed=0):
    g = torch.Generator().manual_seed(seed)

    def r(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64) * 0.5

    gate = kind in ("jumprelu", "gated")
    return Weights(
        kind, r(FEATURES, IN), r(FEATURES, out), r(FEATURES), r(out), r(FEATURES) - 1 if gate else None,
        r(FEATURES) if kind == "gated" else None, K if kind == "topk" else 0, centred,
    )  # fmt: skip


def as_dictionary(w):
    jump = w.kind == "jumprelu"
    return Dictionary(
        w.kind, w.encoder.T, w.decoder, w.bias, w.offset, w.gain.exp() if jump else None,
        None if jump else w.gain, w.level, w.k, w.centred,
    )  # fmt: skip


def slow(w, x):
    """Features and what they stand for, number by number."""
    n = len(x)
    features, out = torch.zeros(n, FEATURES, dtype=x.dtype), torch.zeros(n, w.decoder.shape[1], dtype=x.dtype)
    for i in range(n):
        pre = []
        for j in range(FEATURES):
            read = [float(x[i, a] - (w.offset[a] if w.centred else 0)) for a in range(IN)]
            inner = sum(read[a] * float(w.encoder[j, a]) for a in range(IN))
            pre.append((inner + float(w.bias[j]), inner))
        kept = sorted(range(FEATURES), key=lambda j: -pre[j][0])[:K]
        for j, (p, inner) in enumerate(pre):
            if w.kind == "relu":
                f = max(p, 0.0)
            elif w.kind == "topk":
                f = max(p, 0.0) if j in kept else 0.0
            elif w.kind == "jumprelu":
                f = p if p > math.exp(float(w.gain[j])) else 0.0
            else:
                f = max(inner * math.exp(float(w.gain[j])) + float(w.level[j]), 0.0) if p > 0 else 0.0
            features[i, j] = f
        for b in range(out.shape[1]):
            out[i, b] = float(w.offset[b]) + sum(
                float(features[i, j]) * float(w.decoder[j, b]) for j in range(FEATURES)
            )
    return features, out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centred", [True, False])
def test_forward_against_a_slow_twin(kind, centred):
    w = drawn(kind, IN if centred else OUT, centred)
    x = torch.randn(ROWS, IN, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    features, out = slow(w, x)
    d = as_dictionary(w)
    assert torch.allclose(d.encode(x), features)
    assert torch.allclose(d(x), out)
    assert torch.allclose(d(x.reshape(2, 3, IN)), out.reshape(2, 3, -1))
    assert 0 < (features > 0).double().mean() < 1


class Jump(torch.autograd.Function):
    """JumpReLU with the slope of a rectangle, written as one would (eq. 11 of the paper)."""

    @staticmethod
    def forward(ctx, pre, t, band):
        ctx.save_for_backward(pre, t)
        ctx.band = band
        return pre * (pre > t)

    @staticmethod
    def backward(ctx, grad):
        pre, t = ctx.saved_tensors
        near = ((pre - t).abs() / ctx.band < 0.5).to(pre.dtype)
        return grad * (pre > t), -(t / ctx.band) * near * grad, None


class Step(torch.autograd.Function):
    """The step, with the slope of the same rectangle (eq. 12)."""

    @staticmethod
    def forward(ctx, pre, t, band):
        ctx.save_for_backward(pre, t)
        ctx.band = band
        return (pre > t).to(pre.dtype)

    @staticmethod
    def backward(ctx, grad):
        pre, t = ctx.saved_tensors
        near = ((pre - t).abs() / ctx.band < 0.5).to(pre.dtype)
        return torch.zeros_like(pre), -(1 / ctx.band) * near * grad, None


def loss(w, x, y, sparsity, band, dead):
    """The loss of the module's docstring, for automatic differentiation."""
    read = x - w.offset if w.centred else x
    inner = read @ w.encoder.T
    pre = inner + w.bias
    extra = 0.0
    if w.kind == "relu":
        f = pre.relu()
        extra = sparsity * f.sum()
    elif w.kind == "topk":
        f = torch.zeros_like(pre)
        values, at = pre.topk(w.k)
        f = f.scatter(1, at, values.relu())
        left = (y - f @ w.decoder - w.offset).detach()
        spare = pre.detach() - pre.detach() + inner + w.bias
        if w.centred:  # the auxiliary loss moves the dead features only, not the offset
            spare = (x - w.offset.detach()) @ w.encoder.T + w.bias
        z = spare.relu() * dead
        if int(dead.sum()) > max(1, IN // 2):
            values, at = (spare.relu())[:, dead].topk(max(1, IN // 2))
            which = dead.nonzero()[:, 0]
            z = torch.zeros_like(z).scatter(1, which[at], values)
        extra = (z @ w.decoder - left).square().sum() / 32
    elif w.kind == "jumprelu":
        t = w.gain.exp()
        f = Jump.apply(pre, t, band)
        extra = sparsity * Step.apply(pre, t, band).sum()
    else:
        f = (inner * w.gain.exp() + w.level).relu() * (pre > 0)
        guess = pre.relu() @ w.decoder.detach() + w.offset.detach()
        extra = sparsity * pre.relu().sum() + (guess - y).square().sum()
    return ((f @ w.decoder + w.offset - y).square().sum() + extra) / len(x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("n_dead", [2, 5])
def test_gradients_against_automatic_differentiation(kind, centred, n_dead):
    out = IN if centred else OUT
    w = drawn(kind, out, centred, seed=3)
    g = torch.Generator().manual_seed(6)
    x = torch.randn(40, IN, generator=g, dtype=torch.float64)
    y = x if centred else torch.randn(40, out, generator=g, dtype=torch.float64)
    dead = torch.arange(FEATURES) < n_dead
    for t in w.named().values():
        t.requires_grad_(True)
    with torch.enable_grad():
        loss(w, x, y, 0.3, 0.4, dead).backward()
    truth = {n: t.grad for n, t in w.named().items()}
    plain = replace(w, **{n: t.detach() for n, t in w.named().items()})
    found = gradients(plain, x, y, 0.3, 0.4, dead).gradients
    assert set(found) == set(truth)
    for name in truth:
        assert torch.allclose(found[name], truth[name], atol=1e-9), name
        assert float(truth[name].abs().max()) > 1e-3, name


def test_sums_by_index_are_products_with_the_scattered_matrix():
    g = torch.Generator().manual_seed(0)
    pre = torch.randn(ROWS, FEATURES, generator=g)
    values, at = strongest(pre, K)
    whole = torch.zeros_like(pre).scatter(1, at, values)
    rows, more = torch.randn(FEATURES, OUT, generator=g), torch.randn(ROWS, IN, generator=g)
    assert torch.allclose(summed(values, at, rows), whole @ rows, atol=1e-6)
    assert torch.allclose(turned(values, at, more, FEATURES), whole.T @ more, atol=1e-6)


def test_explained_variance_by_hand():
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 6.0]])
    # mean (3, 2): squares 4 + 4, 0 + 4, 4 + 16 = 32; errors 0, 1 + 1, 4 = 6
    x_hat = torch.tensor([[1.0, 0.0], [2.0, 1.0], [5.0, 4.0]])
    assert explained(x, x_hat) == pytest.approx(1 - 6 / 32)
    assert explained(x, x.mean(0).expand_as(x)) == pytest.approx(0.0)


def planted(n=10_000, d=32, m=64, on=3, seed=77):
    """Rows that are sparse sums of unit vectors, moved and scaled; and these vectors."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(m, d, generator=g)
    rows = rows / rows.norm(dim=1, keepdim=True)
    at = torch.rand(n, m, generator=g).topk(on, 1).indices
    return rows, 7 * summed(0.5 + torch.rand(n, on, generator=g), at, rows) + 3


def learned(kind, x, m=64, k=3, n_steps=500):
    g = torch.Generator().manual_seed(1)
    batches = (x[torch.randint(len(x), (256,), generator=g)] for _ in range(n_steps))
    return train(batches, Recipe(kind, n_features=m, k=k, n_steps=n_steps, rate=5e-3)).dictionary()


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_dictionary_is_found_again(kind):
    true, x = planted()
    found = learned(kind, x)
    assert alike(found.decoder, true) >= 0.9
    assert torch.allclose(found.decoder.norm(dim=1), torch.ones(64), atol=1e-5)
    held = x[:2000]
    assert explained(held, found(held)) > 0.8
    if kind == "topk":
        assert float((found.encode(held) > 0).sum(1).float().max()) <= 3


def test_neither_random_directions_nor_principal_components_find_it():
    true, x = planted()
    guess = random_dictionary(x, 64, 3, seed=0)
    axes = torch.linalg.svd(x[:4000] - x.mean(0), full_matrices=False).Vh
    assert alike(guess.decoder, true) < 0.6
    assert alike(torch.cat([axes, -axes]), true) < 0.6
    assert explained(x[:2000], guess(x[:2000])) < 0.5


def test_dense_data_of_no_features_has_nothing_to_find():
    """The same training on plain noise finds no planted direction: the score can fail."""
    true, x = planted()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    assert alike(learned("topk", noise, n_steps=300).decoder, true) < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_mean_are_folded_into_a_transcoder(kind):
    """What the trainer computes in normalised space is what the dictionary computes on activations as they are."""
    g = torch.Generator().manual_seed(2)
    x, y = torch.randn(300, IN, generator=g) * 5 + 2, torch.randn(300, OUT, generator=g) * 0.3 - 1
    trainer = Trainer(Recipe(kind, n_features=FEATURES, k=K, n_steps=50), x, y)
    for _ in range(20):
        trainer.step(x, y)
    w = trainer.weights
    inside = as_dictionary(w)((x - trainer.mean_in) / trainer.scale_in) * trainer.scale_out + trainer.mean_out
    assert torch.allclose(trainer.dictionary()(x), inside, atol=1e-4)


def test_a_dead_feature_comes_back():
    """Features whose bias never lets them on are used again at the end, by either way of handling them."""
    _, x = planted(4000)
    for kind in ("topk", "relu"):
        trainer = Trainer(Recipe(kind, n_features=64, k=3, n_steps=200, rate=5e-3, dead_after=5), x)
        trainer.weights.bias[:20] = -5.0
        g = torch.Generator().manual_seed(0)
        for _ in range(200):
            trainer.step(x[torch.randint(len(x), (256,), generator=g)])
        back = (trainer.dictionary().encode(x)[:, :20] > 0).any(0).float()
        assert float(back.mean()) > 0.8, kind


def test_the_same_seed_gives_the_same_dictionary():
    _, x = planted(2000)
    a, b = (learned("gated", x, n_steps=30) for _ in range(2))
    assert torch.equal(a.encoder, b.encoder)
    assert torch.equal(a.decoder, b.decoder)
