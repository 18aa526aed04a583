"""Which of several descriptions of a unit says most about it alone: the largest log p(d | E) - lambda log p(d).

E is what the unit does on the texts to explain. The embedded version needs no language model:
1. log p(E | d): a normal density around what the description foretells, its spread the mean squared error, as large as if every text
   were one example (tokens of one text are no independent ones), so texts * (-log(error) / 2);
2. a description of n clues costs n / 2 * log(texts) (as many numbers fitted), which makes p(d | E) over all candidates, those of
   all units, for every unit by Bayes' rule;
3. p(d), how readily it is given whatever the unit: the mean of p(d | E) over units;
4. with lambda 0 the best fit is chosen, however many units it fits; the larger lambda, the more a description of many units loses.

Shapes: error [unit, description]. Cost: numbers only. Reference: Hernandez et al. 2022, arXiv:2201.11114 (MILAN), where both
probabilities are a captioner's and a language model's.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

LEAST = 1e-3  # least error, a share of the unit's variance: no description is believed to be exact


def log_given(error: np.ndarray, clues: Sequence[int], texts: int) -> np.ndarray:
    """log p(d | E) [unit, description] from mean squared errors over the unit's variance [unit, description]."""
    fit = -texts / 2 * np.log(np.maximum(error, LEAST)) - np.asarray(clues) / 2 * np.log(max(texts, 2))
    return fit - logsumexp(fit, axis=1, keepdims=True)


def log_common(error: np.ndarray, clues: Sequence[int], texts: int) -> np.ndarray:
    """log p(d), the mean of p(d | E) over units [description]."""
    given = log_given(error, clues, texts)
    return logsumexp(given, axis=0) - np.log(len(given))


def information(error: np.ndarray, clues: Sequence[int], texts: int, weight: float) -> np.ndarray:
    """log p(d | E) - weight * log p(d) [unit, description]."""
    return log_given(error, clues, texts) - weight * log_common(error, clues, texts)
