"""Micro F1 of yes-or-no classes, and its interval when texts and seeds are drawn again.

1. of each text: right yeses, wrong yeses, missed yeses, summed over classes; 2. F1 = 2 right / (2 right + wrong + missed) of
their sums; 3. texts are drawn with replacement, and so are seeds, and F1 taken of each draw.

Cost: O(resamples * texts). Shapes: logits [row, class], y [row], text [row]; counts [text, 3] or, of seeds, [seed, text, 3].
"""

import numpy as np

from exegete.core.seed import generator


def counts(logits: np.ndarray, y: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Right, wrong and missed yeses [text, 3]; a class is said where its logit is above zero."""
    yes = logits > 0
    right = yes[np.arange(len(y)), y]
    each = np.stack([right, yes.sum(1) - right, ~right], axis=1).astype(np.float64)
    _, member = np.unique(text, return_inverse=True)
    return np.stack([np.bincount(member, column) for column in each.T], axis=1)


def micro_f1(counted: np.ndarray) -> np.ndarray:
    """F1 [...] of counts [..., 3]."""
    right, wrong, missed = np.moveaxis(counted, -1, 0)
    return np.asarray(2 * right / np.maximum(2 * right + wrong + missed, 1e-12))


def f1_interval(counted: np.ndarray, seed: int, n_resamples: int = 1000) -> tuple[float, float]:
    """95 % interval of F1 (mean over seeds) from counts [seed, text, 3]; NaN for one text."""
    n_seeds, n_texts, _ = counted.shape
    if n_texts < 2:
        return float("nan"), float("nan")
    rng = generator(seed, "f1", n_texts)
    found = []
    for _ in range(n_resamples):
        times = np.bincount(rng.integers(0, n_texts, n_texts), minlength=n_texts)
        some = counted[rng.integers(0, n_seeds, n_seeds)]
        found.append(micro_f1(np.einsum("stc,t->sc", some, times)).mean())
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
