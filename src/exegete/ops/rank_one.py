"""The arithmetic of rank-one edits: which direction of keys to write along, and how varied a text is.

`direction`: of all changes of a matrix W [key, value] that send the key k to a wanted value, W + r (v* - k W) with
r = C^-1 k / (k C^-1 k) is the one that moves the outputs of other keys least, on average over keys with second moment
C = E[k k^T] (Meng et al. 2022, arXiv:2202.05262, eq. 2). With C = I it is the shortest change of W.
`ngram_entropy`: how varied a text is, the weighted mean of the entropies of its bigrams and trigrams in bits (sec. 3.3,
"fluency"); repetition lowers it.

Cost: one solve in the number of keys' units, no model.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

_WEIGHTS = {2: 2 / 3, 3: 4 / 3}  # of bigrams and trigrams, as published; they average to 1


def direction(moment: np.ndarray, key: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """r [unit] with r . key = 1, from C = `moment` [unit, unit] and k = `key` [unit].

    `ridge` times the mean diagonal of C is added to its diagonal, so that directions no text used stay bounded.
    """
    damped = moment + ridge * np.trace(moment) / len(moment) * np.eye(len(moment))
    found = np.linalg.solve(damped, key)
    return found / (key @ found)


def ngram_entropy(tokens: Sequence[Hashable]) -> float:
    """Weighted mean entropy of bigrams and trigrams, in bits; 0 for fewer than two tokens."""
    return sum(w * _entropy(tokens, n) for n, w in _WEIGHTS.items()) / len(_WEIGHTS)


def _entropy(tokens: Sequence[Hashable], n: int) -> float:
    counts = np.array(list(Counter(zip(*(tokens[i:] for i in range(n)))).values()), dtype=np.float64)
    if not len(counts):
        return 0.0
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum()) + 0.0
