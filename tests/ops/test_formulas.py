"""Formulas found by search against trying all of them, planted ones, and masks that follow no concept."""

import itertools

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.ops.formulas import Atoms, Formula, Literal, count, iou, pack, search


def masks(n_atoms: int, n: int, seed: int = 0, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((n_atoms, n)) < share


def by_trying_all(concepts: np.ndarray, active: np.ndarray, penalty: float) -> list[float]:
    """Best penalised IoU of at most one and at most two literals, set by set."""
    ones = [set(np.flatnonzero(m)) for m in concepts]
    mask = set(np.flatnonzero(active))
    one = max(len(a & mask) / len(a | mask) for a in ones)
    two = [f for a, b in itertools.product(ones, ones) for f in (a & b, a - b, a | b)]
    return [one, max(one, penalty * max(len(f & mask) / len(f | mask) for f in two))]


@pytest.mark.parametrize("seed", range(5))
def test_two_literals_as_by_trying_all(seed):
    concepts = masks(7, 131, seed)
    active = masks(1, 131, seed + 100, 0.15)[0]
    found = search(Atoms(concepts), active, 2, beam=99)
    np.testing.assert_allclose([f.score for f in found], by_trying_all(concepts, active, 0.99), rtol=1e-12)


def test_what_is_found_is_what_the_formula_says():
    concepts, active = masks(20, 777), masks(1, 777, 5, 0.1)[0]
    found = search(Atoms(concepts), active)
    assert [len(f.formula) for f in found] == sorted(len(f.formula) for f in found)
    for f in found:
        assert iou(f.formula.on(concepts), active) == pytest.approx(f.iou, abs=1e-12)
        assert f.score == pytest.approx(f.iou * 0.99 ** (len(f.formula) - 1))
    assert all(a.score <= b.score for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(
    "chain",
    [
        (("", 3), ("and", 7), ("and", ~11)),
        (("", 3), ("or", 7), ("and", ~11)),
        (("", 3), ("or", 7), ("or", 2), ("or", 11)),
    ],
)
def test_a_planted_formula_is_recovered(chain):
    """Among 40 concepts; ~ is NOT. More literals than were planted are not used."""
    concepts = masks(40, 3000, 1, 0.1)
    planted = Formula(tuple(Literal(join, max(c, ~c), c < 0) for join, c in chain))
    active = planted.on(concepts)
    found = search(Atoms(concepts), active)
    assert found[-1].iou == 1.0
    assert (found[-1].formula.on(concepts) == active).all()
    assert {(x.atom, x.negated) for x in found[-1].formula.literals} == {
        (x.atom, x.negated) for x in planted.literals
    }
    assert all(f.iou < 1 for f in found[: len(chain) - 1])
    assert len(found[-1].formula) == len(chain)


def test_a_formula_whose_beginnings_are_poor_needs_a_wider_beam():
    """((c3 and not c7) or c11) and c2: other pairs fit better than its first two concepts."""
    concepts = masks(12, 3000, 1)
    active = ((concepts[3] & ~concepts[7]) | concepts[11]) & concepts[2]
    assert search(Atoms(concepts), active, 4, beam=2)[-1].iou < 1
    assert search(Atoms(concepts), active, 4, beam=400)[-1].iou == 1


def test_a_mask_that_follows_no_concept_is_not_explained():
    concepts, active = masks(40, 3000, 1), masks(1, 3000, 2, 0.05)[0]
    assert search(Atoms(concepts), active)[-1].iou < 0.15


def test_bits():
    few = masks(3, 67)
    assert (count(pack(few)) == few.sum(1)).all()
    assert iou(few[0] & ~few[0], few[0] & ~few[0]) == 0


def test_in_words():
    f = Formula((Literal("", 0), Literal("and", 1, True), Literal("or", 2), Literal("or", 0, True)))
    assert f.told(("NOUN", "first", "DET")) == "(NOUN and not first) or DET or not NOUN"


def test_letters():
    with pytest.raises(InputError, match="on at 0 of 10"):
        search(Atoms(masks(3, 10)), np.zeros(10, dtype=bool))
    with pytest.raises(InputError, match="always on, or never"):
        search(Atoms(np.zeros((2, 10), dtype=bool)), np.arange(10) == 3, 2)
