"""How well scores single out marked units: precision-recall area, hits among the chosen, and overlap of stretches.

    precision_recall_area   area under precision against recall over all thresholds, joined by straight lines. It starts at the
                            precision of the units taken first: where they stand in an order, that is the published start (0, 1);
                            where many are tied, that start would give scores that are all equal more than half of the area
    chosen                  the k units that each order puts first
    overlap_f1              F1 over stretches: a stretch is hit when its intersection over union with one of the others is large

Shapes: K rows of scores, A rows of marks, U units. Cost: O(K A U log U).
References: DeYoung et al. 2020, section 4.2 (all three); Davis & Goadrich 2006 on straight lines between points.
"""

import numpy as np

from exegete.ops.rank import descending


def precision_recall_area(scores: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Area [K] for scores [K, U] and one row of marks [U] with at least one mark; equal scores are taken at once."""
    order = descending(scores)
    ranked = np.take_along_axis(scores, order, axis=1)
    hits = np.cumsum(marked[order], axis=1)
    n = np.arange(1, scores.shape[1] + 1)
    last = np.append(ranked[:, 1:] != ranked[:, :-1], np.ones((len(scores), 1), dtype=bool), axis=1)
    end = np.where(last, np.arange(scores.shape[1]), scores.shape[1])
    end = np.minimum.accumulate(end[:, ::-1], axis=1)[:, ::-1]  # where the group of equal scores ends
    precision = np.take_along_axis(hits / n, end, axis=1)
    recall = np.take_along_axis(hits, end, axis=1) / marked.sum()
    precision, recall = np.append(precision[:, :1], precision, axis=1), np.insert(recall, 0, 0.0, axis=1)
    return (np.diff(recall, axis=1) * (precision[:, 1:] + precision[:, :-1])).sum(1) / 2


def chosen(order: np.ndarray, k: int) -> np.ndarray:
    """The first `k` units of orders [K, U] as masks [K, U]."""
    found = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(found, order[:, :k], True, axis=1)
    return found


def stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """The runs (start, end) of a mask [U]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def overlap_f1(mask: np.ndarray, marked: np.ndarray, least: float) -> float:
    """F1 over the runs of a mask [U] and of marks [U] whose intersection over union is at least `least`."""
    mine, theirs = stretches(mask), stretches(marked)
    if not mine or not theirs:
        return 0.0
    best = np.array([[_iou(a, b) for b in theirs] for a in mine]) >= least
    precision, recall = best.any(1).mean(), best.any(0).mean()
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def _iou(a: tuple[int, int], b: tuple[int, int]) -> float:
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return both / (a[1] - a[0] + b[1] - b[0] - both)
