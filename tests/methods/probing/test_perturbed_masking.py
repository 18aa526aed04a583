"""Impact is that of a slow twin that masks word by word; each input is run once; planted impact gives the planted tree."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError, ModelError
from exegete.core.material import Parsed
from exegete.core.request import Text
from exegete.methods.probing.impact import Impact
from exegete.methods.probing.perturbed_masking import PerturbedMasking
from exegete.models.encode import encode
from exegete.models.harvest import layer_sites
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.models.tiny import tiny
from exegete.ops.trees import left_branching

TREE = Parsed(
    words=("the", "cat", "sat", ",", "on", "mats"),
    heads=(1, 2, -1, 2, 5, 2),
    relations=("det", "nsubj", "root", "punct", "case", "obl"),
)
COUNTS = np.array([True, True, True, False, True, True])


@pytest.fixture(scope="module")
def lab():
    return Lab(load(tiny("bert", "masked")))


def by_hand(lab: Lab, metric: str) -> np.ndarray:
    """n^2 passes of the bare module, one input each; the last layer (distance) or the output (probability)."""
    model = lab.model
    encoded = encode(model, Text(text=TREE.text))
    spans = [TREE.spans[i] for i in np.flatnonzero(COUNTS)]
    groups = [[k for k, t in enumerate(encoded.tokens) if not t.special and t.start < b and a < t.end] for a, b in spans]  # fmt: skip
    ids = torch.tensor([[t.id for t in encoded.tokens]])

    def told(i, j):
        some = ids.clone()
        some[0, [*groups[i], *groups[j]]] = model.tokenizer.mask_token_id
        with torch.no_grad():
            out = model.module(input_ids=some, output_hidden_states=True)
        if metric == "distance":
            return out.hidden_states[-1][0, groups[i][0]]
        return out.logits[0, groups[i][0]].log_softmax(-1)[ids[0, groups[i][0]]]

    n = len(groups)
    if metric == "distance":
        return np.array([[float((told(i, i) - told(i, j)).norm()) for j in range(n)] for i in range(n)])
    return np.array([[float(told(i, i) - told(i, j)) for j in range(n)] for i in range(n)])


@pytest.mark.parametrize("metric", ["distance", "probability"])
def test_impact_is_that_of_masking_one_by_one(lab, metric):
    lab.model.module.eval()
    sites = layer_sites(lab.model, first=False) if metric == "distance" else ()
    impact = Impact(lab, sites, metric)
    before = lab.meter.forwards
    found = impact.of(TREE, COUNTS)
    assert lab.meter.forwards - before == 5 * 6 // 2
    assert found is not None
    assert found.shape[1:] == (5, 5)
    want = by_hand(lab, metric)
    assert found[-1] == pytest.approx(want, abs=1e-4)
    assert np.abs(want - want.T).max() > 1e-3  # the two directions are not one
    again = impact.of(TREE, COUNTS)
    assert again is found
    assert lab.meter.forwards - before == 15


def test_planted_impact_gives_the_planted_tree():
    heads = np.array([1, 2, -1, 4, 2])
    f = np.full((5, 5), 0.1)
    for word, head in enumerate(heads):
        if head >= 0:
            f[word, head] = 2.0 + word
    for decoder in ("eisner", "chu_liu_edmonds"):
        study = PerturbedMasking(decoder=decoder)
        assert study._decoded(f).tolist() == heads.tolist()
        assert study._decoded(np.random.default_rng(0).random((5, 5))).tolist() != heads.tolist()
    crossing = np.array([2, 3, -1, 2])
    g = np.full((4, 4), 0.1)
    g[[0, 1, 3], crossing[[0, 1, 3]]] = 5.0
    assert PerturbedMasking(decoder="chu_liu_edmonds")._decoded(g).tolist() == crossing.tolist()
    assert PerturbedMasking(decoder="eisner")._decoded(g).tolist() != crossing.tolist()


def test_neighbours_masked_at_random_are_no_better_than_chance(lab):
    """A tiny model with random weights: the score says that it does not beat the chain."""
    trees = [Parsed(words=tuple(f"w{i}{k}" for k in range(5)), heads=tuple(left_branching(5).tolist()), relations=("x",) * 5) for i in range(6)]  # fmt: skip
    short = Parsed(words=("a", "b"), heads=(1, -1), relations=("det", "root"))
    found = PerturbedMasking()(lab.model, [*trees, short])
    assert "1 sentences that do not have 3 to 30 words" in found.trust.notes[0]
    assert found.trust.scores[0].chance == 1.0
    assert not found.trust.scores[0].beats_chance
    assert "does not beat" in found.lede


def test_letters(lab):
    with pytest.raises(InputError, match="3 to 30 words"):
        PerturbedMasking()(lab.model, [TREE, Parsed(words=("a",), heads=(-1,), relations=("root",))])
    with pytest.raises(ModelError):
        PerturbedMasking()(load(tiny("gpt2")), [TREE, TREE])
