"""What a lede says of a control is what the picture shows of it at the layer named, and no less than at the layer of the probe."""

import re

import numpy as np
import pytest

from exegete.core.figure import Curves
from exegete.core.material import Parsed
from exegete.methods.probing.dependency_probe import DependencyProbe
from exegete.methods.probing.jabberwocky import REAL, Jabberwocky
from exegete.methods.probing.poincare_probe import FLAT, PoincareProbe
from exegete.methods.probing.structural_probe import StructuralProbe
from exegete.methods.probing.tree_profile import stronger
from exegete.models.load import load
from exegete.models.tiny import tiny


def trees(n=40):
    """Words in random order, each hanging on any word before it."""
    rng, found = np.random.default_rng(0), []
    words = ("the", "cat", "saw", "old", "mat", "river", "dog")
    for _ in range(n):
        heads = (-1, *(int(rng.integers(i)) for i in range(1, 7)))
        said = tuple(str(w) for w in rng.permutation(words))
        found.append(Parsed(words=said, heads=heads, relations=tuple("root" if h < 0 else "x" for h in heads), tags=("NOUN",) * 7))  # fmt: skip
    return found


def test_a_control_counts_at_the_better_of_its_own_layer_and_that_of_the_probe():
    assert stronger([0.6, 0.657, 0.618], chosen=2, at=1) == (
        0.657,
        1,
    )  # chosen worse: the picture would show more
    assert stronger([0.7, 0.5, 0.618], chosen=2, at=1) == (0.618, 2)  # another layer was nobody's choice
    assert stronger([np.nan, 0.1], chosen=0, at=1) == (0.1, 1)


@pytest.mark.parametrize(
    ("study", "told"),
    [
        (StructuralProbe(n_steps=10, n_seeds=1, rank=4), {0: 0}),
        (PoincareProbe(n_steps=10, rank=4), {0: 0, 1: 1}),
        (DependencyProbe(n_steps=10, rank=4), {0: 0, 1: 1}),
        (Jabberwocky(n_steps=10, rank=4), {0: 1}),
    ],
    ids=lambda x: getattr(x, "id", ""),
)
def test_ledes_agree_with_their_pictures(study, told):
    """`told`: the controls that the lede names, in order -> their rows in the picture."""
    found = study(load(tiny("bert", "masked")), trees())
    named = re.findall(r"(\d+)\s?% \(at ([^)]+)\)", found.lede)
    assert len(named) == len(told)
    for i, row in told.items():
        shown = found.by_control[row, 0]
        percent, layer = named[i]
        assert round(100 * shown[found.layers.index(layer)]) == int(percent)
        assert shown[found.layers.index(layer)] >= shown[found.best[0]]
        assert any(abs(s.control - shown[found.layers.index(layer)]) < 1e-12 for s in found.trust.scores)


def test_controls_are_drawn_as_controls_and_rivals_beside_the_probe():
    model, some = load(tiny("bert", "masked")), trees()
    for study, rival in ((PoincareProbe(n_steps=5, rank=4), FLAT), (Jabberwocky(n_steps=5, rank=4), REAL)):
        curves = study(model, some).figures()[0]
        assert isinstance(curves, Curves)
        assert curves.title == "Which layer gives the tree? (UUAS: share of arcs found)"
        assert [s.name for s in curves.series if not s.control][1:] == [rival]  # the first is the probe
        assert sum(s.control for s in curves.series) == 2  # randomised weights, and neighbours alone
