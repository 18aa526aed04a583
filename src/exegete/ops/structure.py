"""Statistics of structure, each with a permutation null: specialisation of branches, bands of a matrix, equivariance of units.

    mutual_information   how much the branch of a unit says about its type: sum p(b, t) log p(b, t) / (p(b) p(t)), nats
    banding              share of the variance of |W| that lies in its row means and column means (two-way analysis of
                         variance): 0 for no bands, 1 where |W| is the sum of a row term and a column term
    matching             the permutation P of units with the largest sum of correlations between unit i before a
                         transformation and unit P(i) after it (Hungarian algorithm), and the mean correlation it reaches

Shapes: units U, samples N. Cost: linear in what is given, matching O(U^3).
References: Cover & Thomas 2006, eq. 2.28; Kuhn 1955 (assignment).
"""

import numpy as np
from scipy.optimize import linear_sum_assignment


def mutual_information(branch: np.ndarray, kind: np.ndarray) -> float:
    """Mutual information in nats of two labels a unit [U], both integers from 0."""
    table = np.zeros((int(branch.max()) + 1, int(kind.max()) + 1))
    np.add.at(table, (branch, kind), 1.0)
    p = table / table.sum()
    outer = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / outer[seen])).sum())


def banding(weight: np.ndarray) -> tuple[float, float]:
    """Shares (by row, by column) of the variance of |weight| [row, column] that its row and column means hold."""
    x = np.abs(np.asarray(weight, dtype=np.float64))
    middle = x.mean()
    total = float(((x - middle) ** 2).sum())
    if total == 0:
        return 0.0, 0.0
    rows = x.shape[1] * float(((x.mean(1) - middle) ** 2).sum())
    columns = x.shape[0] * float(((x.mean(0) - middle) ** 2).sum())
    return rows / total, columns / total


def correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson correlations [U, V] of the columns of x [N, U] and y [N, V]; 0 for a column that does not vary."""
    return _standard(x).T @ _standard(y) / len(x)


def matching(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """The permutation [U] that sends units of x [N, U] to units of y [N, U], and the mean correlation under it."""
    table = correlations(x, y)
    rows, columns = linear_sum_assignment(-table)
    return columns[np.argsort(rows)], float(table[rows, columns].mean())


def _standard(x: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1; 0 for a column that does not vary."""
    x = np.asarray(x, dtype=np.float64)
    spread = x.std(0)
    still = spread <= 1e-12 * np.maximum(1.0, np.abs(x).max(0, initial=0))
    return (x - x.mean(0)) / np.where(still, 1.0, spread) * ~still
