"""Leakage-adjusted simulatability by hand."""

import numpy as np
import pytest

from exegete.ops.leakage import las, las_interval


def test_a_worked_example():
    """Leaking (three rows): from x 1 of 3, from both 3 of 3: + 2/3. Not leaking (five): from x 3, from both 2 of 5: - 1/5."""
    e = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    x = np.array([1, 0, 0, 1, 1, 1, 0, 0])
    xe = np.array([1, 1, 1, 1, 1, 0, 0, 0])
    assert las(x, xe, e) == (pytest.approx((2 / 3 - 1 / 5) / 2), pytest.approx(2 / 3), pytest.approx(-1 / 5))
    assert (xe - x).mean() == pytest.approx(1 / 8)  # what it is without the adjustment


def test_one_kind_alone_and_nothing():
    one = np.ones(4)
    value, leaking, rest = las(0 * one, one, one)
    assert (value, leaking) == (1.0, 1.0) and np.isnan(rest)
    assert np.isnan(las(np.zeros(0), np.zeros(0), np.zeros(0))[0])
    assert las_interval(one[:1], one[:1], one[:1]) is None


def test_one_leaking_row_is_no_proof_though_it_has_half_of_the_weight():
    """It gains, the twenty others do not: drawing rows again, its gain is always 1 or is not there."""
    e, x = np.eye(21)[0], np.zeros(21)
    assert las(x, e, e)[0] == 0.5
    low, high = las_interval(x, e, e)
    assert low < 0 < 0.5 < high
    # two rows that gain, both of one kind: as by a sign test not told apart from nothing
    assert (
        las_interval(np.zeros(2), np.ones(2), np.ones(2))[0]
        < 0
        < las_interval(*np.array([[0.0], [1.0], [1.0]]).repeat(6, 1))[0]
    )


def test_the_interval_is_that_of_drawing_rows_again():
    """Slow twin: the same draws, one after the other."""
    from exegete.core.seed import generator

    rng = np.random.default_rng(1)
    x, xe, e = (rng.integers(0, 2, 30).astype(float) for _ in range(3))
    at = generator(3, "leakage", 30).integers(0, 30, (2000, 30))
    wanted = np.quantile([las(x[i], xe[i], e[i])[0] for i in at], [0.025, 0.975])
    assert las_interval(x, xe, e, 3) == pytest.approx(tuple(wanted))
