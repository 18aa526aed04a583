"""Agreement with captum where both define the same thing: ids replaced by the mask token, one feature a word."""

import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import FeatureAblation, LimeBase, ShapleyValues, ShapleyValueSampling
from captum.attr import KernelShap as CaptumKernelShap

from exegete.core.seed import generator
from exegete.methods.attribution.exact_shapley import ExactShapley
from exegete.methods.attribution.kernel_shap import KernelShap
from exegete.methods.attribution.lime import Lime
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.attribution.permutation_shapley import PermutationShapley
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.perturb import removals


@pytest.fixture(scope="module")
def case():
    """(question, units, forward function, ids, mask ids, feature mask): word features, special tokens never touched."""
    model = load(tiny("bert", "sequence"))
    q = ask(model, "the food was good", 1)
    units = q.units("word")
    feature = np.full(len(q.ids), len(units))
    for u, unit in enumerate(units):
        feature[list(unit.tokens)] = u
    ids = torch.from_numpy(q.ids)[None]
    base = torch.where(torch.from_numpy(feature)[None] == len(units), ids, model.tokenizer.mask_token_id)

    def forward(x):
        with torch.no_grad():
            return model.module(input_ids=x, attention_mask=torch.ones_like(x)).logits[:, 1]

    return q, units, forward, ids, base, torch.from_numpy(feature)[None]


def one_a_unit(found, feature, n):
    return np.array([float(found[0][(feature[0] == u)][0]) for u in range(n)])


def captum(method, case, **options):
    _, units, _, ids, base, feature = case
    found = method.attribute(ids, baselines=base, feature_mask=feature, **options)
    return one_a_unit(found, feature, len(units))


def test_occlusion_is_feature_ablation(case):
    want = captum(FeatureAblation(case[2]), case)
    assert Occlusion().attribute(case[0], case[1]).total == pytest.approx(want, abs=1e-4)


def test_exact_shapley_is_shapley_values(case):
    want = captum(ShapleyValues(case[2]), case)
    assert ExactShapley().attribute(case[0], case[1]).total == pytest.approx(want, abs=1e-4)
    assert KernelShap().attribute(case[0], case[1]).total == pytest.approx(want, abs=1e-4)


def test_sampled_estimators_of_captum_come_to_the_same_values(case):
    exact = ExactShapley().attribute(case[0], case[1]).total
    ours = PermutationShapley(n_samples=400).attribute(case[0], case[1])
    assert (np.abs(ours.total - exact) < 4 * ours.stderr).all()
    theirs = captum(ShapleyValueSampling(case[2]), case, n_samples=100)
    assert theirs == pytest.approx(exact, abs=0.15 * np.abs(exact).max())
    kernel = captum(CaptumKernelShap(case[2]), case, n_samples=600)
    assert kernel == pytest.approx(exact, abs=0.25 * np.abs(exact).max())


@pytest.mark.parametrize("alpha", [1.0, 0.01])
def test_lime_is_captums_on_the_same_samples(case, alpha):
    q, units, forward, ids, base, feature = case
    method = Lime(n_samples=100, alpha=alpha, kernel_width=0.4)
    keep = removals(generator(0, "lime"), 100, len(units))
    rows = iter(torch.from_numpy(keep).float())

    def similarity(original, perturbed, interpretable, **_):
        cosine = torch.nn.functional.cosine_similarity(interpretable, torch.ones_like(interpretable))
        return torch.exp(-((1 - cosine) ** 2) / 0.4**2)

    def text(interpretable, _, **__):
        on = torch.cat([interpretable[0], torch.ones(1)])[feature].bool()
        return torch.where(on, ids, base)

    lime = LimeBase(
        forward,
        SkLearnRidge(alpha=alpha),
        similarity,
        lambda *_, **__: next(rows)[None],
        perturb_interpretable_space=True,
        from_interp_rep_transform=text,
        to_interp_rep_transform=None,
    )
    want = lime.attribute(ids, n_samples=100)[0].numpy()
    assert method.attribute(q, units).total == pytest.approx(want, abs=1e-4)
