"""Shares, entropy and carried attention against definitions written out by hand."""

import numpy as np
import pytest

from exegete.ops.relevance import carry, cross, entropy, head_average, normalised, shares


def test_shares_sum_to_one_over_what_is_counted():
    part, others = shares(np.array([[1.0, -2.0, 5.0], [0.0, 0.0, 3.0]]), np.array([True, True, False]))
    assert np.allclose(part, [[1 / 3, 2 / 3, 0], [0.5, 0.5, 0]])
    assert np.allclose(others, [5 / 8, 1.0])


def test_entropy_of_even_shares_is_the_logarithm_of_their_number():
    assert entropy(np.full((2, 4), 0.25)) == pytest.approx(np.log([4, 4]))
    assert entropy(np.array([[0.0, 1.0]])) == 0.0


def test_carrying_layers_is_the_product_of_identity_plus_attention():
    rng = np.random.default_rng(0)
    layers = rng.random((3, 4, 4))
    r = np.eye(4)
    for a in layers:
        r = carry(r, a)
    whole = np.eye(4)
    for a in layers[::-1]:
        whole = whole @ (np.eye(4) + a)
    assert np.allclose(r, whole)
    assert not np.allclose(r, np.linalg.multi_dot([np.eye(4) + a for a in layers]))


def test_head_average_keeps_the_positive_part_only():
    pattern = np.array([[[1.0, 2.0]], [[3.0, 4.0]]])
    gradient = np.array([[[1.0, -1.0]], [[-1.0, 1.0]]])
    assert np.allclose(head_average(pattern, gradient), [[0.5, 2.0]])


def test_cross_attention_by_hand():
    own = np.array([[1.0, 0.0], [3.0, 2.0]])  # row 1 holds 3 of input 0 and 1 (beyond itself) of input 1
    assert np.allclose(normalised(own), [[1, 0], [0.75, 1.25]])
    a = np.array([[1.0, 2.0]])
    assert np.allclose(cross(np.eye(1), a, own), [[1 + 1.5, 2.5]])
