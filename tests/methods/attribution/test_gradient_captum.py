"""Agreement with captum to 1e-4 wherever both define the same thing, on tiny GPT-2, BERT and Llama models."""

from functools import cache

import numpy as np
import pytest
import torch
from captum.attr import (
    InputXGradient as CaptumInputXGradient,
)
from captum.attr import (
    LayerConductance,
    LayerIntegratedGradients,
    NeuronConductance,
    NoiseTunnel,
)
from captum.attr import (
    Saliency as CaptumSaliency,
)

from exegete.methods.attribution.conductance import Conductance
from exegete.methods.attribution.input_x_gradient import InputXGradient
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.saliency import Saliency
from exegete.methods.attribution.smoothgrad import SmoothGrad
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.remove import fill
from exegete.models.tiny import tiny

CASES = [("gpt2", "causal"), ("bert", "sequence"), ("llama", "causal")]
MLP = {"gpt2": lambda m: m.transformer.h[1].mlp.act, "bert": lambda m: m.bert.encoder.layer[1].intermediate}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@cache
def question(family, task):
    q = ask(load(tiny(family, task)), "the food was not good but the staff")
    return q, q.units("token")


@pytest.fixture(params=CASES, ids=lambda c: c[0])
def case(request):
    return question(*request.param)


def by_ids(q):
    """The explained logit of ids [batch, S], as captum wants it."""
    row = q.branches[0].rows[0]

    def f(ids):
        logits = q.model.module(ids).logits
        return logits[:, row.id] if row.position is None else logits[:, row.position, row.id]

    return f


def by_points(q):
    """The explained logit of embeddings [batch, S, d]."""
    row = q.branches[0].rows[0]

    def f(points):
        logits = q.model.module(inputs_embeds=points).logits
        return logits[:, row.id] if row.position is None else logits[:, row.position, row.id]

    return f


def slots(units):
    return [u.tokens[0] for u in units]


def close(mine, theirs, tolerance=1e-4):
    theirs = theirs.detach().numpy()
    return np.abs(mine - theirs).max() <= tolerance * np.abs(theirs).max()


def test_saliency(case):
    q, units = case
    grads = CaptumSaliency(by_points(q)).attribute(q.embeddings()[None].requires_grad_(True), abs=False)[0]
    assert close(Saliency().attribute(q, units).total, grads.norm(dim=-1)[slots(units)])
    assert close(Saliency(norm="l1").attribute(q, units).total, grads.abs().sum(-1)[slots(units)])


def test_input_x_gradient(case):
    q, units = case
    theirs = (
        CaptumInputXGradient(by_points(q)).attribute(q.embeddings()[None].requires_grad_(True))[0].sum(-1)
    )
    assert close(InputXGradient().attribute(q, units).total, theirs[slots(units)])


@pytest.mark.parametrize("n_steps", [5, 50])
def test_integrated_gradients(case, n_steps):
    q, units = case
    tokenizer, ids = q.model.tokenizer, torch.as_tensor(q.ids)[None]
    filler = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.pad_token_id
    base = ids.clone()
    base[:, slots(units)] = filler
    layer = LayerIntegratedGradients(by_ids(q), q.model.module.get_input_embeddings())
    theirs = layer.attribute(ids, baselines=base, n_steps=n_steps)[0].sum(-1)
    mine = IntegratedGradients(n_steps=n_steps).attribute(q, units)
    assert close(mine.total, theirs[slots(units)])
    assert not close(
        IntegratedGradients(n_steps=n_steps, baseline="zero").attribute(q, units).total, theirs[slots(units)]
    )


def test_smoothgrad_has_the_mean_and_the_spread_of_captums():
    q, units = question("gpt2", "causal")  # every slot is a unit there, so that both put noise on the same
    x = q.embeddings()
    mine = SmoothGrad(of="input_x_gradient", n_samples=200, noise=0.2).attribute(q, units)
    tunnel = NoiseTunnel(CaptumInputXGradient(by_points(q)))
    theirs = tunnel.attribute(
        x[None].requires_grad_(True), nt_type="smoothgrad", nt_samples=200, stdevs=0.2 * float(x.std())
    )
    theirs = theirs[0].sum(-1).detach().numpy()
    both = np.sqrt(2) * mine.stderr
    assert (np.abs(mine.total - theirs) < 4.5 * both).all()
    plain = InputXGradient().attribute(q, units).total
    assert (np.abs(plain - theirs) > 4.5 * both).any()


@pytest.mark.parametrize("family,task", CASES[:2])
def test_neuron_conductance(family, task):
    q, units = question(family, task)
    x, base = q.embeddings()[None], fill(q, units)[None]
    at = q.branches[0].rows[0].position or 0  # where the logit reads the last layer
    layer = NeuronConductance(by_points(q), MLP[family](q.model.module))
    theirs = layer.attribute(x, neuron_selector=(at, 5), baselines=base, n_steps=20, method="gausslegendre")[
        0
    ].sum(-1)
    mine = Conductance(layer=1, unit=5, position=at, n_steps=20).attribute(q, units)
    assert close(mine.total, theirs[slots(units)]) and np.abs(mine.total).max() > 0
    other = Conductance(layer=1, unit=6, position=at, n_steps=20).attribute(q, units)
    assert not close(other.total, theirs[slots(units)])


def test_layer_conductance_is_the_sum_over_tokens():
    """captum sums finite differences along the path, so it agrees in the limit of many steps."""
    q, units = question("gpt2", "causal")
    layer = LayerConductance(by_points(q), MLP["gpt2"](q.model.module))
    theirs = layer.attribute(q.embeddings()[None], baselines=fill(q, units)[None], n_steps=200)[0]
    for unit in (0, 7):
        mine = Conductance(layer=1, unit=unit).attribute(q, units).total.sum()
        assert mine == pytest.approx(
            float(theirs[:, unit].sum()), abs=2e-3 * float(theirs.sum(0).abs().max())
        )
