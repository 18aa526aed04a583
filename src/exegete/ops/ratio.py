"""One minus a ratio of sums, as values whose mean it is, so that its interval can be read off a bootstrap of means.

    kept = 1 - sum a / sum b;      v_i = kept - (a_i - R b_i) / mean(b),   R = sum a / sum b

The mean of v is exactly `kept`, and its spread is that of the ratio to first order (the delta method).

Cost: linear. Shapes: [n]. Reference: Cochran 1977, Sampling Techniques, section 6.3.
"""

import numpy as np

LEAST = 1e-6


def kept(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The values v [n] of 1 - sum a / sum b, over entries where both are finite; None where the mean of b is not positive."""
    there = np.isfinite(a) & np.isfinite(b)
    a, b = np.asarray(a, dtype=np.float64)[there], np.asarray(b, dtype=np.float64)[there]
    if not len(b) or b.mean() <= LEAST:
        return None
    ratio = a.mean() / b.mean()
    return 1 - ratio - (a - ratio * b) / b.mean()
