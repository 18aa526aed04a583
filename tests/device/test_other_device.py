"""On another device every registered method says what it says on the CPU.

The device is pretended (`support.pretend_gpu`: it computes on the CPU, and refuses what a GPU refuses), and a GPU where there
is one. These tests run in a process of their own (`make test`). The material and the light settings are those of the contract suite. On a GPU the last bits of float32 sums may
differ, so numbers are held together with a tolerance.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from contract import test_attribution_contract as attribution
from contract import test_study_contract as studies
from exegete.core.errors import SiteError
from exegete.methods.contracts.attribution import explain
from exegete.models.load import load
from exegete.models.model import Model
from support import studies as generic
from support.pretend_gpu import NAME, Pretend, differentiates, moved, ready

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))
DEVICES = (NAME, GPU)
RELATIVE, ABSOLUTE = 2e-2, 2e-3
# what says where and how long it was computed, and what is equal on both only in distribution
SKIPPED = {"provenance", "cost", "seconds", "trust", "checks", "lede", "context"}


def numbers(what: Any, path: str = "") -> dict[str, np.ndarray]:
    """Every numeric leaf of plain data, by path."""
    if isinstance(what, dict):
        found: dict[str, np.ndarray] = {}
        for k, v in what.items():
            if k not in SKIPPED and "interval" not in k:  # drawn from the values, which are compared
                found |= numbers(v, f"{path}.{k}")
        return found
    if isinstance(what, (list, tuple)):
        found = {}
        for i, v in enumerate(what):
            found |= numbers(v, f"{path}[{i}]")
        return found
    if isinstance(what, np.ndarray) and what.dtype.kind in "fc":
        return {path: what}
    return {path: np.array(what)} if isinstance(what, float) else {}


def apart(a: Any, b: Any) -> list[str]:
    """Paths of numbers that differ by more than the tolerance."""
    ours, theirs = numbers(a), numbers(b)
    found = sorted(set(ours) ^ set(theirs))
    for path in sorted(set(ours) & set(theirs)):
        x, y = ours[path], theirs[path]
        if x.shape != y.shape:
            found.append(f"{path}: {x.shape} and {y.shape}")
            continue
        known = np.isfinite(x) & np.isfinite(y)
        scale = float(np.abs(x[known]).max(initial=0.0))
        off = float(np.abs(x[known] - y[known]).max(initial=0.0))
        if (np.isnan(x) != np.isnan(y)).any() or off > ABSOLUTE + RELATIVE * scale:
            found.append(f"{path}: off by {off:.3g} of {scale:.3g}")
    return found


@pytest.fixture(params=DEVICES)
def device(request) -> Iterator[str]:
    """The name of a device that tensors can be moved to."""
    if request.param == NAME:
        ready()
        if not differentiates():
            pytest.skip("a gradient was taken before the device was there: run tests/device by itself")
    with Pretend() if request.param == NAME else nullcontext():
        yield request.param


def elsewhere(monkeypatch, suite: Any, device: str) -> list[Model]:
    """Let the suite's loader put its models on the device; the models that it loads from now on."""
    found: list[Model] = []

    def other(source: Any) -> Model:
        model = load(source)
        moved(model.module, device)
        found.append(model)
        return model

    monkeypatch.setattr(suite, "load", other)
    return found


@contextmanager
def shown(device: str) -> Iterator[None]:
    """Skip what a pretended device cannot show: weights on it are no plain parameters, and lie at no address."""
    try:
        yield
    except (SiteError, RuntimeError) as e:
        words = ("plain matrix", "no plain", "data pointer")
        if device != NAME or not any(w in str(e) for w in words):
            raise
        pytest.skip("asks for a plain parameter, or its address, which a pretended device has not")


# studies that judge methods read models through the methods above; what is trained on the device drifts with every rounding
ASKED = sorted(name for name, cls in studies.ALL.items() if cls.family != "evaluation")
DRIFTS = {"sparse_autoencoder", "transcoder"}


@pytest.mark.parametrize("name", ASKED)
def test_a_study_says_the_same(name, device, monkeypatch):
    cls = studies.ALL[name]
    here = studies.made(cls)
    models = elsewhere(monkeypatch, generic, device)
    with shown(device):
        there = studies.made(cls)
    assert name in DRIFTS or apart(here.model_dump(), there.model_dump()) == []
    assert {m.device.type for m in models} == {device}


@pytest.mark.parametrize("name", sorted(attribution.ALL))
def test_an_attribution_says_the_same(name, device, monkeypatch):
    cls = attribution.ALL[name]
    here = explain(attribution.light(cls), attribution.home(cls))
    models = elsewhere(monkeypatch, attribution, device)
    with shown(device):
        there = explain(attribution.light(cls), attribution.home(cls))
    assert {m.device.type for m in models} == {device}
    scale = max(1.0, float(np.abs(here.total).max()))
    assert np.abs(here.total - there.total).max() <= 1e-3 * scale


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    ready()
    with Pretend():
        x = torch.ones(3, device=NAME)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError):
            x.numpy()
        assert float((x + 1).sum()) == 6.0


def test_the_comparison_can_fail():
    assert apart({"a": [1.0, np.array([1.0, 2.0])]}, {"a": [1.0, np.array([1.0, 2.1])]}) == [
        ".a[1]: off by 0.1 of 2"
    ]
    assert apart({"a": np.array([np.nan])}, {"a": np.array([1.0])})
