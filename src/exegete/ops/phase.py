"""When does a curve change, and do two curves change together?

    window      the shortest run of points over which a curve rises by `share` of its whole range (the earliest of equals)
    together    Pearson correlation of the changes of two curves from point to point, and the same for `n` random orders of
                the changes of one of them: what it is by chance

Shapes: curves [point]. Cost: points squared. Reference: Olsson et al. 2022 (arXiv:2209.11895), argument 1 (co-occurrence).
"""

import numpy as np

SHARE = 0.8


def window(curve: np.ndarray, share: float = SHARE) -> tuple[int, int]:
    """First and last point of the shortest stretch that rises by `share` of the range; all of a curve that never does."""
    bar = share * np.ptp(curve)
    n = len(curve)
    for length in range(1, n):
        for start in range(n - length):
            if bar > 0 and curve[start + length] - curve[start] >= bar:
                return start, start + length
    return 0, n - 1


def together(
    a: np.ndarray, b: np.ndarray, draw: np.random.Generator, n: int = 1000
) -> tuple[float, np.ndarray]:
    """Correlation of the changes of two curves, and of `n` random orders; 0 where a curve does not change."""
    x, y = np.diff(a), np.diff(b)
    return _correlation(x, y), np.array([_correlation(x, draw.permutation(y)) for _ in range(n)])


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / size if size > 0 else 0.0
