"""Arithmetic of relevance maps: shares and their entropy, and how attention relevance is carried through layers.

Carrying (Chefer, Gur & Wolf 2021, arXiv:2103.15679, eq. 5-11). A relevance map R [to, from] says how much position
`to` holds of input `from`; it starts as the identity (of a stack with itself) or zero (of one stack with another).
    head average     A = mean over heads of (gradient * pattern)+
    self-attention   R <- R + A R, for every map of the stack
    cross-attention  R_ts <- R_ts + N(R_tt)' A N(R_ss), where N divides what a row of R - I holds by its sum and adds I
For one stack this is the product (I + A_L) ... (I + A_1).

Cost: one product of [tok, tok] matrices a layer and map; no model pass.
"""

import numpy as np


def shares(relevance: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes [R, S] divided by their sum over the `counted` [S] bool slots (0 elsewhere) -> [R, S], and what the others hold [R].

    A row in which nothing is counted is shared equally.
    """
    size = np.abs(np.asarray(relevance, dtype=np.float64))
    inside = np.where(counted, size, 0.0)
    total = inside.sum(-1, keepdims=True)
    even = np.where(counted, 1.0 / max(int(np.sum(counted)), 1), 0.0)
    part = np.where(total > 0, inside / np.where(total > 0, total, 1.0), even)
    whole = size.sum(-1)
    return part, np.where(whole > 0, 1 - total[:, 0] / np.where(whole > 0, whole, 1.0), 0.0)


def entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in nats of distributions [..., S]."""
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def head_average(pattern: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Mean over heads of the positive part of gradient * pattern, [head, to, from] -> [to, from]."""
    return (np.asarray(pattern) * np.asarray(gradient)).clip(min=0).mean(0)


def carry(relevance: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """One layer of self-attention: R + A R."""
    return relevance + attention @ relevance


def cross(within_to: np.ndarray, attention: np.ndarray, within_from: np.ndarray) -> np.ndarray:
    """What cross-attention A [to, from] adds to R_ts, given the maps of both stacks with themselves."""
    return normalised(within_to).T @ attention @ normalised(within_from)


def normalised(relevance: np.ndarray) -> np.ndarray:
    """N(R): rows of R - I brought to sum 1 (a row of zeros stays), plus I."""
    eye = np.eye(len(relevance))
    held = relevance - eye
    total = held.sum(-1, keepdims=True)
    return np.where(total != 0, held / np.where(total != 0, total, 1.0), 0.0) + eye
