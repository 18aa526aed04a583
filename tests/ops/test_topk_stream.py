"""The stream of records against sorting everything, for every order and cut of the stream."""

import numpy as np
import pytest
import torch

from exegete.core.errors import InputError
from exegete.ops.topk_stream import UnitStream

UNITS, K = 7, 5


def corpus(seed: int, n: int = 60) -> list[np.ndarray]:
    """Texts [token, unit], rounded so that there are ties; one unit never fires."""
    rng = np.random.default_rng(seed)
    found = [np.round(rng.normal(size=(int(rng.integers(1, 9)), UNITS)), 1) for _ in range(n)]
    for x in found:
        x[:, 3] = 0.0
    return found


def streamed(texts: list[np.ndarray], order: np.ndarray, size: int, **sizes: int) -> UnitStream:
    """The record of texts that come in an order, `size` at once."""
    s = UnitStream(UNITS, K, **sizes)
    for start in range(0, len(order), size):
        some = order[start : start + size]
        values = torch.from_numpy(np.concatenate([texts[i] for i in some])).float()
        text = np.concatenate([np.full(len(texts[i]), i) for i in some])
        position = np.concatenate([np.arange(len(texts[i])) for i in some])
        s.add(values, text, position)
    return s


def slow(texts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything kept and sorted."""
    most = np.stack([x.max(0) for x in texts])
    text = np.stack([np.lexsort((np.arange(len(texts)), -most[:, u]))[:K] for u in range(UNITS)])
    value = np.stack([most[text[u], u] for u in range(UNITS)])
    place = np.stack([[texts[t][:, u].argmax() for t in text[u]] for u in range(UNITS)])
    return value, text, place


@pytest.mark.parametrize("seed", range(3))
def test_as_sorting_everything_whatever_order_and_size(seed):
    texts = corpus(seed)
    value, text, place = slow(texts)
    rng = np.random.default_rng(seed)
    every = np.concatenate(texts)
    for size in (1, 7, 60):
        s = streamed(texts, rng.permutation(len(texts)), size)
        np.testing.assert_allclose(s.value, value, atol=1e-6)
        assert (s.text == text).all()
        assert (s.position == place).all()
        np.testing.assert_allclose(s.rate, (every > 0).mean(0))
        np.testing.assert_allclose(s.mean, every.mean(0), atol=1e-6)
        np.testing.assert_allclose(s.spread, every.std(0), atol=1e-5)


def test_a_wrong_order_would_be_seen():
    """The comparison can fail: a record of other texts is not the sorted one."""
    texts = corpus(0)
    s = streamed(texts[:-30], np.arange(30), 7)
    assert not np.allclose(s.value, slow(texts)[0])


def test_samples_do_not_depend_on_the_order_and_are_fair():
    texts = corpus(1, 400)
    made = [
        streamed(texts, np.random.default_rng(r).permutation(400), size, n_texts=100, n_tokens=200)
        for r, size in ((0, 3), (1, 50))
    ]
    for u in range(UNITS):
        assert all((a == b).all() for a, b in zip(made[0].quantiles(u, 4), made[1].quantiles(u, 4)))
        assert all(np.allclose(a, b) for a, b in zip(made[0].histogram(u, 5), made[1].histogram(u, 5)))
    sampled = made[0]._of_tokens.rows
    assert len(sampled) == 200
    assert abs(sampled[:, 0].mean() - np.concatenate(texts)[:, 0].mean()) < 0.25  # 3.5 standard errors


def test_quantile_examples_are_spread_over_the_ranks():
    texts = corpus(2)
    s = streamed(texts, np.arange(60), 9)
    text, value = s.quantiles(0, 3)
    most = np.array([x[:, 0].max() for x in texts])
    assert (np.diff(value) <= 0).all()
    np.testing.assert_allclose(value, most[text], atol=1e-6)
    np.testing.assert_allclose(value, np.quantile(most, [0.75, 0.5, 0.25]), atol=0.2)
    shares, edges = s.histogram(0, 8)
    assert shares.sum() == pytest.approx(1)
    assert len(edges) == 9


def test_memory_does_not_grow():
    small, large = (streamed(corpus(3, n), np.arange(n), 20, n_texts=30, n_tokens=30) for n in (60, 600))
    size = [
        sum(x.nbytes for x in (s.value, s.text, s.position, s._of_texts.rows, s._of_tokens.rows))
        for s in (small, large)
    ]
    assert size[0] == size[1]


def test_fewer_texts_than_examples_is_a_letter():
    s = streamed(corpus(4, 3), np.arange(3), 3)
    with pytest.raises(InputError, match="The corpus has 3 texts"):
        s.enough()
