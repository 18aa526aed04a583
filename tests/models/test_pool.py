"""Texts that share passes get what they would get alone, in fewer passes; failures and order are kept; the model is left."""

import threading

import numpy as np
import pytest
import torch

from exegete.core.errors import ExegeteError
from exegete.core.request import Text
from exegete.methods.attribution.input_x_gradient import InputXGradient
from exegete.methods.attribution.integrated_gradients import IntegratedGradients
from exegete.methods.attribution.occlusion import Occlusion
from exegete.methods.contracts.attribution import explain
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.pool import Pool, _fitting
from exegete.models.tiny import tiny
from exegete.models.turns import Lane

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


def test_pairs_and_single_texts_share_passes():
    model = load(tiny("bert", "sequence"))
    texts = [
        Text(text="the dog", pair="a small house"),
        Text(text="the dog saw"),
        Text(text="a", pair="the bird sang"),
    ]
    for method in (Occlusion(), InputXGradient()):
        work = worker(model, method, 0)
        for a, b in zip(map(work, texts), Pool(model).map(work, texts)):
            assert np.abs(a.total - b.total).max() < 1e-5


@pytest.mark.parametrize("method", [Occlusion(), InputXGradient()], ids=lambda m: m.id)
def test_a_failure_of_one_text_reaches_no_other(method):
    """A text on which the model fails must not fail those that met it in a pass."""
    model = load(tiny("bert", "sequence"))
    bad = model.tokenizer("z", add_special_tokens=False)["input_ids"][0]
    inner = worker(model, method, 0)

    def refuse(_, args, kwargs):
        if bool((kwargs["input_ids"] == bad).any()):
            raise RuntimeError("injected")

    def work(text):
        try:
            return inner(text).total
        except RuntimeError:
            return None

    handle = model.module.register_forward_pre_hook(refuse, with_kwargs=True)
    found = list(Pool(model, lanes=3).map(work, [TEXTS[3], "z z", TEXTS[5]]))
    handle.remove()
    assert [f is None for f in found] == [False, True, False]


def test_padding_counts_towards_the_budget():
    widths = [5] * 100 + [500]
    for chunk in _fitting([1] * 101, widths, 2048):
        assert len(chunk) * max(widths[i] for i in chunk) <= 2048


@pytest.mark.parametrize("place", [0, 1, 4, 9])
def test_an_interruption_leaves_no_thread_behind(place, monkeypatch):
    """Control-C while threads are started, or while one has its turn."""
    model, before = load(tiny("bert", "sequence")), threading.active_count()
    starts, lets = [], []

    def interrupted(seen, real, at):
        def call(*args):
            seen.append(1)
            if len(seen) == at:
                raise KeyboardInterrupt
            return real(*args)

        return call

    if place < 3:
        monkeypatch.setattr(threading.Thread, "start", interrupted(starts, threading.Thread.start, place + 1))
    else:
        monkeypatch.setattr(Lane, "let", interrupted(lets, Lane.let, place))
    with pytest.raises(KeyboardInterrupt):
        list(Pool(model, lanes=3).map(worker(model, Occlusion()), TEXTS))
    assert threading.active_count() == before
