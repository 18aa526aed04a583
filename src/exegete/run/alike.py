"""Are two values the same but for rounding? What a shard holds, against what was computed again on another machine.

1. values, dictionaries, lists and records are walked side by side: everything in them must be the same but numbers; in words the last
   digit of decimal fractions may differ, too. Self-checks and costs are left out: they measure rounding, and passes;
2. numbers are gathered by where they stand (without places in lists, so that those of one kind are together), and the largest
   difference is told relative to the largest number of its kind.

Cost: one walk.
"""

import re
from collections import defaultdict
from typing import Any

import numpy as np

from exegete.core.trust import Check, Cost
from exegete.core.value import Value

_NUMBER = re.compile(r"(-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)")
TINY = 1e-9


class Alike:
    """Compares pair after pair. `same` is False once anything but a number differs, `gap` is the largest difference so far."""

    def __init__(self) -> None:
        self.same = True
        self._found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)

    def add(self, new: Any, was: Any, where: str = "") -> None:
        """One pair. `where` names its kind."""
        if _number(new) and _number(was):
            a, b = np.asarray(new), np.asarray(was)
            if a.shape != b.shape or (a.ndim and a.dtype.kind in "iu" and not np.array_equal(a, b)):
                self.same = False
                return
            self._found[where].append((a.astype(float), b.astype(float)))
        elif isinstance(new, (Check, Cost)):
            self.same &= type(new) is type(was)
        elif isinstance(new, Value) and type(new) is type(was):
            for name in type(new).model_fields:
                self.add(getattr(new, name), getattr(was, name), f"{where}.{name}")
        elif isinstance(new, dict) and isinstance(was, dict) and new.keys() == was.keys():
            for name in new:
                self.add(new[name], was[name], f"{where}.{name}")
        elif isinstance(new, (list, tuple)) and isinstance(was, (list, tuple)) and len(new) == len(was):
            for a, b in zip(new, was):
                self.add(a, b, where)
        elif isinstance(new, str) and isinstance(was, str):
            self.same &= _words(new, was)
        elif isinstance(new, np.ndarray) and isinstance(was, np.ndarray):
            self.same &= bool(np.array_equal(new, was))
        else:
            self.same &= type(new) is type(was) and bool(new == was)

    @property
    def gap(self) -> float:
        """The largest difference of numbers, relative to the largest of their kind; NaN where only one of two is a number."""
        worst = 0.0
        for pairs in self._found.values():
            a = np.concatenate([np.ravel(x) for x, _ in pairs])
            b = np.concatenate([np.ravel(x) for _, x in pairs])
            differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
            if differ.any():
                finite = np.abs(b[np.isfinite(b)])
                most = max(float(finite.max(initial=0.0)), TINY)
                worst = float(np.maximum(worst, np.abs(a[differ] - b[differ]).max() / most))
        return worst


def _number(x: Any) -> bool:
    return x is not None and not isinstance(x, (str, bool)) and np.asarray(x).dtype.kind in "fiu"


def _words(new: str, was: str) -> bool:
    """Whether two texts differ in the last digit of decimal fractions at most."""
    if new == was:
        return True
    a, b = _NUMBER.split(new), _NUMBER.split(was)
    return len(a) == len(b) and all(
        x == y or (i % 2 == 1 and _near(x, y)) for i, (x, y) in enumerate(zip(a, b))
    )


def _near(x: str, y: str) -> bool:
    digits = {len(v.partition("e")[0].partition(".")[2]) for v in (x, y)}
    powers = {v.partition("e")[2] for v in (x, y)}
    if len(digits) > 1 or len(powers) > 1 or not (step := digits.pop()):
        return False
    p, q = (float(v.partition("e")[0].replace(",", "")) for v in (x, y))
    return abs(p - q) < 1.5 * 10.0**-step
