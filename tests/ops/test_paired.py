"""The paired bootstrap keeps its level where nothing differs, finds what does, and pairs: a common swing does not hide it."""

import numpy as np
from scipy.stats import ttest_rel

from exegete.ops.paired import paired_bootstrap


def test_false_alarms_stay_at_the_level():
    rng = np.random.default_rng(0)
    p = [paired_bootstrap(rng.exponential(size=(2, 30)), seed, 999).p[0] for seed in range(400)]
    assert np.mean(np.array(p) <= 0.05) < 0.08  # 0.05 and three standard errors


def test_a_family_of_pairs_is_corrected():
    rng = np.random.default_rng(1)
    alarms = [(paired_bootstrap(rng.normal(size=(5, 25)), s, 999).adjusted <= 0.05).any() for s in range(200)]
    raw = [(paired_bootstrap(rng.normal(size=(5, 25)), s, 999).p <= 0.05).any() for s in range(200)]
    assert np.mean(alarms) < 0.1
    assert np.mean(raw) > 0.15  # without the correction: the test can fail


def test_a_difference_under_a_common_swing_is_found_as_by_students_test():
    rng = np.random.default_rng(2)
    swing = rng.normal(scale=10, size=60)
    values = np.stack([swing + rng.normal(size=60), swing + rng.normal(size=60) + 0.6])
    found = paired_bootstrap(values)
    assert found.mean[0] < 0
    assert abs(found.p[0] - ttest_rel(*values).pvalue) < 0.01
    apart = paired_bootstrap(np.stack([values[0], rng.permutation(values[1])]))
    assert apart.p[0] > 0.2  # the same numbers without the pairing


def test_missing_items_are_left_out_and_few_say_nothing():
    values = np.array([[1.0, 2, 3, np.nan, 5, 6, 7], [2.0, 3, 4, 9, 6, 7, 8]])
    found = paired_bootstrap(values)
    assert found.n[0] == 6
    assert found.mean[0] == -1
    assert found.p[0] < 0.01  # always one apart
    assert np.isnan(paired_bootstrap(values[:, :4]).p[0])
    assert paired_bootstrap(np.ones((2, 8))).p[0] == 1
