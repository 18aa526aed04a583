"""Models too large to copy: the studies go on without randomised weights, and say why that control is missing."""

from typing import Any

import numpy as np
import pytest

from exegete.core.errors import ModelError
from exegete.core.method import method_of
from exegete.methods.neurons import cross_model_correlation
from exegete.models.load import load
from exegete.models.randomise import Randomiser
from exegete.models.tiny import tiny
from exegete.terrarium.labelled import marked
from support.concept_texts import texts

SAID = [f"the {a} saw a {b}" for a in ("cat", "mat", "river", "store") for b in ("film", "house", "ink")]
RUNS: dict[str, tuple[dict[str, Any], Any]] = {
    "concept_direction": ({"n_shuffles": 1, "methods": ("mean difference",)}, texts(n=6)),
    "equivariance": ({"n_permutations": 20}, SAID),
    "branch_specialisation": ({"n_permutations": 20}, SAID),
    "cross_model_correlation": ({"others": ("other",), "n_random": 2}, marked("word", 60)),
}


@pytest.fixture
def too_large(monkeypatch):
    """No model may be copied."""

    def refuse(self, model, fingerprint=""):
        raise ModelError("You asked for a copy.", "It has too many parameters.", "Skip this control.")

    monkeypatch.setattr(Randomiser, "__call__", refuse)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_the_control_is_skipped_by_name(name, too_large, monkeypatch):
    monkeypatch.setattr(cross_model_correlation, "load", lambda *_, **__: load(tiny("gpt2", seed=1)))
    settings, material = RUNS[name]
    study: Any = method_of(name).model_copy(update=settings)
    found = study(load(tiny("gpt2")), material)
    scores = found.trust.scores
    skipped = [s for s in scores if s.skipped]
    assert skipped
    for s in skipped:
        assert s.control is None
        assert s.skipped == "It has too many parameters."
        assert np.isfinite(s.value)
    assert "nan" not in found.lede
    assert found.figures()
