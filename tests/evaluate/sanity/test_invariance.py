"""Checks of invariance: the twins are the same function in other numbers, and the theorems about methods hold on them."""

import numpy as np
import pytest
import torch

from exegete.core.request import Text
from exegete.core.target import Target
from exegete.evaluate.sanity.implementation_invariance import ImplementationInvariance
from exegete.evaluate.sanity.input_invariance import InputInvariance
from exegete.evaluate.sanity.same_function import rewritten, shifted
from exegete.methods.attribution.input_x_gradient import InputXGradient
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import Scores
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.randomise import asked_of
from exegete.models.tiny import tiny

TEXTS = ["the food was good but the staff were rude", "we sat on the mat and the cat was big", "he is at a lake now"]  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return load(tiny("bert", "sequence"))


def output_of(question):
    return lambda model: torch.cat([x.flatten() for x in asked_of(model, question).reference()])


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "t5", "mixtral"])
def test_the_twin_is_another_network_of_the_same_function(family):
    model = load(tiny(family))
    mask = f" {model.tokenizer.mask_token}" if model.task == "masked" else ""
    q = ask(model, f"the cat sat on the{mask}")
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    twin, words = rewritten(model, output_of(q), 3)
    assert words
    assert any(not torch.equal(before[k], v) for k, v in twin.module.state_dict().items())
    assert all(torch.equal(before[k], v) for k, v in model.module.state_dict().items())
    other = ask(model, f"mary went to the river and the{mask}")  # a text that did not decide what was kept
    np.testing.assert_allclose(asked_of(twin, other).value(), other.value(), atol=1e-4)


def test_hidden_units_really_are_in_another_order(model):
    twin, words = rewritten(model, output_of(ask(model, TEXTS[0])), 0)
    assert "layer 0: hidden units in another order" in words
    assert "layer 0: values doubled, their readers halved" in words
    own, other = (m.module.get_submodule("bert.encoder.layer.0").state_dict() for m in (model, twin))
    a, b = (x["intermediate.dense.weight"] for x in (own, other))
    assert not torch.equal(a, b)
    assert torch.equal(a[a[:, 0].argsort()], b[b[:, 0].argsort()])
    assert torch.equal(own["attention.self.value.weight"] * 2, other["attention.self.value.weight"])
    assert torch.equal(own["attention.self.query.weight"], other["attention.self.query.weight"])


def test_methods_that_see_the_function_pass_and_the_planted_rule_fails(model):
    found = ImplementationInvariance(explainers=("input_x_gradient", "saliency", "occlusion", "lrp"))(
        model, TEXTS
    )
    assert found.passed == (True,) * 4
    assert np.nanmax(found.change) < 1e-4
    assert found.planted > 0.05
    assert all(s.beats_chance and s.beats_control for s in found.trust.scores)
    assert found.gap < 1e-5
    assert "stay the same" in found.lede


def test_input_times_gradient_depends_on_where_zero_is(model):
    found = InputInvariance(explainers=("input_x_gradient", "saliency", "occlusion"))(model, TEXTS)
    assert found.passed == (False, True, True)
    assert found.change[0].min() > 0.05
    assert "input_x_gradient by" in found.lede
    assert [s.beats_control for s in found.trust.scores] == [False, True, True]
    assert "does NOT beat the rounding" in found.trust.scores[0].verdict
    assert found.gap < 1e-4


def test_what_input_times_gradient_changes_by_is_the_shift_times_the_gradient(model):
    """(x + m) g - x g = m g, exactly: the theorem behind the failure."""
    q = ask(model, TEXTS[0], Target(label=0))
    twin = shifted(model, 1.0, 5)
    units = q.units("token")
    theirs = asked_of(twin, q)
    m = (theirs.embeddings() - q.embeddings())[0].double().numpy()
    np.testing.assert_allclose((theirs.embeddings() - q.embeddings()).numpy() - m, 0, atol=1e-5)
    _, grads = q.gradients(q.embeddings()[None])
    expected = grads[0].double().numpy()[[u.tokens[0] for u in units]] @ m
    moved = InputXGradient().attribute(theirs, units).total - InputXGradient().attribute(q, units).total
    np.testing.assert_allclose(moved, expected, atol=1e-4)


def test_a_path_from_a_token_passes_and_a_path_from_zero_fails(model):
    q = ask(model, TEXTS[0], Target(label=0))
    theirs = asked_of(shifted(model, 1.0, 5), q)
    units = q.units("word")
    for baseline, same in (("mask", True), ("zero", False)):
        how = IntegratedGradients(baseline=baseline, n_steps=16)
        a, b = (how.attribute(x, units).total for x in (q, theirs))
        assert (np.linalg.norm(a - b) < 1e-3 * np.linalg.norm(a)) == same, baseline


def test_removing_and_replacing_meet_the_shift_as_well(model):
    """A shifted model answers every changed input as the model does, by ids and by points."""
    q = ask(model, TEXTS[0], Target(label=0))
    theirs = asked_of(shifted(model, 2.0, 1), q)
    keep = np.random.default_rng(0).random((6, len(q.ids))) < 0.7
    ids = np.tile(q.ids, (6, 1))
    np.testing.assert_allclose(theirs.ask(ids, keep), q.ask(ids, keep), atol=1e-5)
    for removal in ("mask", "delete"):
        a, b = (Occlusion(removal=removal).attribute(x, q.units("word")).total for x in (q, theirs))
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_ids_and_decoders():
    decoder = load(tiny("gpt2"))
    found = InputInvariance(explainers=("saliency",), unit="token")(decoder, [Text(ids=(5, 9, 30, 7))])
    assert found.passed == (True,)
    assert found.trust.scores[0].interval is None


def test_scores_that_are_next_to_nothing_have_shown_nothing(model, monkeypatch):
    """A rule that reads hidden units by their number is caught at any size that says something, and not passed at none."""

    def hidden(size):
        def attribute(self, q, units):
            rows = q.model.module.bert.encoder.layer[0].intermediate.dense.weight.detach()
            return Scores(total=size * rows[: len(units), 0].double().numpy())

        return attribute

    for size, counted in ((1.0, 3), (1e-7, 0)):
        monkeypatch.setattr(Occlusion, "attribute", hidden(size))
        found = ImplementationInvariance(explainers=("occlusion",))(model, TEXTS)
        assert found.passed == (False,)
        score = found.trust.scores[0]
        assert (score.n, score.n_failed) == (counted, 3 - counted)
        assert not score.beats_control
    assert "nothing to compare" in found.lede
