"""Records of stretches, put together, against the record of one stream over all texts: whatever the cut and the order of the parts."""

import numpy as np
import pytest
import torch

from exegete.ops.topk_parts import filled, joined, part_of, sampled
from exegete.ops.topk_stream import UnitStream

UNITS, K = 6, 4
SIZES = {"n_texts": 10, "n_tokens": 15}


def corpus(seed: int, n: int = 40) -> tuple[list[np.ndarray], np.ndarray]:
    """Texts [token, unit] with ties, of which some are equal, and a number of what each holds."""
    rng = np.random.default_rng(seed)
    texts = [np.round(rng.normal(size=(int(rng.integers(1, 7)), UNITS)), 1) for _ in range(n)]
    by = rng.integers(0, 1 << 62, n)
    for i in (5, 17):
        texts[i], by[i] = texts[3], by[3]
    return texts, by


def streamed(texts: list[np.ndarray], by: np.ndarray, at: np.ndarray, k: int = K) -> UnitStream:
    """The texts `at`, numbered from 0."""
    s = UnitStream(UNITS, k, **SIZES)
    for i, t in enumerate(at):
        n = len(texts[t])
        s.add(torch.from_numpy(texts[t]).float(), np.full(n, i), np.arange(n), np.full(n, by[t]))
    return s


@pytest.mark.parametrize("seed", range(3))
def test_as_one_stream_over_all_whatever_cut_and_order(seed):
    texts, by = corpus(seed)
    one = streamed(texts, by, np.arange(len(texts)))
    rng = np.random.default_rng(seed)
    for n_cuts in (0, 1, 5):
        cuts = np.split(np.arange(len(texts)), np.sort(rng.permutation(len(texts))[:n_cuts]))
        order = rng.permutation(len(cuts))
        some = [cuts[i] for i in order]
        found = joined([part_of(streamed(texts, by, c, K + 2)) for c in some], some, K)
        for name in ("value", "text", "position"):
            np.testing.assert_array_equal(getattr(found, name), getattr(one, name))
        for name in ("rate", "mean", "spread"):
            np.testing.assert_allclose(getattr(found, name), getattr(one, name), atol=1e-9)
        assert (found.seen, found.tokens) == (one.seen, one.tokens)


@pytest.mark.parametrize("seed", range(3))
def test_the_sample_does_not_know_the_cut_and_its_values_are_put_in(seed):
    texts, by = corpus(seed)
    one = streamed(texts, by, np.arange(len(texts)))
    cuts = np.split(np.arange(len(texts)), [7, 19])
    parts = [part_of(streamed(texts, by, c)) for c in cuts]
    found = joined(parts, cuts, K, **SIZES)
    for mine, theirs in zip(found.samples, one.samples):
        assert sorted(mine.names[0].tolist()) == sorted(theirs.names[0].tolist())
    some, of, position = sampled(found)
    for u in range(UNITS):
        filled(
            found,
            u,
            np.array([texts[t][:, u].max() for t in some]),
            np.array([texts[t][p, u] for t, p in zip(of, position)]),
        )
        for a, b in zip(found.quantiles(u, 3), one.quantiles(u, 3)):
            np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_allclose(found.histogram(u, 5)[0], one.histogram(u, 5)[0])


def test_a_sample_by_place_would_know_the_cut():
    """Without numbers of what texts hold, another cut draws others: what the test above would see."""
    texts, by = corpus(0)
    cuts = np.split(np.arange(len(texts)), [7, 19])
    parts = []
    for c in cuts:
        s = UnitStream(UNITS, K, **SIZES)
        for i, t in enumerate(c):
            s.add(torch.from_numpy(texts[t]).float(), np.full(len(texts[t]), i), np.arange(len(texts[t])))
        parts.append(part_of(s))
    names = joined(parts, cuts, K, **SIZES).samples[0].names[0]
    one = streamed(texts, by, np.arange(len(texts))).samples[0].names[0]
    assert sorted(names.tolist()) != sorted(one.tolist())
