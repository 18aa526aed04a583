"""How many bits the labels cost, to someone who has the representations: uniform, frequency and online (prequential) code.

uniform    log2 C a label; kbit are 1,024 bits, as in Voita & Titov 2020
frequency  each label by its share among the labels before it (Krichevsky-Trofimov: half a count more a class)
online     the labels are sent in blocks that double (0.1 %, 0.2 %, ... 100 % of them); the first by the uniform code, each
           later one by a softmax regression fitted to all before it. Several strengths of the penalty, the frequency and the
           uniform code are mixed as Bayes says, weights going by what each has cost so far: the mixture costs at most
           log2(number of codes) bits more than the best of them, so nothing is tuned on labels that were not yet sent

Cost: about one fit to all rows a strength. Shapes: y [n] integers under C, x [n, d], bits [n].
Reference: Voita & Titov 2020, Information-Theoretic Probing with Minimum Description Length, section 2.2.2.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import logsumexp

from exegete.ops.softmax_regression import fit_softmax, log_probabilities

PORTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
KBIT = 1024.0


def uniform_bits(n: int, n_classes: int) -> float:
    """Bits of n labels of C classes that are equally likely."""
    return n * float(np.log2(n_classes))


def kbit(bits: float) -> float:
    """Bits in units of 1,024."""
    return bits / KBIT


def frequency_code(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Bits [n] of each label, by the share of its class among those before it."""
    hot = np.zeros((len(y), n_classes))
    hot[np.arange(len(y)), y] = 1.0
    before = np.cumsum(hot, axis=0) - hot
    own = before[np.arange(len(y)), y]
    return -np.log2((own + 0.5) / (np.arange(len(y)) + n_classes / 2))


def ends_of(n: int, portions: Sequence[float] = PORTIONS) -> np.ndarray:
    """Ends [block] of the blocks: ascending, each at least one label, the last n."""
    ends = np.unique(np.clip(np.round(np.asarray(portions) * n).astype(int), 1, n))
    return ends if ends[-1] == n else np.append(ends, n)


def online_code(
    x: np.ndarray, y: np.ndarray, n_classes: int, ends: np.ndarray, strengths: Sequence[float]
) -> np.ndarray:
    """Bits [n] of each label `y` [n], sent in blocks that end at `ends`, to a reader of `x` [n, d]."""
    experts = np.full((len(strengths) + 2, len(y)), np.log2(n_classes))
    experts[-1] = frequency_code(y, n_classes)
    starts: list[np.ndarray | None] = [None] * len(strengths)
    for low, high in pairwise(ends):
        for k, strength in enumerate(strengths):
            w = fit_softmax(x[:low], y[:low], n_classes, strength, starts[k])
            starts[k] = w
            logs = log_probabilities(x[low:high], w)
            experts[k, low:high] = -logs[np.arange(high - low), y[low:high]] / np.log(2)
    experts[:, : ends[0]] = np.log2(n_classes)
    return mixture(experts)


def mixture(bits: np.ndarray) -> np.ndarray:
    """Bits [n] of the Bayesian mixture of codes `bits` [code, n], equally likely at first."""
    total = np.concatenate([np.zeros((len(bits), 1)), np.cumsum(bits, axis=1)], axis=1)
    spent = -logsumexp(-total * np.log(2), axis=0) / np.log(2)
    return np.diff(spent)
