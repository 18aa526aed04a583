"""The toy model of superposition: gradients, the theorem of capacity, and what is known of its dense and sparse ends."""

import math

import pytest
import torch

from exegete.ops.superposition import Toy, gradients, sample, told_apart, train


def importance(n, settings=1, decay=0.9):
    return (decay ** torch.arange(n).float()).expand(settings, n).contiguous()


@pytest.mark.parametrize("linear", [False, True])
def test_gradients_against_automatic_differentiation(linear):
    g = torch.Generator().manual_seed(0)
    w = torch.randn(3, 2, 5, generator=g, requires_grad=True)
    b = (torch.randn(3, 5, generator=g) * 0.1).requires_grad_(True)
    density, weight = torch.tensor([1.0, 0.5, 0.2]), importance(5, 3)
    x = sample(density, 40, 5, g)
    out = x @ w.transpose(1, 2) @ w
    out = out if linear else (out + b[:, None]).relu()
    loss = ((out - x).square() * weight[:, None]).sum(2).mean(1) / density
    with torch.enable_grad():
        loss.sum().backward()
    found = gradients(w.detach(), b.detach(), x, weight, density, linear)
    assert torch.allclose(found[0], w.grad, atol=1e-5)
    assert torch.allclose(found[1], torch.zeros(3, 5) if linear else b.grad, atol=1e-5)


def toy(rows):
    w = torch.tensor(rows).T[None]
    return Toy(w, torch.zeros(1, len(rows)), torch.zeros(1))


def test_dimensionality_by_hand():
    """A dimension to itself; an antipodal pair, half each; a triangle in the plane, two thirds each; nothing, none."""
    assert toy([[1.0, 0.0], [0.0, 2.0]]).dimensionality()[0].tolist() == pytest.approx([1.0, 1.0])
    assert toy([[1.0], [-1.0]]).dimensionality()[0].tolist() == pytest.approx([0.5, 0.5])
    third = [[math.cos(a), math.sin(a)] for a in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]
    assert toy(third).dimensionality()[0].tolist() == pytest.approx([2 / 3] * 3, abs=1e-5)
    assert toy([[1.0, 0.0], [0.0, 0.0]]).dimensionality()[0].tolist() == pytest.approx([1.0, 0.0])


def test_dimensionality_against_a_slow_twin():
    w = torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(1))
    found = Toy(w, torch.zeros(1, 6), torch.zeros(1)).dimensionality()[0]
    for i in range(6):
        wi = w[0, :, i]
        unit = wi / wi.norm()
        slow = float(wi @ wi) / sum(float(unit @ w[0, :, j]) ** 2 for j in range(6))
        assert float(found[i]) == pytest.approx(slow, rel=1e-5)


def test_dimensionalities_add_up_to_the_dimensions_at_most():
    g = torch.Generator().manual_seed(2)
    w = torch.randn(500, 3, 8, generator=g) * torch.rand(500, 1, 8, generator=g)
    total = Toy(w, torch.zeros(500, 8), torch.zeros(500)).dimensionality().sum(1)
    assert float(total.max()) <= 3 + 1e-4
    assert float(total.max()) > 2.5


def test_without_relu_the_most_important_features_are_kept_and_no_more():
    found = train(
        torch.tensor([0.05]), importance(10), 4, n_steps=800, batch=256, rate=1e-2, seed=0, linear=True
    )
    assert (found.stored()[0] > 0.5).nonzero()[:, 0].tolist() == [0, 1, 2, 3]
    assert float(found.dimensionality()[0].sum()) == pytest.approx(4, abs=0.05)


def test_dense_features_take_a_dimension_each_and_sparse_ones_share():
    found = train(torch.tensor([1.0, 0.02]), importance(10, 2), 4, n_steps=800, batch=256, rate=1e-2, seed=0)
    dense, sparse = found.stored() > 0.5
    assert dense.nonzero()[:, 0].tolist() == [0, 1, 2, 3]
    assert int(sparse.sum()) > 6
    assert float(found.dimensionality()[1].max()) < 0.8


def test_phases_of_two_features_in_one_dimension():
    """An unimportant second feature is dropped, an important one takes the dimension, a rare one shares it."""
    weight = torch.tensor([[1.0, 0.05], [1.0, 20.0], [1.0, 1.0]]).repeat_interleave(4, 0)
    density = torch.tensor([1.0, 1.0, 0.01]).repeat_interleave(4)
    found = train(density, weight, 1, n_steps=600, batch=128, rate=1e-2, seed=0)
    best = found.loss.reshape(3, 4).argmin(1) + torch.arange(3) * 4
    assert told_apart(found, 1)[best].tolist() == [0, 1, 2]
