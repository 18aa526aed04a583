"""Means over people and items: a twin that writes every drawn cell out, and how often the interval holds the truth."""

import numpy as np

from exegete.ops.crossed import draw, interval, mean


def test_a_draw_is_the_mean_of_the_cells_written_out():
    rng = np.random.default_rng(0)
    table = np.where(rng.random((5, 7)) < 0.3, np.nan, rng.normal(size=(5, 7)))
    draws = draw(5, 7, seed=3, n_resamples=20)
    for rows, columns, found in zip(draws.rows, draws.columns, draws.means(table)):
        cells = [
            table[i, j]
            for i in range(5)
            for j in range(7)
            for _ in range(int(rows[i]) * int(columns[j]))
            if np.isfinite(table[i, j])
        ]
        assert np.isclose(found, np.mean(cells))
    assert (draws.rows.sum(1) == 5).all() and (draws.columns.sum(1) == 7).all()


def test_the_interval_holds_the_truth_for_other_people_and_other_items():
    """People and items both vary; an interval over cells alone misses the mean of all far more often than 1 in 20."""
    rng = np.random.default_rng(1)
    held, naive, n = 0, 0, 150
    for k in range(n):
        table = rng.normal(size=(20, 1)) + rng.normal(size=(1, 15)) + rng.normal(size=(20, 15))
        low, high = interval(draw(20, 15, seed=k, n_resamples=400).means(table))
        held += low <= 0 <= high
        naive += abs(mean(table)) <= 1.96 * table.std() / np.sqrt(table.size)
    assert held / n >= 0.88
    assert naive / n < 0.6


def test_what_nothing_is_known_of():
    empty = np.full((3, 3), np.nan)
    assert interval(draw(3, 3).means(empty)) is None
    assert np.isnan(mean(empty))
    one = draw(1, 4, n_resamples=50)
    assert (one.rows == 1).all() and (one.columns.sum(1) == 4).all()
