"""From scores of arcs to a dependency tree: the best projective one, and the best of all.

    eisner              the best projective tree, by the dynamic programme over spans: complete and incomplete, to the
                        left and to the right, all spans of one width at once
    chu_liu_edmonds     the best tree of any kind: every word takes its best head; a circle is contracted to one word whose
                        arcs are scored by what breaking the circle there loses, and the smaller problem is solved

One word is the root, and one only: for the projective tree each is tried; for the other all root arcs are lowered by more than
any tree can win, so that two roots never pay.

Shapes: `arcs` [head, word], `root` [word] what it is worth that a word is the root; heads [word], -1 the root.
Cost: O(n^3) in n^2 steps of numpy; O(n^3) at worst, nearly always O(n^2).
Reference: Eisner 1996, "Three New Probabilistic Models for Dependency Parsing"; Chu & Liu 1965, Edmonds 1967; Gabow & Tarjan
1984 and Stanojevic & Cohen 2021 on the one root.
"""

import numpy as np


def eisner(arcs: np.ndarray, root: np.ndarray | None = None) -> np.ndarray:
    """Heads [word] of the best projective tree with one root."""
    n = len(arcs)
    top = np.zeros(n) if root is None else np.asarray(root, dtype=np.float64)
    s = np.asarray(arcs, dtype=np.float64)
    # complete spans (i, j): head at the right end (left) or at the left end (right); incomplete: the arc between the ends
    left, right = np.full((n, n), -np.inf), np.full((n, n), -np.inf)
    np.fill_diagonal(left, 0.0)
    np.fill_diagonal(right, 0.0)
    open_left, open_right = np.full((n, n), -np.inf), np.full((n, n), -np.inf)
    cut_open, cut_left, cut_right = (np.zeros((n, n), dtype=np.int64) for _ in range(3))
    for width in range(1, n):
        i = np.arange(n - width)
        j = i + width
        k = i[:, None] + np.arange(width)  # split between k and k + 1
        rows, ends = i[:, None], j[:, None]
        inner = right[rows, k] + left[k + 1, ends]
        at = inner.argmax(1)
        cut_open[i, j], best = i + at, inner[i, at]
        open_left[i, j], open_right[i, j] = best + s[j, i], best + s[i, j]
        inner = left[rows, k] + open_left[k, ends]
        at = inner.argmax(1)
        cut_left[i, j], left[i, j] = i + at, inner[i, at]
        inner = open_right[rows, k + 1] + right[k + 1, ends]
        at = inner.argmax(1)
        cut_right[i, j], right[i, j] = i + 1 + at, inner[i, at]
    heads = np.full(n, -1)
    if not n:
        return heads
    first = int(np.argmax(top + left[0] + right[:, n - 1]))
    todo = [(0, first, "left"), (first, n - 1, "right")]
    while todo:
        i, j, sort = todo.pop()
        if i == j:
            continue
        if sort == "left":
            cut = int(cut_left[i, j])
            todo += [(i, cut, "left"), (cut, j, "open left")]
        elif sort == "right":
            cut = int(cut_right[i, j])
            todo += [(i, cut, "open right"), (cut, j, "right")]
        else:
            heads[i if sort == "open left" else j] = j if sort == "open left" else i
            cut = int(cut_open[i, j])
            todo += [(i, cut, "right"), (cut + 1, j, "left")]
    return heads


def chu_liu_edmonds(arcs: np.ndarray, root: np.ndarray | None = None) -> np.ndarray:
    """Heads [word] of the best tree with one root."""
    n = len(arcs)
    if n < 2:
        return np.full(n, -1)
    top = np.zeros(n) if root is None else np.asarray(root, dtype=np.float64)
    scores = np.full((n + 1, n + 1), -np.inf)  # the root is word 0
    scores[1:, 1:] = arcs
    finite = np.concatenate([np.asarray(arcs, dtype=np.float64)[~np.eye(n, dtype=bool)], top])
    scores[0, 1:] = top - (n + 1) * (finite.max() - finite.min() + 1.0)
    np.fill_diagonal(scores, -np.inf)
    scores[:, 0] = -np.inf
    return _arborescence(scores)[1:] - 1


def _arborescence(scores: np.ndarray) -> np.ndarray:
    """Heads [node] of the best arborescence from node 0 (whose own head is 0)."""
    heads = scores.argmax(0)
    heads[0] = 0
    circle = _circle(heads)
    if circle is None:
        return heads
    inside = np.zeros(len(scores), dtype=bool)
    inside[circle] = True
    outside = np.flatnonzero(~inside)
    m = len(outside)
    kept = scores[heads[circle], circle]  # what each word of the circle has from its head in it
    enter = scores[np.ix_(outside, circle)] - kept[None]
    leave = scores[np.ix_(circle, outside)]
    smaller = np.full((m + 1, m + 1), -np.inf)
    smaller[:m, :m] = scores[np.ix_(outside, outside)]
    smaller[:m, m] = enter.max(1)
    smaller[m, :m] = leave.max(0)
    found = _arborescence(smaller)
    for a, node in enumerate(outside):
        if node:
            heads[node] = circle[leave[:, a].argmax()] if found[a] == m else outside[found[a]]
    source = int(found[m])
    heads[circle[enter[source].argmax()]] = outside[source]
    return heads


def _circle(heads: np.ndarray) -> np.ndarray | None:
    """The nodes of a circle of heads; None where all lead to node 0."""
    seen = np.zeros(len(heads), dtype=np.int64)
    seen[0] = -1
    for start in range(1, len(heads)):
        node = start
        while seen[node] == 0:
            seen[node] = start
            node = int(heads[node])
        if seen[node] == start:
            found = [node]
            while int(heads[found[-1]]) != node:
                found.append(int(heads[found[-1]]))
            return np.array(found)
    return None
