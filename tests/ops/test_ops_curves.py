"""Curves against loops over sets."""

import numpy as np
import pytest

from exegete.ops.curves import area, bin_sizes, deletion_curve, insertion_curve, leading, step_sizes

RNG = np.random.default_rng(0)
ORDER = np.stack([RNG.permutation(6) for _ in range(3)])
WEIGHT = RNG.normal(size=6)


def v(keep):
    """A set function with an interaction, so that order matters."""
    return keep @ WEIGHT + 2.0 * keep[..., 0] * keep[..., 3]


def test_leading_marks_the_first_units():
    sizes = np.array([0, 1, 4, 6])
    for k, order in enumerate(ORDER):
        for p, size in enumerate(sizes):
            assert set(np.flatnonzero(leading(ORDER, sizes)[k, p])) == set(order[:size])


def test_curves_are_the_slow_loops():
    sizes = np.array([0, 2, 3, 6])
    for k, order in enumerate(ORDER):
        for p, size in enumerate(sizes):
            first = np.isin(np.arange(6), order[:size])
            assert deletion_curve(v, ORDER, sizes)[k, p] == pytest.approx(v(~first))
            assert insertion_curve(v, ORDER, sizes)[k, p] == pytest.approx(v(first))


def test_a_deletion_curve_is_the_insertion_curve_of_the_reverse_backwards():
    sizes = np.arange(7)
    reverse = insertion_curve(v, ORDER[:, ::-1], sizes)
    assert deletion_curve(v, ORDER, sizes) == pytest.approx(reverse[:, ::-1])


def test_area():
    assert area(np.array([1.0, 0.0]), np.array([0, 4])) == pytest.approx(0.5)
    assert area(np.array([1.0, 1.0, 0.0]), np.array([0, 1, 4])) == pytest.approx(0.25 + 0.75 / 2)
    line = np.linspace(1, 0, 5)
    assert area(np.stack([line, line**0]), np.arange(5)) == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (20, [1, 1, 2, 4, 10]),
        (10, [1, 1, 1, 2, 5]),
        (1, [1] * 5),
        (30, [1, 2, 3, 6, 15]),
        (15, [1, 1, 2, 3, 8]),
    ],
)
def test_bin_sizes_round_up(n, sizes):
    assert bin_sizes(n, (0.01, 0.05, 0.1, 0.2, 0.5)).tolist() == sizes


def test_rounding_error_adds_no_unit():
    assert 100 * 0.07 > 7 and bin_sizes(100, (0.07,)).tolist() == [7]


def test_step_sizes():
    assert step_sizes(3, 20).tolist() == [0, 1, 2, 3]
    long = step_sizes(500, 20)
    assert len(long) == 21 and long[0] == 0 and long[-1] == 500
