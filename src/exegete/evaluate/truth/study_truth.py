"""`StudyTruth`: something planted for a study of how a model works, and the row in which its finding is held against it.

A file `<room>_truths.py` of this folder holds `TRUTHS` (by method id) and `NO_TRUTH` (by method id, the reason why nothing could
be right or wrong); `study_truths` finds both by itself.

Row: the value of each draw (of texts, pairs, facts, or of models), their mean, what a guess scores, and the control: the same
study where what was planted is not there, or not used. Draws that fail count as failed. Draws are few and often all right: the
interval is the wider of what differs between draws and of what so few answers leave open (`ops.stats.bounded_mean`). A control
that asks the same of the same draw is held against it draw by draw (`paired`), others by their mean.
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
from exegete.ops.stats import bounded_mean, few_mean

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

    `value` is between 0 and 1, and the mean of `trials` answers that could each be right or wrong. `items` is how many texts, pairs
    or facts the study was asked about; `parts` are values by kind.
    """

    value: float
    control: float = float("nan")
    cost: Cost = field(default_factory=Cost)
    items: int = 1
    chance: float = float("nan")
    parts: tuple[tuple[str, float], ...] = ()
    trials: int = 1


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
    method: Method, truth: str, measure: str, draws: Sequence[Draw], chance: float | None = None, control_name: str = "",
    over_chance: tuple[float, float] | None = None, over_control: tuple[float, float] | None = None, paired: bool = False,
) -> TruthRow:  # fmt: skip
    """One row over draws. `chance` left out: the mean of what the draws say. Raises `ModelError` where every draw failed.

    `over_chance` and `over_control` are 95 % intervals of the value less what random orders get, where these decide (`ranked`).
    `paired`: the control of a draw is as easy or hard as the draw is, so that Student's interval of the differences decides.
    """
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
        interval=bounded_mean(values, np.array([d.trials for d in good])),
        over_chance=over_chance, over_control=_lead(good) if paired else over_control,
        n=len(good), n_failed=len(draws) - len(good),
        skipped="" if controls else "nothing is planted that it could be asked about instead",
    )  # fmt: skip
    passes = (cost.forwards + cost.backwards) / sum(d.items for d in good)
    return TruthRow(
        method=method.id, family=method.family, truth=truth, score=score, by_part=_parts(good),
        passes=passes or float("nan"),  # readings that were kept cost nothing
    )  # fmt: skip


def _lead(draws: Sequence[Draw]) -> tuple[float, float] | None:
    """95 % interval of the values less the controls of their draws; None where it has no width, which few draws cannot have."""
    gaps = np.array([d.value - d.control for d in draws if np.isfinite(d.control)])
    return few_mean(gaps) if len(gaps) and np.ptp(gaps) > 1e-9 else None


def _parts(draws: Sequence[Draw]) -> tuple[tuple[str, float], ...]:
    """The mean by kind over draws."""
    names = dict.fromkeys(name for d in draws for name, _ in d.parts)
    return tuple(
        (name, float(np.mean([x for d in draws for n, x in d.parts if n == name]))) for name in names
    )
