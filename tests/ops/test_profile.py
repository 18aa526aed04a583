"""Profiles over layers against plain loops, a known expected layer, and intervals that cover; words alone against counting."""

import numpy as np
import pytest

from exegete.ops.probe_words import by_bag, by_word, numbers_by_bag
from exegete.ops.profile import Run, by_text, centre, profile, total


def run(lost, dev, n=40, seed=0):
    """A run of texts of four rows, each row of layer l lost with probability lost[l]."""
    rng = np.random.default_rng(seed)
    gone = rng.random((len(lost), n, 4)) < np.array(lost)[:, None, None]
    return Run(gone.sum(2).astype(float), np.full(n, 4.0), np.array(dev), np.arange(n))


def test_sums_by_text_are_a_plain_loop():
    rng = np.random.default_rng(0)
    values, texts = rng.random((3, 30)), rng.integers(0, 6, 30) * 10
    want = np.array([[sum(v for v, t in zip(row, texts) if t == u) for u in np.unique(texts)] for row in values])  # fmt: skip
    assert np.allclose(by_text(values, texts), want)


def test_the_expected_layer_is_where_the_steps_are():
    assert centre(np.array([[0.2, 0.2, 0.8, 0.8]]))[0] == 2
    assert centre(np.array([[0.0, 0.3, 0.3, 0.6]]))[0] == pytest.approx(2)
    assert centre(np.array([[0.1, 0.4, 0.3, 0.3]]))[0] == 1  # steps down count nothing
    assert np.isnan(centre(np.array([[0.5, 0.5, 0.4]]))[0])


def test_scores_are_pooled_over_seeds_and_the_layer_is_chosen_by_development_rows():
    runs = [run([0.5, 0.2, 0.1], [0.4, 0.9, 0.8], seed=s) for s in range(3)]
    found = profile(runs, np.random.default_rng(0))
    want = [1 - sum(r.lost[i].sum() for r in runs) / 480 for i in range(3)]
    assert np.allclose(found.score, want)
    assert found.best == 1
    assert found.chosen == pytest.approx(want[1])  # although layer 2 does better on the test rows
    assert found.centre == 1
    assert total([r.lost[1] for r in runs], [r.bar for r in runs]) == pytest.approx(want[1])


def test_an_interval_holds_the_truth_about_as_often_as_it_says_and_is_wider_for_texts_than_for_rows():
    inside, rng = 0, np.random.default_rng(1)
    for seed in range(60):
        rates = rng.beta(2, 2, 60)  # texts differ: rows of one are no independent witnesses
        gone = rng.random((60, 10)) < rates[:, None]
        one = Run(gone.sum(1)[None].astype(float), np.full(60, 10.0), np.ones(1), np.arange(60))
        low, high = profile([one], np.random.default_rng(seed)).interval[0]
        inside += low <= 0.5 <= high
        naive = 2 * 1.96 * (0.25 / 600) ** 0.5
        assert high - low > 1.1 * naive
    assert inside >= 51  # 95 % of 60 is 57; the chance of fewer than 51 is under 0.002


def test_one_text_under_many_seeds_is_still_one_witness():
    """Twenty splits of the same 60 texts: what is learned of texts does not grow with splits, and the interval covers as it says."""
    inside, rng = 0, np.random.default_rng(2)
    for seed in range(20):
        rates, runs = rng.beta(2, 2, 60), []
        for _ in range(20):
            texts = np.sort(rng.permutation(60)[:12])
            gone = rng.binomial(10, rates[texts]).astype(float)
            runs.append(Run(gone[None], np.full(12, 10.0), np.ones(1), texts))
        low, high = profile(runs, np.random.default_rng(seed)).interval[0]
        inside += low <= 0.5 <= high
        assert high - low > 2 * 1.96 * rates.std() / 60**0.5 * 0.9  # never narrower than texts allow
    assert inside >= 16  # 95 % of 20 is 19; the chance of fewer than 16 is under 0.003


def test_words_are_looked_up_and_unknown_ones_get_the_most_frequent_label():
    words = [("Run",), ("run",), ("run",), ("cat",), ("cat",), ("new",)]
    y = np.array([1, 1, 0, 2, 2, 0])
    train, test = np.arange(5), np.array([0, 3, 5])
    assert by_word(words, y, train, test).tolist() == [1, 2, 1]
    pairs = [("a", "x"), ("a", "y"), ("a", "y"), ("a", "z")]
    assert by_word(pairs, np.array([0, 1, 1, 0]), np.arange(3), np.array([0, 3])).tolist() == [0, 1]


def test_bags_of_words_tell_what_hangs_on_words_and_not_what_hangs_on_order():
    rng = np.random.default_rng(0)
    texts, y, n = [], [], []
    for _ in range(300):
        found = list(rng.choice(["good", "bad", "very", "film", "the"], 4, replace=False))
        texts.append(" ".join(found))
        y.append(int("good" in found))
        n.append([2.0 * ("bad" in found)])
    y, n = np.array(y), np.array(n)
    order = np.array([int(t.split()[0] > t.split()[1]) for t in texts])
    parts = np.split(np.arange(300), [180, 240])
    assert (by_bag(texts, y, *parts) == y[240:]).all()
    assert (by_bag(texts, order, *parts) == order[240:]).mean() < 0.75
    assert np.abs(numbers_by_bag(texts, n, *parts) - n[240:]).max() < 0.1
