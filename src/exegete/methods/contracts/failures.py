"""Items of a divided study that could not be worked on: their letters as data, and their number in every score.

An item that is unfit among many is counted, not fatal; where all are, the first letter is raised as it was. Cost: none.
"""

from collections.abc import Sequence
from typing import TypeVar

from exegete.core.errors import (
    ExegeteError,
    InputError,
    ModelError,
    SiteError,
    TargetError,
    UnsupportedModel,
    UsageError,
)
from exegete.core.results.finding import Finding
from exegete.core.value import Value

F = TypeVar("F", bound=Finding)
_KINDS = {
    c.__name__: c for c in (InputError, TargetError, UsageError, ModelError, SiteError, UnsupportedModel)
}


class Unfit(Value):
    """A letter as data: its kind and its three sentences."""

    kind: str
    asked: str
    found: str
    do: str

    @classmethod
    def of(cls, letter: ExegeteError) -> "Unfit":
        """The letter, to be kept."""
        return cls(kind=type(letter).__name__, asked=letter.asked, found=letter.found, do=letter.do)

    @property
    def letter(self) -> ExegeteError:
        """The letter, to be raised; an `InputError` where its kind is no plain one."""
        return _KINDS.get(self.kind, InputError)(self.asked, self.found, self.do)


def fit(unfit: Sequence[Unfit | None]) -> list[int]:
    """Places of the items that could be worked on. Raises the first letter where there is none."""
    found = [i for i, u in enumerate(unfit) if u is None]
    letters = [u for u in unfit if u is not None]
    if not found and letters:
        raise letters[0].letter
    return found


def with_failed(finding: F, n: int) -> F:
    """The finding with `n` more failed items in each of its scores."""
    scores = tuple(s.model_copy(update={"n_failed": s.n_failed + n}) for s in finding.trust.scores)
    return finding.model_copy(update={"trust": finding.trust.model_copy(update={"scores": scores})})
