"""Tree distances: labels of a structural probe for 200 sentences, all at once, against a walk from every word.

Random trees of the lengths of a treebank (up to 60 words). Values first. The goal is 0.6 s of CPU time for 200 sentences.
"""

import numpy as np

from exegete.ops.trees import tree_metrics
from timing import agree, compare, emit

N = 200


def some_trees() -> list[list[int]]:
    """Each word hangs on one that stands already, near ones more often."""
    rng = np.random.default_rng(0)
    trees = []
    for n in rng.gamma(2.5, 7.0, N).astype(int).clip(2, 60):
        order, heads = rng.permutation(n), [-1] * n
        for k in range(1, n):
            heads[order[k]] = int(order[rng.integers(max(0, k - 4), k)])
        trees.append(heads)
    return trees


def by_walking(trees: list[list[int]]) -> list[np.ndarray]:
    """Breadth first from every word."""
    found = []
    for heads in trees:
        near: list[list[int]] = [[] for _ in heads]
        for i, h in enumerate(heads):
            if h >= 0:
                near[i].append(h)
                near[h].append(i)
        distance = np.full((len(heads), len(heads)), -1.0)
        for i in range(len(heads)):
            front, distance[i, i] = [i], 0
            while front:
                front = [(at, to) for at in front for to in near[at] if distance[i, to] < 0]
                for at, to in front:
                    distance[i, to] = distance[i, at] + 1
                front = [to for _, to in front]
        found.append(distance)
    return found


def main() -> None:
    """Values, then seconds."""
    trees = some_trees()
    got, want = tree_metrics(trees)[1], by_walking(trees)
    agree(
        "tree distances",
        "exegete",
        np.concatenate([x.ravel() for x in got]),
        np.concatenate([x.ravel() for x in want]),
    )
    arms = {"a walk from every word": lambda: by_walking(trees), "exegete": lambda: tree_metrics(trees)}
    compare("tree distances", arms, "a walk from every word", rounds=5, goal={"exegete": 0.5})
    emit("note", bench="tree distances", words=sum(map(len, trees)), sentences=N)


if __name__ == "__main__":
    main()
