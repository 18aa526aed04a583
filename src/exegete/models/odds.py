"""Log-odds of the target, whatever scale the question is asked on.

The target has a probability p: of the class or token, or of all tokens of a continuation together. Its log-odds are
log p - log(1 - p); in a contrast they are log p - log p(foil). A question becomes one question a side, on the
log-probability scale, sharing the meter, so that nothing underflows and every input is still asked once.

Cost: the passes of the questions. Shapes: log-probabilities [.., R].
"""

from dataclasses import replace

import numpy as np

from exegete.core.errors import TargetError
from exegete.models.question import Branch, Question


def sides(q: Question) -> tuple[Question, ...]:
    """The target's log-probability question and, in a contrast, that of the foil. Raises `TargetError` for an entropy."""
    if q.scale == "entropy":
        raise TargetError(
            "You asked to explain log-odds of an entropy.",
            "This method explains how probable the target is, and an entropy has no target.",
            "Choose another scale, or a method such as occlusion.",
        )
    first = q.branches[0]
    if len(q.branches) > 1:
        return tuple(_side(q, Branch(b.rows, b.tail)) for b in q.branches)
    rows = first.rows
    this = _side(q, Branch(tuple(replace(r, foil=None) for r in rows)))
    if rows[0].foil is None:
        return (this,)
    return this, _side(q, Branch(tuple(replace(r, id=r.foil or 0, foil=None) for r in rows)))


def log_odds(this: np.ndarray, that: np.ndarray | None = None) -> np.ndarray:
    """log p - log(1 - p) from log-probabilities, or log p - log p(foil); finite also where p rounds to 1."""
    if that is not None:
        return this - that
    return this - np.log(np.maximum(-np.expm1(np.minimum(this, 0.0)), 1e-12))


def _side(q: Question, branch: Branch) -> Question:
    return replace(q, branches=(branch,), scale="logprob", against="", _memo={}, _answers={})
