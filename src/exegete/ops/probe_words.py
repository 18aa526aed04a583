"""What words alone tell of a label: the baselines that read no model.

most frequent label   of each word in training; a pair is looked up whole, then by its first word; an unknown word gets the
                      most frequent label of all
bag of words          a linear probe (or ridge) on which words a text has, for labels of whole texts and for numbers

Cost: linear in words, and one sparse logistic fit a penalty. Shapes: words, y [row].
Reference: Belinkov & Glass 2019; Hewitt & Liang 2019 (word-type baselines); Conneau et al. 2018 (bag-of-vectors baselines).
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SparseRidge

_C = (0.03, 0.3, 3.0, 30.0)
_RIDGES = (0.1, 1.0, 10.0, 100.0)
_TOKEN = r"(?u)[^\W_]+|[^\w\s]"  # words of one letter and marks count too


def by_word(words: Sequence[tuple[str, ...]], y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:  # fmt: skip
    """The label [test row] that each word most often has in training. A row's `words` are looked up from the most to the least
    exact: all of them, then the first alone.
    """
    known: dict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
    for row in train:
        for key in _keys(words[row]):
            known[key][int(y[row])] += 1
    common = int(np.bincount(y[train]).argmax())
    best = {key: max(sorted(c), key=lambda k, c=c: c[k]) for key, c in known.items()}
    found = [next((best[k] for k in _keys(words[row]) if k in best), common) for row in test]
    return np.array(found, dtype=np.int64)


def by_bag(texts: Sequence[str], y: np.ndarray, train: np.ndarray, held: np.ndarray, test: np.ndarray) -> np.ndarray:  # fmt: skip
    """The class [test row] that a logistic regression on the counts of words tells, its penalty chosen on `held` rows."""
    if len(np.unique(y[train])) < 2:
        return np.full(len(test), y[train[0]])
    x, best = _counts(texts, train), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step is what is judged
        for c in _C:
            fit = LogisticRegression(C=c, max_iter=200).fit(x[train], y[train])
            right = float((fit.predict(x[held]) == y[held]).mean())
            if best is None or right > best[0]:
                best = right, fit
    return best[1].predict(x[test]) if best else y[test]


def numbers_by_bag(
    texts: Sequence[str], t: np.ndarray, train: np.ndarray, held: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """The numbers [test row, target] that a ridge regression on the counts of words tells."""
    x = _counts(texts, train)
    fits = [SparseRidge(alpha=a).fit(x[train], t[train]) for a in _RIDGES]
    told = [f.predict(x[held]).reshape(len(held), -1) for f in fits]
    best = int(np.argmin([((p - t[held]) ** 2).sum() for p in told]))
    return fits[best].predict(x[test]).reshape(len(test), -1)


def _keys(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    low = tuple(w.lower() for w in words)
    return [low] if len(low) == 1 else [low, low[:1]]


def _counts(texts: Sequence[str], train: np.ndarray):  # a sparse matrix [row, word] of words seen in training
    counter = CountVectorizer(token_pattern=_TOKEN)
    counter.fit([texts[i] for i in train])
    return counter.transform(texts).tocsr()
