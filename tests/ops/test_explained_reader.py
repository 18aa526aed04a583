"""The reader of explanations: counts and what is told of them by hand, and a case in which only explanations can help."""

import numpy as np

from exegete.ops.explained_reader import columns, foretold, told


def test_counts_and_what_is_told_by_hand():
    texts = [("b", "a", "b"), ("c",)]
    counts = columns(texts)
    assert counts.tolist() == [[1, 2, 0], [0, 0, 1]]
    scores = columns(texts, [np.array([1.0, -5.0, 2.0]), np.array([-1.0])])
    assert scores.tolist() == [[-5, 3, 0], [0, 0, -1]]
    assert told(counts, scores).tolist() == [[0, 3, 0], [0, 0, 1]]  # all on b; nothing positive: as it was
    half = told(counts, np.array([[1.0, 1.0, 7.0], [0.0, 0.0, 2.0]]))
    assert half.tolist() == [[1.5, 1.5, 0], [0, 0, 1]]  # c does not stand in the first text


def test_words_that_always_come_together_are_parted_by_explanations_alone():
    """x and f stand together in class 0, y and g in class 1. A new text has x and g: who was told that x and y decide knows."""
    counts = np.array([[1, 0, 1, 0], [0, 1, 0, 1]] * 3, dtype=np.float64)  # x, y, f, g
    labels = np.array([0, 1] * 3)
    new = np.array([[1, 0, 0, 1.4], [0, 1, 1.4, 0]])
    gold = counts * [1, 1, 0, 0]
    assert foretold(counts, labels, new, 2).tolist() == [1, 0]  # the more frequent filler wins
    assert foretold(counts, labels, new, 2, gold).tolist() == [0, 1]
    assert foretold(counts, labels, new, 2, counts * [0, 0, 1, 1]).tolist() == [1, 0]
