"""A training set with known faults, and what each of its points does to every test point: the truth for methods of influence.

1. texts of two classes, whose words say which; a text is the counts of its words (frozen features), a linear head reads them;
2. a known share of the training labels is the wrong one;
3. the head is a logistic regression with an L2 penalty, which has one solution; leaving one point out and fitting again, to
   convergence, gives the influence of every training point on every test point exactly: nothing is estimated.

influence[i, t] = loss of test text t with i left out - its loss with all: positive where i helps. A mislabelled point hurts the
texts that are like it. Cost: one fit a training point, of a few Newton steps; no pass. Shapes: features [text, word].
References: Koh & Liang 2017 (influence functions, of which this is the truth); Feldman & Zhang 2020 (leaving out).
"""

from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np

from exegete.core.errors import UsageError
from exegete.evaluate.truth.planted_words import FILLERS, SAYS

CLASSES = ("blame", "praise")
LENGTH = 6
PENALTY = 0.1  # of the squared weights, in units of the mean loss
WORDS = (*FILLERS, *(w for c in CLASSES for w in SAYS[c]))


@dataclass(frozen=True)
class Mislabelled:
    """Training texts with the labels they are trained with (`wrong` says which are not theirs), test texts with true labels.

    `labels`, `test_labels` are 0 (blame) and 1 (praise).
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    wrong: np.ndarray
    test_texts: tuple[str, ...]
    test_labels: np.ndarray

    @cached_property
    def features(self) -> np.ndarray:
        """Counts of words [text, word], a constant last."""
        return counts(self.texts)

    @cached_property
    def test_features(self) -> np.ndarray:
        """The same of the test texts."""
        return counts(self.test_texts)

    @cached_property
    def weights(self) -> np.ndarray:
        """The head that all points make [word]."""
        return fitted(self.features, self.labels)

    @cached_property
    def influence(self) -> np.ndarray:
        """How much the loss of each test text rises when a training point is left out [point, test text]."""
        whole = losses(self.weights, self.test_features, self.test_labels)
        found = []
        for i in range(len(self.texts)):
            kept = np.arange(len(self.texts)) != i
            # the penalty stays that of the whole set, so that leaving out changes the data alone
            less = fitted(self.features[kept], self.labels[kept], len(self.texts), self.weights)
            found.append(losses(less, self.test_features, self.test_labels) - whole)
        return np.stack(found)


def mislabelled(n: int = 60, share: float = 0.1, n_test: int = 30, seed: int = 0) -> Mislabelled:
    """`n` training texts, `share` of them with the other class's label. Raises `UsageError` where none or all would be wrong."""
    n_wrong = round(share * n)
    if not 0 < n_wrong < n or n_test < 1:
        raise UsageError(
            f"You asked for {n} training texts, {n_wrong} of them mislabelled, and {n_test} test texts.",
            "There would be nothing to find, nothing to find it among, or nothing to judge by.",
            "Give a share that leaves both kinds, and at least one test text.",
        )
    random = Random(f"mislabelled-{seed}")
    found: dict[str, int] = {}
    while len(found) < n + n_test:
        label = len(found) % 2
        words = [*random.sample(SAYS[CLASSES[label]], 2), *random.sample(FILLERS, LENGTH - 2)]
        random.shuffle(words)
        found.setdefault(" ".join(words), label)
    texts, labels = tuple(found), np.array(list(found.values()))
    wrong = np.zeros(n, dtype=bool)
    wrong[random.sample(range(n), n_wrong)] = True
    return Mislabelled(texts[:n], np.where(wrong, 1 - labels[:n], labels[:n]), wrong, texts[n:], labels[n:])


def counts(texts: tuple[str, ...]) -> np.ndarray:
    """Counts of words [text, word], and a constant."""
    return np.array([[*(t.split().count(w) for w in WORDS), 1] for t in texts], dtype=np.float64)


def losses(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss of every text, nats [text]."""
    return np.logaddexp(0.0, -(2 * y - 1) * (x @ weights))


def fitted(
    x: np.ndarray, y: np.ndarray, n: int | None = None, start: np.ndarray | None = None, steps: int = 50
) -> np.ndarray:
    """The weights that minimise the sum of losses + n * PENALTY / 2 * |w|^2, by Newton's method; `n` left out: that of the rows."""
    w = np.zeros(x.shape[1]) if start is None else start.copy()
    strength = PENALTY * (len(x) if n is None else n)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-(x @ w)))
        slope = x.T @ (p - y) + strength * w
        if np.abs(slope).max() < 1e-10:
            break
        w = w - np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + strength * np.eye(len(w)), slope)
    return w
