"""Perturbation and surrogate methods on black boxes with known answers, and the promises they share."""

import numpy as np
import pytest

from exegete.core.errors import ExegeteError, UsageError
from exegete.core.request import Text
from exegete.methods.attribution.context_cite import ContextCite
from exegete.methods.attribution.exact_shapley import ExactShapley
from exegete.methods.attribution.inlier import Inlier
from exegete.methods.attribution.kernel_shap import KernelShap
from exegete.methods.attribution.lime import Lime
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.attribution.partition_shapley import PartitionShapley, boundaries
from exegete.methods.attribution.permutation_shapley import PermutationShapley
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.remove import Game, Removal
from exegete.models.tiny import tiny
from exegete.ops.perturb import subsets
from support.embedded_boxes import box
from support.planted import additive, weights_of

TEXT = "the food was not good but the staff"
EXACT = (
    Occlusion(),
    ExactShapley(),
    PermutationShapley(n_samples=4),
    KernelShap(n_samples=64),
    KernelShap(n_samples=64, sampling="kernel"),
    KernelShap(n_samples=200, over="tokens"),
    PartitionShapley(),
    Lime(alpha=0.0),
    ContextCite(alpha=0.0),
)
SHAPLEY = (ExactShapley(), PermutationShapley(n_samples=4), KernelShap(n_samples=100))


def planted(text=TEXT, unit="word"):
    q = ask(additive(), text, "yes")
    units = q.units(unit)
    w = weights_of(q.model, q.ids)
    return q, units, np.array([w[list(u.tokens)].sum() for u in units])


@pytest.mark.parametrize(
    "method", EXACT, ids=lambda m: f"{m.id}-{getattr(m, 'sampling', '')}{getattr(m, 'over', '')}"
)
@pytest.mark.parametrize("removal", ["mask", "delete"])
def test_additive_box_is_found_exactly(method, removal):
    q, units, want = planted()
    found = method.model_copy(update={"removal": removal}).attribute(q, units)
    assert found.total == pytest.approx(want, abs=2e-5)
    assert found.each.shape == (1, len(units))
    assert found.stderr is None or np.abs(found.stderr).max() < 1e-4


def test_inlier_finds_an_additive_box_within_its_standard_error():
    q, units, want = planted()
    for temperature in (1.0, 1e6):
        found = Inlier(n_samples=4000, temperature=temperature).attribute(q, units)
        assert (np.abs(found.total - want) < 4 * found.stderr + 0.02).all() or temperature == 1.0
    assert found.checks[0].value == pytest.approx(4000, rel=1e-3)  # no weight: all samples count


@pytest.mark.parametrize("method", SHAPLEY, ids=lambda m: m.id)
def test_pairwise_box_has_known_shapley_values(method):
    """v(S) = sum of c_st over kept pairs and singles: Shapley shares every interaction equally between its two players."""
    q = ask(box("pairwise"), "the food was")
    units = q.units("token")
    game = Game(q, units, "mask")
    v = game(subsets(len(units)))[:, 0]
    n, want = len(units), np.zeros(len(units))
    single = np.array([v[1 << i] - v[0] for i in range(n)])
    want += single
    for i in range(n):
        for j in range(i):
            joint = v[1 << i | 1 << j] - v[1 << i] - v[1 << j] + v[0]
            want[[i, j]] += joint / 2
    assert method.model_copy(update={"removal": "mask"}).attribute(q, units).total == pytest.approx(
        want, abs=1e-9
    )


@pytest.mark.parametrize("removal", [r for r in Removal.__args__ if r != "auto"])
def test_every_removal_policy_adds_up(removal):
    q = ask(load(tiny("bert", "sequence")), "the small dog saw")
    for method in (ExactShapley(removal=removal, draws=2), PartitionShapley(removal=removal, draws=2)):
        r = explain(method, q)
        assert r.total.sum() == pytest.approx(r.value - r.base_value, abs=1e-5)
        assert not [c for c in r.checks if not c.passed]


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize(
    "method", [*EXACT, Inlier(n_samples=40)], ids=lambda m: m.id + getattr(m, "over", "")
)
def test_what_was_not_yet_read_scores_exactly_zero(family, method):
    model = load(tiny(family))
    q = ask(model, "the small dog", " saw a")
    if model.task not in method.tasks:
        return
    units = q.units("word" if family == "gpt2" else "sentence", prefix=True)[-9:]
    method = method.model_copy(update={"n_samples": 40} if "n_samples" in type(method).model_fields else {})
    found, seen = method.attribute(q, units), q.available(units)
    assert not seen.all()
    assert (found.each[~seen] == 0).all()
    assert np.isfinite(found.each).all()
    if method.id in (
        "occlusion",
        "permutation_shapley",
        "exact_shapley",
        "partition_shapley",
    ):  # linear, unit by unit
        assert found.each.sum(0) == pytest.approx(found.total, abs=1e-4)


def test_more_samples_smaller_errors_and_seeds_matter():
    q = ask(load(tiny("bert", "sequence")), f"{TEXT} were very wonderful and kind")
    units = q.units("word")
    assert len(units) == 13
    for make in (KernelShap, PermutationShapley, Lime, Inlier):
        few, many = (make(n_samples=n).attribute(q, units).stderr for n in (60, 600))
        assert np.mean(many) < 0.6 * np.mean(few)
        assert not np.array_equal(
            make(n_samples=60).attribute(q, units).total, make(n_samples=60, seed=1).attribute(q, units).total
        )


def test_kernel_shap_comes_near_the_exact_values_within_its_errors():
    q = ask(load(tiny("bert", "sequence")), "the food was not good but the staff were kind")
    units = q.units("word")
    want = ExactShapley().attribute(q, units).total
    z = [(KernelShap(n_samples=200, seed=s).attribute(q, units)) for s in range(20)]
    share = np.mean([np.abs(f.total - want) < 3 * f.stderr for f in z])
    assert share > 0.95


def test_over_tokens_adds_the_tokens_of_a_unit():
    q = ask(load(tiny("roberta", "sequence")), "wonderful staff")
    words, tokens = q.units("word"), q.units("token")
    assert len(tokens) > len(words)
    by_token = ExactShapley().attribute(q, tokens).total
    want = [sum(by_token[i] for i, t in enumerate(tokens) if t.tokens[0] in w.tokens) for w in words]
    found = KernelShap(over="tokens", n_samples=4096).attribute(q, words)
    assert found.total == pytest.approx(want, abs=1e-6)
    assert (
        np.abs(KernelShap().attribute(q, words).total - want).max() > 1e-4
    )  # words removed whole: another game


def test_probability_of_a_continuation_is_explained_as_the_product():
    from exegete.core.target import Target

    q = ask(load(tiny("gpt2")), "the dog", Target(label=" saw a", scale="prob"))
    units = q.units("word")
    found = ExactShapley().attribute(q, units)
    game = Game(q, units)
    change = game(np.ones((1, len(units)), bool)).prod() - game(np.zeros((1, len(units)), bool)).prod()
    assert found.total.sum() == pytest.approx(change, rel=1e-9)


def test_never_more_passes_than_distinct_inputs_or_forecast():
    for method in EXACT:
        q, units, _ = planted("the food was good")
        method.attribute(q, units)
        assert q.meter.forwards == q.meter.distinct <= 2 ** len(q.units("token")) + 1
        assert q.meter.forwards <= method.estimate(len(units), 1)[0] + 1 or method.id == "kernel_shap"


def test_exact_shapley_refuses_many_units_with_a_letter():
    q, units, _ = planted("the food was not good but the staff were wonderful and kind to us")
    before = q.meter.forwards
    with pytest.raises(UsageError, match="kernel_shap"):
        ExactShapley().attribute(q, units)
    assert q.meter.forwards == before


def test_partition_follows_sentences_punctuation_and_spans():
    request = Text(text="good food, kind staff. we left", spans=((17, 21),))
    q = ask(additive(), request)
    units = q.units("word")
    assert [u.text for u in units] == ["good", "food", ",", "kind", "staff", ".", "we", "left"]
    assert boundaries(q, units) == pytest.approx([0, 0, 1, 0, 0, 2, 0])
    q = ask(additive(), Text(text="good food, kind staff. we left", spans=((5, 15),)))
    assert boundaries(q, units) == pytest.approx([0, -1, -1, 0, 0, 2, 0])


def test_partition_budget_is_kept_and_said():
    q = ask(load(tiny("bert", "sequence")), f"{TEXT} were very wonderful and kind")
    r = explain(PartitionShapley(n_samples=20), q)
    assert r.cost.distinct <= 21
    assert "not split" in r.notes[-1]
    assert r.total.sum() == pytest.approx(r.value - r.base_value, abs=1e-9)


def test_bad_parameters_are_refused():
    for make, field, value in (
        (KernelShap, "n_samples", 2),
        (KernelShap, "sampling", "best"),
        (PermutationShapley, "n_samples", 5),
        (Lime, "kernel_width", 0),
        (Inlier, "keep_probability", 1.0),
    ):
        with pytest.raises(ExegeteError, match=field):
            make.build({field: value})


def test_the_first_output_never_reads_a_later_target_token():
    """With the whole prompt deleted the first output is read after the stand-in for an empty text, alone."""
    import torch

    from exegete.models.forward import empty_id

    model = load(tiny("gpt2"))
    q = ask(model, "the dog", " saw a")
    keep = np.array([t.role == "prefix" for t in q.tokens])
    with torch.no_grad():
        log = (
            model.module(input_ids=torch.tensor([[empty_id(model), *q.ids[keep]]])).logits[0].log_softmax(-1)
        )
    want = [float(log[r, row.id]) for r, row in enumerate(q.branches[0].rows)]
    assert q.ask(q.ids[None], keep[None])[0] == pytest.approx(want, abs=1e-5)
