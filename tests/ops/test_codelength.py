"""Codes: the published arithmetic, theorems of prequential coding, a slow twin of the fit."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from exegete.core.errors import InputError
from exegete.ops.codelength import ends_of, frequency_code, kbit, mixture, online_code, uniform_bits
from exegete.ops.control_labels import classes_of, control_labels
from exegete.ops.softmax_regression import fit_softmax, log_probabilities
from exegete.ops.variational_code import variational_code

RNG = np.random.default_rng(0)
STRENGTHS = (1.0, 10.0)


def test_the_published_uniform_code():
    """Voita & Titov 2020: 950,028 tags of 45 classes are 5095.13 kbit of 1,024 bits each."""
    bits = uniform_bits(950_028, 45)
    assert kbit(bits) == pytest.approx(5095.13, abs=0.005)
    assert bits / 1000 != pytest.approx(5095.13, abs=0.1)  # the other kbit is another number


def test_the_frequency_code_is_a_code():
    """Over all sequences the probabilities sum to one (Kraft); it costs no more than entropy + (C - 1)/2 log2 n + a constant."""
    n, c = 6, 3
    total = sum(2.0 ** -frequency_code(np.array(np.unravel_index(i, (c,) * n)), c).sum() for i in range(c**n))
    assert total == pytest.approx(1)
    y = RNG.choice(3, 4000, p=[0.7, 0.2, 0.1])
    share = np.bincount(y) / len(y)
    entropy = -(share * np.log2(share)).sum() * len(y)
    assert entropy < frequency_code(y, 3).sum() < entropy + np.log2(len(y)) + 3


def test_the_mixture_costs_little_more_than_the_best():
    bits = RNG.uniform(0, 3, (4, 200))
    spent = mixture(bits).sum()
    assert spent == pytest.approx(-np.log2(np.mean(2.0 ** -bits.sum(1))), rel=1e-9)
    assert spent <= bits.sum(1).min() + 2 + 1e-9


def test_random_labels_are_not_compressed_and_linear_ones_are():
    x = RNG.normal(size=(1500, 16))
    ends = ends_of(len(x))
    noise = RNG.integers(0, 4, len(x))
    spent = online_code(x, noise, 4, ends, STRENGTHS)
    assert spent.sum() >= uniform_bits(len(x), 4) - 1  # nobody codes chance below its entropy
    assert spent.sum() <= uniform_bits(len(x), 4) + np.log2(4) + 1e-6  # and mixing costs log2(codes) at most
    linear = (x @ RNG.normal(size=(16, 4)) * 20).argmax(1)
    assert online_code(x, linear, 4, ends, STRENGTHS).sum() < 0.3 * uniform_bits(len(x), 4)


def test_a_label_read_off_one_column_costs_the_first_block_and_little_more():
    y = RNG.integers(0, 2, 2000)
    x = np.stack([10.0 * (2 * y - 1), RNG.normal(size=len(y))], axis=1)
    ends = ends_of(len(y), (0.01, 0.1, 1.0))
    spent = online_code(x, y, 2, ends, (0.01,))
    assert spent[: ends[0]] == pytest.approx(np.ones(ends[0]))
    assert spent.sum() < ends[0] + 8


def test_blocks():
    assert list(ends_of(1000)) == [1, 2, 4, 8, 16, 32, 62, 125, 250, 500, 1000]
    assert list(ends_of(3)) == [1, 2, 3]
    assert list(ends_of(10, (0.5,))) == [5, 10]


def test_the_fit_is_that_of_another_implementation():
    x, y = RNG.normal(size=(400, 5)), RNG.integers(0, 3, 400)
    y[x[:, 0] > 0.5] = 2
    mine = log_probabilities(x, fit_softmax(x, y, 3, 1.0))
    theirs = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8).fit(x, y).predict_log_proba(x)
    assert np.abs(mine - theirs).max() < 5e-3  # their intercept is free, ours nearly so
    assert np.abs(mine - np.log(np.bincount(y) / len(y))).max() > 0.5  # and it is not just the frequencies


def test_a_class_without_rows_is_improbable_not_impossible():
    x, y = RNG.normal(size=(100, 3)), RNG.integers(0, 2, 100)
    logs = log_probabilities(x, fit_softmax(x, y, 3))
    assert np.isfinite(logs).all()
    assert logs[:, 2].max() < np.log(0.1)


def test_the_variational_code_switches_off_what_does_not_pay():
    """Random labels: nothing is learned. One telling column of many: far less than the uniform code, few bits in the classifier."""
    x = torch.from_numpy(RNG.normal(size=(800, 6))).float()
    noise, told = torch.from_numpy(RNG.integers(0, 2, 800)), (x[:, 3] > 0).long()
    bits, classifier = variational_code(torch.stack([x, x]), torch.stack([noise, told]), 2, 0, n_steps=250)
    total = bits.sum(1) + classifier
    assert 790 < float(total[0]) < 900
    assert float(total[1]) < 350
    deep, inside = variational_code(x[None], told[None], 2, 0, hidden=8, n_steps=250)
    assert float(deep.sum() + inside.sum()) < 500


def test_control_labels_depend_on_the_word_alone():
    words = ["a", "b", "a", "c", "b"]
    fake = control_labels(words, np.array([0, 1, 1, 1, 1]), RNG)
    assert fake[0] == fake[2]
    assert fake[1] == fake[4]
    many = control_labels([str(i) for i in range(5000)], np.array([0, 1, 1, 1]), RNG)
    assert many.mean() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("labels", "words"), [((1.0, 2.0), "number"), (("x", "x"), "All of them"), ((), "none")]
)
def test_labels_that_cannot_be_classes_get_a_letter(labels, words):
    with pytest.raises(InputError, match=words):
        classes_of(labels)
