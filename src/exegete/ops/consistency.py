"""How alike two rows of contributions are: the measure of CC-SHAP, and what it is by chance.

shares      contributions of each output's row divided by the sum of their sizes, then averaged over the outputs
cosine      of two rows of shares: 1 alike, 0 unlike, -1 opposite
shuffled    the mean of the cosine over all orders of one row's words: sum(a) sum(b) / (n |a| |b|)

Shapes: each [output, word], rows [word]. Cost: linear. Reference: Parcalabescu & Frank 2024 (arXiv:2311.07466), sec. 4.
"""

import numpy as np


def shares(each: np.ndarray) -> np.ndarray:
    """Mean over outputs [word] of contributions [output, word] that each add up to one in size; NaN where all are zero."""
    size = np.abs(each).sum(1, keepdims=True)
    live = size[:, 0] > 0
    return (each[live] / size[live]).mean(0) if live.any() else np.full(each.shape[1], np.nan)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two rows; NaN where one is zero or unknown."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / size, -1, 1)) if size > 0 else float("nan")


def shuffled(a: np.ndarray, b: np.ndarray) -> float:
    """What `cosine` is on average over all orders of the words of one row."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a.sum() * b.sum() / (len(a) * size)) if size > 0 else float("nan")
