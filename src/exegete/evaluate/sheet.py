"""The scores of one text: what a suite makes of one text at a time, and all it keeps of it.

A sheet is small and plain, so that a suite over many texts holds no explanation longer than it needs, and a run that was cut
short goes on from the sheets that were written (`evaluate.folder`).
"""

from collections.abc import Sequence

import numpy as np

from exegete.core.trust import Check, Cost, Score
from exegete.core.value import Value
from exegete.evaluate.annotators import Marking
from exegete.evaluate.cases import Case, worst


class Sheet(Value):
    """One text: `scores` a row a method, then the rationale and a random one, and a column a metric; None where one failed.

    `told` says of which changed texts a stability metric could not speak, `marking` what people marked.
    `checks` and `costs` are those of each method's explanation (None where there is none), `cost` what asking and judging took.
    """

    scores: tuple[tuple[Score | None, ...], ...]
    checks: tuple[tuple[Check, ...] | None, ...]
    costs: tuple[Cost | None, ...]
    cost: Cost
    failures: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    marking: Marking = Marking()

    @classmethod
    def of(
        cls,
        case: Case,
        scores: Sequence[Sequence[Score | None]],
        failures: Sequence[str],
        spent: Cost,
        told: Sequence[str] = (),
        marking: Marking | None = None,
    ) -> "Sheet":
        """What is kept of a case: `failures` and `spent` of judging come on top of its own."""
        made = case.attributions
        explaining = sum((a.cost for a in made if a is not None), Cost())
        return cls(
            scores=tuple(map(tuple, scores)),
            checks=tuple(None if a is None else worst([a]) for a in made),
            costs=tuple(None if a is None else a.cost for a in made),
            cost=case.cost - explaining + spent,
            failures=(*case.failures, *failures),
            told=tuple(told),
            marking=marking or Marking(),
        )

    @property
    def spent(self) -> Cost:
        """Explanations and all that stands beside them."""
        return sum((c for c in self.costs if c is not None), self.cost)


def values_of(sheets: Sequence[Sheet]) -> np.ndarray:
    """What every text scored [row, metric, text]; NaN where nothing was scored."""
    nan = float("nan")
    found = [[[nan if s is None else s.value for s in row] for row in sheet.scores] for sheet in sheets]
    return np.array(found, dtype=np.float64).transpose(1, 2, 0)
