"""Dependency trees read from attention between words: which word a head points at, baselines, and a probe on attention alone.

    between_words    attention of tokens to attention of words: summed over the tokens of the word looked at, averaged over
                     those of the word that looks
    pointed          for every word, the other word that it sees and attends to most
    best_distance    the place of the target relative to the query that is most frequent (a tie: the nearest)
    fit_probe        w, u of  p(i | j) = softmax over i of  sum_k w_k a_k(i, j) + u_k a_k(j, i),  where a_k(i, j) is how much word i
                     attends to word j in head k, and i ranges over the other words: maximum likelihood of the heads of words,
                     with a small quadratic penalty
    ratio_interval   95 % interval of sum(right) / sum(total) by resampling sentences

Shapes: attention of words [head, word, word]. Cost: linear in the attention; the probe a few hundred passes over it.
Reference: Clark et al. 2019, "What Does BERT Look At?", sec. 4.1 (words), 4.2 (single heads), 5 (probe).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

PENALTY = 1e-4


def between_words(
    pattern: Float[np.ndarray, "head tok key"], groups: Sequence[Sequence[int]]
) -> Float[np.ndarray, "head word word"]:
    """Attention between words, each a group of token positions."""
    member = np.zeros((pattern.shape[-1], len(groups)))
    for word, group in enumerate(groups):
        member[list(group), word] = 1.0
    return (member / member.sum(0)).T @ (pattern @ member)


def pointed(
    attention: Float[np.ndarray, "head word word"], seen: Bool[np.ndarray, "word word"]
) -> np.ndarray:
    """The other word that each word attends to most [head, word]; -1 where it sees no other."""
    able = seen & ~np.eye(len(seen), dtype=bool)
    best = np.where(able[None], attention, -1.0).argmax(-1)
    some = np.asarray(able.any(-1))
    return np.where(some[None], best, -1)


def best_distance(distances: np.ndarray) -> int:
    """The most frequent of some distances; of equally frequent ones the nearest."""
    values, counts = np.unique(distances, return_counts=True)
    most = values[counts == counts.max()]
    return int(most[np.argmin(np.abs(most))])


@dataclass(frozen=True)
class ProbeData:
    """Rows of candidates: `x` [row, 2 head] = a(i, j) and a(j, i); row r belongs to word `word[r]`; `right` [row] is its head."""

    x: np.ndarray
    word: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, attentions: Sequence[np.ndarray], heads: Sequence[Sequence[int]]) -> "ProbeData":
        """From the attention of the words of each sentence, and the head of each word (-1: none, not asked)."""
        x, word, right, n = [], [], [], 0
        for a, tree in zip(attentions, heads):
            for j, head in enumerate(tree):
                if head >= 0 and len(tree) > 1:
                    others = [i for i in range(len(tree)) if i != j]
                    x.append(np.concatenate([a[:, others, j], a[:, j, others]]).T.astype(np.float32))
                    word += [n] * len(others)
                    right += [i == head for i in others]
                    n += 1
        width = 2 * len(attentions[0]) if len(attentions) else 0
        return cls(
            np.concatenate(x) if x else np.zeros((0, width), np.float32),
            np.array(word, int),
            np.array(right, bool),
        )

    @property
    def n(self) -> int:
        """Words that are asked."""
        return int(self.word[-1]) + 1 if len(self.word) else 0

    @property
    def starts(self) -> np.ndarray:
        """The first row of each word."""
        return np.searchsorted(self.word, np.arange(self.n))


def fit_probe(data: ProbeData, n_steps: int) -> np.ndarray:
    """The weights [2 head] after at most `n_steps` steps of L-BFGS from zero."""
    from scipy.optimize import minimize

    if not data.n:
        return np.zeros(data.x.shape[1])
    found = minimize(
        lambda w: _cost(w, data),
        np.zeros(data.x.shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": n_steps},
    )
    return found.x


def probe_right(weights: np.ndarray, data: ProbeData) -> np.ndarray:
    """Whether the head of each word is found [word]."""
    score = data.x @ weights
    bounds = [*data.starts, len(score)]
    return np.array([bool(data.right[a + int(np.argmax(score[a:b]))]) for a, b in pairwise(bounds)])


def ratio_interval(
    counts: np.ndarray, rng: np.random.Generator, n_resamples: int = 2000
) -> tuple[float, float] | None:
    """Interval of sum(right) / sum(total) for counts [sentence, (right, total)]; None for fewer than two that count."""
    right, total = counts[counts[:, 1] > 0].T
    if len(total) < 2:
        return None
    draw = rng.integers(0, len(total), (n_resamples, len(total)))
    ratio = right[draw].sum(1) / total[draw].sum(1)
    low, high = np.quantile(ratio, [0.025, 0.975])
    return float(low), float(high)


def _cost(w: np.ndarray, data: ProbeData) -> tuple[float, np.ndarray]:
    """Mean negative log-likelihood of the right heads, with its penalty, and its gradient."""
    score = data.x @ w
    top = np.maximum.reduceat(score, data.starts)
    weight = np.exp(score - top[data.word])
    p = weight / np.add.reduceat(weight, data.starts)[data.word]
    value = -np.log(np.maximum(p[data.right], 1e-300)).sum() / data.n
    slope = data.x.T @ (p - data.right) / data.n
    return float(value + PENALTY * (w @ w)), slope + 2 * PENALTY * w
