"""Verdicts: what is read and what is not, and the sign test against counting all coins."""

from itertools import product

import numpy as np
import pytest

from exegete.ops.verdicts import critical, overall, read, settled


@pytest.mark.parametrize(
    ("text", "n", "wanted"),
    [
        ("1: A\n2: B\n3: tie", 3, (1, -1, 0)),
        ("**1.** a\n- 2) *B*", 2, (1, -1)),
        ("Here you are:\n2: B\n1: A", 2, (1, -1)),
        ("1: A", 2, None),
        ("1: A\n1: B\n2: A", 2, None),
        ("1: A\n2: A\n3: A", 2, None),
        ("1: both", 1, None),
        ("1: A is better", 1, None),
        ("", 1, None),
        ("A", 1, None),
    ],
)
def test_reading(text, n, wanted):
    assert read(text, n) == wanted


def test_both_orders_must_say_the_same():
    table = {(a, b): settled(a, b) for a, b in product((1, 0, -1), repeat=2)}
    assert {k: v for k, v in table.items() if v} == {(1, -1): 1, (-1, 1): -1}
    assert overall((1, 1, -1)) == 1 and overall((1, -1, 0)) == 0 and overall((-1, 0)) == -1


def test_the_least_lean_by_counting_all_coins():
    for m in range(6, 15):
        sums = np.abs(np.array(list(product((1, -1), repeat=m))).sum(1))
        least = critical(m)
        assert (sums >= least).mean() <= 0.05 < (sums >= least - 2).mean()
    assert critical(0) == critical(5) == 6
