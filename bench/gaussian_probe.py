"""Greedy Gaussian probe: 10 of 64 dimensions, 3,000 rows, 4 classes; the goal is 1.5 s, in the order of the full refit.

The limit is what any greedy choice must do: the density of every row under every class for every candidate, ten times, in
plain numpy, with nothing conditioned. Beside it the refit of every candidate (a Cholesky factor each), whose order is the
check.

    python bench/gaussian_probe.py       JSON lines
"""

import time

import numpy as np

from exegete.ops.gaussian_probe import fit, greedy
from timing import agree, compare, emit

BENCH, ROWS, DIMS, CLASSES, K, GOAL = "gaussian probe", 3000, 64, 4, 10, 1.5


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Correlated dimensions, each shifted a little by the class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, ROWS)
    mix = np.eye(DIMS) + 0.2 * rng.normal(size=(DIMS, DIMS))
    return (rng.normal(size=(ROWS, DIMS)) + rng.normal(size=(CLASSES, DIMS))[y] * 0.4) @ mix, y


def ours(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fit and choose."""
    return greedy(fit(x, y, CLASSES), x, y, K).order


def refit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same choice by a probe of its own for every candidate."""
    model, order = fit(x, y, CLASSES), []
    for _ in range(K):
        told = np.full(DIMS, -np.inf)
        for j in sorted(set(range(DIMS)) - set(order)):
            told[j] = model.log_posterior(x, (*order, j))[np.arange(len(x)), y].mean()
        order.append(int(told.argmax()))
    return np.array(order)


def least(x: np.ndarray, y: np.ndarray) -> None:
    """Densities of every row, class and candidate, ten times."""
    for _ in range(K):
        joint = np.stack([-0.5 * (x - x[y == v].mean(0)) ** 2 for v in range(CLASSES)])
        np.log(np.exp(joint - joint.max(0)).sum(0))


def main() -> None:
    """Check, then time."""
    x, y = rows()
    agree(BENCH, "ours", ours(x, y), refit(x, y), 0)
    arms = {"densities alone": lambda: least(x, y), "ours": lambda: ours(x, y), "refit": lambda: refit(x, y)}
    compare(BENCH, arms, "densities alone", rounds=5, fewer={"refit": 1}, warm=False)
    started = time.process_time()
    ours(x, y)
    took = time.process_time() - started
    emit("figure", bench=BENCH, arm="seconds, 10 of 64", value=took, goal=GOAL, reached=took <= GOAL)


if __name__ == "__main__":
    main()
