"""When are numbers of a model the same but for rounding? Nothing can be learned from how such numbers differ.

Cost: linear. Shapes: P values of one thing.
"""

import numpy as np

ROUNDING = 1e-6  # of the largest value: what single precision may move it by when nothing has changed


def alike(values: np.ndarray) -> np.ndarray:
    """Whether the values [..., P] are the same but for rounding [...] bool."""
    return np.asarray(np.ptp(values, axis=-1) <= ROUNDING * np.abs(values).max(axis=-1))
