"""Verdicts on pairs: reading them, both orders together, and the least lean that is told apart from none.

`read`       one of A, B, tie for each of n questions; None where one is missing, given twice, or something else
`settled`    the verdict that counts: the one given in both orders, else a tie (Zheng et al. 2023, sec. 4.2)
`critical`   of m pairs that lean one way or the other: the least |first - second| that a fair coin reaches in at most 5 of 100 runs
             (two-sided sign test); where m is too small for any, the least m at which there is one, six

Cost: linear. Reference: Zheng et al. 2023 (arXiv:2306.05685).
"""

import re

import numpy as np
from scipy.stats import binom

_LINE = re.compile(r"^\W*(\d{1,2})\s*[.:)\-]\s*\W*(A|B|tie)\b\W*$", re.IGNORECASE)
_PLACE = {"a": 1, "b": -1, "tie": 0}
_SIX = 6  # the fewest tosses of a coin that can tell, all on one side: 2 / 2^6 < 0.05 <= 2 / 2^5


def read(text: str, n: int) -> tuple[int, ...] | None:
    """Answers to questions 1 to n: 1 for A, -1 for B, 0 for a tie; None where they are not exactly these."""
    found: dict[int, int] = {}
    for line in text.splitlines():
        m = _LINE.match(line.strip())
        if m is None:
            continue
        k = int(m[1])
        if k in found or not 1 <= k <= n:
            return None
        found[k] = _PLACE[m[2].lower()]
    return tuple(found[k] for k in sorted(found)) if len(found) == n else None


def overall(answers: tuple[int, ...]) -> int:
    """The place that more questions speak for: 1, -1, or 0."""
    return int(np.sign(sum(answers)))


def settled(first: int, swapped: int) -> int:
    """The verdict on (x, y) from that on (x, y) and that on (y, x), both by place: 1 for x, -1 for y, 0 where they differ."""
    return first if first == -swapped else 0


def critical(m: int) -> int:
    """The least |first - second| of m leaning pairs that is told apart from none."""
    if m < _SIX:
        return _SIX
    most = next(k for k in range(m, -1, -1) if 2 * binom.sf(k - 1, m, 0.5) > 0.05) + 1
    return 2 * most - m
