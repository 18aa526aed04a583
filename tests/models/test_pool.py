"""Texts that share passes get what they would get alone, in fewer passes; failures and order are kept; the model is left."""

import numpy as np
import pytest
import torch

from exegete.core.errors import ExegeteError
from exegete.methods.attribution.contract import explain
from exegete.methods.attribution.input_x_gradient import InputXGradient
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.pool import Pool
from exegete.models.tiny import tiny

WORDS = [
    "the",
    "small",
    "dog",
    "saw",
    "a",
    "cat",
    "near",
    "the",
    "old",
    "house",
    "and",
    "the",
    "bird",
    "sang",
]
TEXTS = [" ".join(WORDS[i % 5 : i % 5 + 2 + i % 7]) for i in range(11)]
METHODS = [Occlusion(), Occlusion(removal="zero"), InputXGradient(), IntegratedGradients(n_steps=4)]


def worker(model, method, target=None):
    return lambda text: explain(method, ask(model, text, target))


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.id}-{getattr(m, 'removal', '')}")
def test_shared_equals_alone(family, method):
    model = load(tiny(family, "sequence" if family == "bert" else None))
    work = worker(model, method, None if family == "bert" else "a bird")
    alone = [work(t) for t in TEXTS]
    together = list(Pool(model, lanes=4).map(work, TEXTS))
    for a, b in zip(alone, together):
        assert (a.text, a.outputs, a.cost.forwards, a.cost.backwards) == (
            b.text,
            b.outputs,
            b.cost.forwards,
            b.cost.backwards,
        )
        assert all(c.passed for c in b.checks if c.name != "completeness")
        assert np.abs(a.total - b.total).max() < 1e-4 * max(1, np.abs(a.total).max())


def test_fewer_passes_and_the_same_bits_every_time():
    model = load(tiny("bert", "sequence"))
    work = worker(model, InputXGradient())
    calls = []
    handle = model.module.register_forward_pre_hook(lambda *_: calls.append(1))
    alone = [work(t) for t in TEXTS]
    n_alone = len(calls)
    calls.clear()
    first = list(Pool(model).map(work, TEXTS))
    n_shared = len(calls)
    handle.remove()
    again = list(Pool(model).map(work, TEXTS))
    assert len(alone) == len(first)
    assert n_shared * 4 < n_alone
    assert all(np.array_equal(a.total, b.total) for a, b in zip(first, again))


@pytest.mark.parametrize("bad", [0, 5, 10])
def test_a_failure_is_raised_and_ends_the_rest(bad):
    model = load(tiny("bert", "sequence"))
    model.module.train()
    inner = worker(model, Occlusion())

    def work(text):
        if text is TEXTS[bad]:
            raise ExegeteError("asked", "found", "do")
        return inner(text)

    with pytest.raises(ExegeteError, match="found"):
        list(Pool(model, lanes=3).map(work, TEXTS))
    assert all(m.training for m in model.module.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())


def test_a_failing_shared_pass_is_told_to_all():
    model = load(tiny("bert", "sequence"))

    def fail(*_):
        raise RuntimeError("injected")

    handle = model.module.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="injected"):
        list(Pool(model, lanes=3).map(worker(model, Occlusion()), TEXTS))
    handle.remove()
    assert torch.is_grad_enabled()
    assert len(list(Pool(model, lanes=3).map(worker(model, Occlusion()), TEXTS))) == len(TEXTS)
