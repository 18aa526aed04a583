"""Gradient methods on an additive and a pairwise black box, whose answers are known in closed form."""

import itertools

import numpy as np
import pytest
import torch

from exegete.methods.attribution.discretized_ig import DiscretizedIG
from exegete.methods.attribution.input_x_gradient import InputXGradient
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.saliency import Saliency
from exegete.methods.attribution.sequential_ig import SequentialIG
from exegete.methods.attribution.smoothgrad import SmoothGrad
from exegete.methods.attribution.split_ig import SplitIG
from exegete.models.ask import ask
from exegete.models.remove import fill
from support.embedded_boxes import box

TEXT = "the food was not good"


@pytest.fixture(scope="module", params=["additive", "pairwise"])
def case(request):
    """(kind, box, question, units, e [S, d], e' [S, d]) with the baseline at the mask."""
    q = ask(box(request.param), TEXT)
    units = q.units("token")
    return request.param, q.model.module, q, units, q.embeddings().numpy(), fill(q, units, "mask").numpy()


def gradient(kind, b, e):
    """df/de [S, d] at e, by hand."""
    n = len(e)
    if kind == "additive":
        return b.w[:n].numpy()
    c = b.c[:n, :n].numpy()
    return ((c + c.T) @ (e @ b.a.numpy()))[:, None] * b.a.numpy()


def mine(slots, units):
    return np.array([slots[list(u.tokens)].sum() for u in units])


def test_saliency_is_the_norm_of_the_known_gradient(case):
    kind, b, q, units, e, _ = case
    g = gradient(kind, b, e)
    assert Saliency().attribute(q, units).total == pytest.approx(
        mine(np.linalg.norm(g, axis=1), units), rel=1e-9
    )
    assert Saliency(norm="l1").attribute(q, units).total == pytest.approx(
        mine(np.abs(g).sum(1), units), rel=1e-9
    )
    assert Saliency().attribute(q, units).signed is False


def test_input_x_gradient_is_the_known_product(case):
    kind, b, q, units, e, _ = case
    found = InputXGradient().attribute(q, units).total
    assert found == pytest.approx(mine((e * gradient(kind, b, e)).sum(1), units), rel=1e-9)


@pytest.mark.parametrize("steps", ["auto", 2, 7])
@pytest.mark.parametrize("rule", ["gauss_legendre", "riemann_trapezoid"])
def test_integrated_gradients_are_exact(case, steps, rule):
    """The gradient of both boxes is linear along the path, so its mean is the gradient half-way."""
    kind, b, q, units, e, base = case
    found = IntegratedGradients(baseline="mask", n_steps=steps, rule=rule).attribute(q, units)
    known = mine(((e - base) * gradient(kind, b, (e + base) / 2)).sum(1), units)
    assert found.total == pytest.approx(known, rel=1e-9, abs=1e-12)
    assert found.total.sum() == pytest.approx(float(q.value()[0]) - found.base_value, rel=1e-9)
    assert found.checks[0].passed and found.checks[0].value < 1e-9


def test_sequential_ig_moves_one_token_at_a_time(case):
    kind, b, q, units, e, base = case
    known = mine(((e - base) * gradient(kind, b, e)).sum(1), units)  # f is linear in each token alone
    found = SequentialIG(baseline="mask").attribute(q, units)
    assert found.total == pytest.approx(known, rel=1e-9) and found.checks[0].passed
    joint = IntegratedGradients(baseline="mask").attribute(q, units).total
    assert np.allclose(found.total, joint) == (kind == "additive")


def test_split_ig_cuts_where_f_has_moved_its_share_and_the_halves_are_the_whole(case):
    kind, _b, q, units, _e, _base = case
    whole = IntegratedGradients(baseline="mask").attribute(q, units)
    left = SplitIG(baseline="mask", phi=0.6).attribute(q, units)
    right = SplitIG(baseline="mask", phi=0.6, part="right").attribute(q, units)
    assert left.total + right.total == pytest.approx(whole.total, rel=1e-9)
    change = whole.total.sum()
    assert left.total.sum() == pytest.approx(0.6 * change, abs=2e-4 * abs(change))
    if kind == "additive":
        assert left.total == pytest.approx(0.6 * whole.total, rel=1e-3)


def test_smoothgrad_of_a_linear_gradient_is_its_middle(case):
    """Noise has mean zero and the gradient is linear in the input, so the mean map is known within its standard error."""
    kind, b, q, units, e, _ = case
    found = SmoothGrad(of="input_x_gradient", n_samples=400, noise=0.3).attribute(q, units)
    known = mine(
        (e * gradient(kind, b, e)).sum(1), units
    )  # c has no diagonal: no term in the variance of the noise
    assert (np.abs(found.total - known) < 4.5 * found.stderr).all()
    assert (found.stderr > 0).all()
    quiet = SmoothGrad(of="saliency", n_samples=2, noise=0.0).attribute(q, units)
    assert quiet.total == pytest.approx(Saliency().attribute(q, units).total) and quiet.stderr.max() < 1e-12


@pytest.mark.parametrize("strategy", ["greedy", "maxcount"])
def test_discretized_ig_of_an_additive_box_does_not_depend_on_the_path(case, strategy):
    kind, b, q, units, _e, _base = case
    method = DiscretizedIG(baseline="mask", strategy=strategy, n_steps=6)
    found = method.attribute(q, units)
    joint = IntegratedGradients(baseline="mask").attribute(q, units).total
    assert np.allclose(found.total, joint) == (kind == "additive")
    assert found.checks[0].value < 1e-9  # Gauss's rule is exact on each straight leg of a quadratic
    stops = method.path(q, units).numpy()
    known = sum(
        ((after - before) * gradient(kind, b, (before + after) / 2)).sum(1)
        for before, after in itertools.pairwise(stops)
    )
    assert found.total == pytest.approx(mine(known, units), rel=1e-9)
    paper = DiscretizedIG(
        baseline="mask", strategy=strategy, n_steps=6, rule="riemann_left", factor=1, tolerance=1e-6
    )
    left = sum(
        ((after - before) * gradient(kind, b, before)).sum(1) for before, after in itertools.pairwise(stops)
    )
    assert paper.attribute(q, units).total == pytest.approx(mine(left, units), rel=1e-9)
    assert paper.attribute(q, units).checks[0].passed == (kind == "additive")


def test_discretized_paths_are_monotone_and_leave_other_slots_alone(case):
    _, _, q, units, e, base = case
    stops = DiscretizedIG(baseline="mask", n_steps=9).path(q, units)
    assert (torch.diff(stops, dim=0) * torch.sign(torch.as_tensor(e - base)) >= -1e-12).all()
    assert np.array_equal(stops[0], base) and np.array_equal(stops[-1], e)
    special = [i for i, t in enumerate(q.tokens) if t.special]
    assert special and (stops[:, special] == stops[:1, special]).all()


def test_words_off_the_straight_line_are_really_visited():
    """Some stop is, in most coordinates, a word of the vocabulary other than the text's own and the mask."""
    q = ask(box("additive"), TEXT)
    units = q.units("token")
    stops = DiscretizedIG(baseline="mask", n_steps=4, strategy="maxcount").path(q, units).numpy()[1:-1]
    table = q.model.module.embedding.weight.detach().numpy()
    slot = units[0].tokens[0]
    kept = max((np.isclose(s[slot], w)).sum() for s in stops for i, w in enumerate(table) if i != q.ids[slot])
    assert kept >= 3
