"""Parts share no group, hold every row once, and are of about the size asked for."""

import numpy as np
import pytest

from exegete.core.errors import InputError
from exegete.ops.split import split, together


@pytest.mark.parametrize("seed", range(20))
def test_no_group_straddles(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 60, 500)
    parts = split(groups, (0.6, 0.2, 0.2), rng)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(500))
    for i, a in enumerate(parts):
        for b in parts[i + 1 :]:
            assert not set(groups[a]) & set(groups[b])
    assert np.allclose([len(p) / 500 for p in parts], (0.6, 0.2, 0.2), atol=0.05)
    # the check can fail: rows dealt without groups straddle
    order = rng.permutation(500)
    assert set(groups[order[:300]]) & set(groups[order[300:]])


def test_too_few_groups():
    with pytest.raises(InputError, match="2 texts"):
        split(np.array([0, 0, 1, 1]))


def test_what_shares_a_tie_through_any_chain_is_one_group():
    assert list(together([("a", "b"), ("c", "d"), (), ("b", "e"), ("f", "c")])) == [0, 1, 2, 0, 1]
    assert list(together([])) == []
