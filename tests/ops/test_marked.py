"""Areas against scikit-learn, chosen units and overlapping stretches against sets, and a worked example."""

import numpy as np
import pytest
from sklearn.metrics import auc, f1_score, precision_recall_curve

from exegete.ops.marked import chosen, overlap_f1, precision_recall_area, stretches
from exegete.ops.rank import descending


@pytest.mark.parametrize("levels", [3, 10_000])
def test_area_is_that_of_the_curve_of_scikit_learn_from_its_first_threshold(levels):
    """Also with ties. Its made-up last point (no recall, all precision) is put where the curve begins."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 9, 40):
        scores, marked = rng.integers(0, levels, (6, n)).astype(float), rng.random(n) < 0.3
        marked[rng.integers(n)] = True
        want = []
        for row in scores:
            precision, recall, _ = precision_recall_curve(marked, row)
            if levels > 100:
                assert auc(recall, np.append(precision[:-1], precision[-2])) == auc(recall, precision)
            want.append(auc(recall, np.append(precision[:-1], precision[-2])))
        np.testing.assert_allclose(precision_recall_area(scores, marked), want, atol=1e-12)


def test_scores_that_are_all_equal_have_the_share_of_marked_units():
    """They single nothing out; from (0, 1) they would have more than half of the area, and more than many an order."""
    marked = np.arange(10) == 7
    assert precision_recall_area(np.zeros((1, 10)), marked)[0] == pytest.approx(0.1)


def test_a_perfect_order_has_the_whole_area_and_a_reversed_one_does_not():
    marked = np.array([True, False, True, False])
    assert precision_recall_area(np.array([[2.0, 0, 1, 0], [0, 2, 0, 1]]), marked)[0] == 1
    assert precision_recall_area(np.array([[2.0, 0, 1, 0], [0, 2, 0, 1]]), marked)[1] < 0.5


def test_chosen_units_give_the_f1_of_scikit_learn():
    rng = np.random.default_rng(1)
    scores, marked = rng.normal(size=(5, 12)), rng.random(12) < 0.4
    for mask in chosen(descending(scores), 4):
        assert mask.sum() == 4
        hits = (mask & marked).sum()
        assert f1_score(marked, mask) == pytest.approx(2 * hits / (4 + marked.sum()))


def test_stretches_by_hand():
    """Marked 2-5 and 8-9; found 3-5 (two of three units: hit) and 6-7 (a miss): precision 1/2, recall 1/2."""
    marked = np.zeros(10, dtype=bool)
    marked[2:5] = marked[8] = True
    mask = np.zeros(10, dtype=bool)
    mask[3:5] = mask[6] = True
    assert stretches(marked) == [(2, 5), (8, 9)]
    assert overlap_f1(mask, marked, 0.5) == pytest.approx(0.5)
    assert overlap_f1(mask, marked, 0.7) == 0  # two of three is less
    assert overlap_f1(marked, marked, 1.0) == 1
    assert overlap_f1(np.zeros(10, dtype=bool), marked, 0.5) == 0
