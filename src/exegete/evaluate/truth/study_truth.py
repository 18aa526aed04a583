"""`StudyTruth`: something planted for a study of how a model works, and the row in which its finding is held against it.

A file `<room>_truths.py` of this folder holds `TRUTHS` (by method id) and `NO_TRUTH` (by method id, the reason why nothing could
be right or wrong); `study_truths` finds both by itself.

Row: the value of each draw (of texts, pairs, facts, or of models), their mean with a bootstrap interval over draws, what a
guess scores, and the control: the same study where what was planted is not there, or not used. Draws that fail count as failed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from exegete.core.errors import ModelError
from exegete.core.method import Method
from exegete.core.results.finding import Finding
from exegete.core.results.truth import TruthRow
from exegete.core.trust import Cost, Score
from exegete.methods.contracts.study import Study
from exegete.models.model import Model
from exegete.ops.stats import bootstrap_mean

F = TypeVar("F", bound=Finding)


@dataclass(frozen=True)
class StudyTruth:
    """Something planted for a study: `ask` takes a seed and gives its rows. `says` tells in words what is planted."""

    name: str
    says: str
    ask: Callable[[int], tuple[TruthRow, ...]]


@dataclass(frozen=True)
class Draw:
    """One draw: how well what was planted was found, how well where it is not (NaN where not asked), and what it cost.

    `items` is how many texts, pairs or facts the study was asked about; `parts` are values by kind.
    """

    value: float
    control: float = float("nan")
    cost: Cost = field(default_factory=Cost)
    items: int = 1
    chance: float = float("nan")
    parts: tuple[tuple[str, float], ...] = ()


def told(kind: type[F], study: Study, model: Model, items: Any = None, target: Any = None) -> F:
    """The finding of a study, of the kind that it finds. Raises `ModelError` where it is of another kind."""
    found = study(model, items, target)
    if not isinstance(found, kind):
        raise ModelError(
            f"You held {study.id!r} against what is planted.",
            f"It found a {type(found).__name__}, not a {kind.__name__}.",
            "Mend the truth of this study: it reads another kind of finding.",
        )
    return found


def truth_row(
    method: Method, truth: str, measure: str, draws: Sequence[Draw], seed: int, chance: float | None = None, control_name: str = ""
) -> TruthRow:  # fmt: skip
    """One row over draws. `chance` left out: the mean of what the draws say. Raises `ModelError` where every draw failed."""
    good = [d for d in draws if np.isfinite(d.value)]
    if not good:
        raise ModelError(
            f"You held {method.id!r} against {truth!r}.",
            f"None of its {len(draws)} answers is a number.",
            "Run the study alone on the planted model: it says why.",
        )
    values = np.array([d.value for d in good])
    controls = [d.control for d in good if np.isfinite(d.control)]
    guess = float(np.mean([d.chance for d in good])) if chance is None else chance
    cost = sum((d.cost for d in good), Cost())
    score = Score(
        name=measure, value=float(values.mean()), chance=guess if np.isfinite(guess) else None,
        control=float(np.mean(controls)) if controls else None, control_name=control_name if controls else "",
        interval=bootstrap_mean(values, seed), n=len(good), n_failed=len(draws) - len(good),
        skipped="" if controls else "nothing is planted that it could be asked about instead",
    )  # fmt: skip
    passes = (cost.forwards + cost.backwards) / sum(d.items for d in good)
    return TruthRow(
        method=method.id, family=method.family, truth=truth, score=score, by_part=_parts(good),
        passes=passes or float("nan"),  # readings that were kept cost nothing
    )  # fmt: skip


def _parts(draws: Sequence[Draw]) -> tuple[tuple[str, float], ...]:
    """The mean by kind over draws."""
    names = dict.fromkeys(name for d in draws for name, _ in d.parts)
    return tuple(
        (name, float(np.mean([x for d in draws for n, x in d.parts if n == name]))) for name in names
    )
