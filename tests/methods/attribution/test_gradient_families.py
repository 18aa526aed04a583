"""Gradient methods on a tiny model of every family, and the promises that hold on all of them."""

from functools import cache

import numpy as np
import pytest
import torch

from exegete.core.target import Target
from exegete.methods.attribution.conductance import Conductance
from exegete.methods.attribution.discretized_ig import DiscretizedIG
from exegete.methods.attribution.input_x_gradient import InputXGradient
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.saliency import Saliency
from exegete.methods.attribution.sequential_ig import SequentialIG
from exegete.methods.attribution.smoothgrad import SmoothGrad
from exegete.methods.attribution.split_ig import SplitIG
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import families, tasks, tiny

JUMPS = {"mixtral"}  # which experts are taken changes in jumps along the path, and a jump has no gradient
METHODS = (
    Saliency(),
    InputXGradient(),
    SmoothGrad(n_samples=3),
    IntegratedGradients(),
    SplitIG(),
    SequentialIG(max_steps=128),
    DiscretizedIG(n_steps=8, factor=3),
    Conductance(site="resid_post"),
)
CLASSIFIERS = ("gpt2", "llama", "bert", "deberta_v2", "t5", "bart")
LONGER = Target(kind="continuation", label=" good staff")


@cache
def model(family, task=None):
    return load(tiny(family, task))


def question(family, task=None, target=None):
    m = model(family, task)
    gap = m.tokenizer.mask_token if m.task == "masked" else "very"
    return ask(m, f"the food was {gap} good", target)


def check(found, name):
    return next(c for c in found.checks if c.name == name)


@pytest.mark.parametrize("family", families())
def test_every_family(family):
    """All methods run, leave the model untouched, and add up; residual conductance is integrated gradients."""
    q = question(family)
    found = {m.id: explain(m, q, "word") for m in METHODS}
    for a in found.values():
        assert a.total.shape == (len(a.units),) and np.isfinite(a.total).all() and np.abs(a.total).max() > 0
        assert a.cost.backwards > 0 and check(a, "model untouched").passed
        if family not in JUMPS | {"t5"}:
            assert not [c for c in a.checks if not c.passed], a.provenance.method
    ig = found["integrated_gradients"]
    assert check(ig, "completeness").passed == (family not in JUMPS)
    assert np.abs(found["conductance"].total - ig.total).max() <= 1e-4 * np.abs(ig.total).max()
    if family not in JUMPS:
        assert ig.total.sum() == pytest.approx(
            ig.value - ig.base_value, abs=0.0101 * abs(ig.value - ig.base_value)
        )


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_classifiers(family):
    """Also those whose decoder reads the text a second time: their points reach both readings."""
    assert "sequence" in tasks(family)
    q = question(family, "sequence")
    embedded = q.ask_points(lambda part: q.embeddings()[None][part], 1)[0]
    assert embedded == pytest.approx(q.value(), abs=1e-5)
    for method in (
        Saliency(),
        IntegratedGradients(baseline="mean", max_steps=2048),
        Conductance(max_steps=2048),
    ):
        a = explain(method, q, "word")
        assert np.isfinite(a.total).all() and not [c for c in a.checks if not c.passed]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.id)
def test_the_token_budget_does_not_change_scores(method):
    q = question("llama")
    units = q.units("token")
    whole = method.attribute(q, units)
    q.model.token_budget, before = 2 * len(q.ids), q.model.token_budget
    try:
        cut = method.attribute(q, units)
    finally:
        q.model.token_budget = before
    assert np.abs(cut.total - whole.total).max() <= 1e-5 * np.abs(whole.total).max()


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.id)
def test_no_pass_is_larger_than_the_token_budget(method, monkeypatch):
    q = question("gpt2")
    sizes = []
    run = type(q).run
    monkeypatch.setattr(type(q), "run", lambda self, points: sizes.append(len(points)) or run(self, points))
    monkeypatch.setattr(q.model, "token_budget", 3 * len(q.ids))
    method.attribute(q, q.units("token"))
    assert max(sizes) <= 3


@pytest.mark.parametrize(
    "method", [m for m in METHODS if "per_output" in type(m).model_fields], ids=lambda m: m.id
)
@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_scores_of_each_output_sum_to_the_total_and_unread_tokens_score_nothing(method, family):
    q = question(family, target=LONGER)
    units = q.units("token", prefix=True)
    seen = q.available(units)
    each = method.model_copy(update={"per_output": True}).attribute(q, units)
    assert each.each.shape == (q.n_outputs, len(units)) and q.n_outputs > 1
    assert (each.each[~seen] == 0).all() and (~seen).any()
    alone = method.attribute(q, units)
    scale = np.abs(alone.total).max()
    assert np.abs(each.total - alone.total).max() <= 1e-5 * scale
    if method.id in ("integrated_gradients", "input_x_gradient"):
        assert np.abs(each.each.sum(0) - each.total).max() <= 1e-5 * scale


@pytest.mark.parametrize(
    "method", [InputXGradient(), IntegratedGradients(n_steps=8), SequentialIG(n_steps=4)], ids=lambda m: m.id
)
def test_the_joint_probability_follows_the_product_rule(method):
    """Its total comes from the outputs' own gradients with `per_output`, from a backward of the product without."""
    q = question("gpt2", target=LONGER.model_copy(update={"scale": "prob"}))
    units = q.units("token", prefix=True)
    each = method.model_copy(update={"per_output": True}).attribute(q, units)
    alone = method.attribute(q, units)
    assert np.abs(each.total - alone.total).max() <= 1e-4 * np.abs(alone.total).max()


def test_a_contrast_of_two_continuations():
    q = question("gpt2", target=Target(kind="continuation", label=" good staff", against=" bad"))
    a = explain(IntegratedGradients(tolerance=1e-3), q, "word")
    assert check(a, "completeness").passed and a.total.sum() == pytest.approx(
        a.value - a.base_value, rel=2e-3
    )
    through = explain(Conductance(site="resid_post", tolerance=1e-3), q, "word")
    assert np.allclose(through.total, a.total, rtol=1e-4, atol=1e-5)


def test_auto_is_as_good_as_it_says_where_a_fixed_number_of_steps_is_not():
    """From a zero baseline the norm of Llama is steep; auto finds it, 50 steps do not, and the check says so."""
    q = question("llama")
    auto = explain(IntegratedGradients(baseline="zero", tolerance=0.01), q, "token")
    fixed = explain(IntegratedGradients(baseline="zero", n_steps=50), q, "token")
    best = explain(IntegratedGradients(baseline="zero", tolerance=1e-4, max_steps=4096), q, "token")
    assert check(auto, "completeness").passed and not check(fixed, "completeness").passed
    error = lambda a: np.abs(a.total - best.total).sum() / np.abs(best.total).sum()  # noqa: E731
    assert error(auto) < 0.02 < 0.1 < error(fixed)


def test_sequential_ig_is_leave_one_out_with_the_mask_and_equals_its_slow_twin():
    q = question("bert", "sequence")
    units = q.units("token")
    mask, module, row = q.model.tokenizer.mask_token_id, q.model.module, q.branches[0].rows[0]
    found = SequentialIG(tolerance=1e-4).attribute(q, units)
    fixed = SequentialIG(n_steps=6).attribute(q, units)
    x, w = np.polynomial.legendre.leggauss(6)
    for u, unit in enumerate(units):
        i = unit.tokens[0]
        ids = q.ids.copy()
        ids[i] = mask
        out = float(q.value()[0] - q.ask(ids[None])[0, 0])
        assert found.total[u] == pytest.approx(out, abs=2e-4 * np.abs(found.total).max())
        start, slow = q.embeddings(ids), 0.0
        for a, weight in zip((x + 1) / 2, w / 2):
            point = (start + a * (q.embeddings() - start)).float()[None].requires_grad_(True)
            grad = torch.autograd.grad(module(inputs_embeds=point).logits[0, row.id], point)[0][0]
            slow += weight * float(((q.embeddings() - start)[i] * grad[i]).sum())
        assert fixed.total[u] == pytest.approx(slow, abs=1e-5 * np.abs(fixed.total).max())


def test_conductance_of_neurons_adds_up_to_that_of_the_layer():
    q = ask(load(tiny("bert", width=8, heads=2)), "the food was [MASK]")
    units = q.units("token")
    whole = Conductance(layer=1, n_steps=3).attribute(q, units).total
    width = 16
    parts = sum(Conductance(layer=1, n_steps=3, unit=j).attribute(q, units).total for j in range(width))
    assert np.allclose(parts, whole, atol=1e-5 * np.abs(whole).max())
    positions = sum(
        Conductance(layer=1, n_steps=3, position=p).attribute(q, units).total for p in range(len(q.ids))
    )
    assert np.allclose(positions, whole, atol=1e-5 * np.abs(whole).max())


def test_conductance_refuses_a_neuron_that_is_not_there():
    from exegete.core.errors import UsageError

    q = question("bert")
    with pytest.raises(UsageError, match="unit 64"):
        Conductance(unit=64, n_steps=2).attribute(q, q.units("token"))


def test_smoothgrad_repeats_with_its_seed_and_its_error_shrinks():
    q = question("gpt2")
    units = q.units("token")
    few, again, other = (SmoothGrad(n_samples=20, seed=s).attribute(q, units) for s in (0, 0, 1))
    assert (few.total == again.total).all() and (few.total != other.total).any()
    many = SmoothGrad(n_samples=320).attribute(q, units)
    assert 0.1 < np.median(many.stderr / few.stderr) < 0.5


def test_too_few_steps_fail_the_check_loudly():
    q = question("llama")
    method = IntegratedGradients(n_steps=2, rule="riemann_trapezoid")
    assert not check(explain(method, q, "token"), "completeness").passed


def test_passes_are_counted_and_do_not_exceed_the_formula():
    q = question("gpt2")
    units = q.units("token")
    q.value()
    before = q.meter.cost()
    IntegratedGradients(n_steps=10).attribute(q, units)
    spent = q.meter.cost() - before
    assert (spent.forwards, spent.backwards) == (11, 10)
