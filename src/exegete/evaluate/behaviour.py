"""Behavioural tests of a classifier from a file: contrast sets or tests of capabilities, whichever it holds.

`contrast:FILE` reads counterfactually revised pairs as contrast sets, which are rationales otherwise. Cost: one forward a text.
"""

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from pydantic import Field

from exegete.core.behaviour import BehaviourTest, ContrastSet
from exegete.core.method import Method
from exegete.core.read_behaviour import is_behaviour, read_behaviour
from exegete.core.reference import Reference
from exegete.core.results.finding import Finding
from exegete.core.seed import generator
from exegete.evaluate.capabilities import failure_rates
from exegete.evaluate.cases import Progress
from exegete.evaluate.contrast import contrast_consistency
from exegete.methods.contracts.attribution import provenance
from exegete.models.model import Model

ASKED = "contrast:"
T = TypeVar("T")


class Behaviour(Method):
    """What a behavioural test was made with."""

    id: ClassVar[str] = "behaviour"
    reference: ClassVar[Reference] = Reference(
        authors="Gardner et al.; Ribeiro et al.", year=2020, where="arXiv:2004.02709, arXiv:2005.04118",
        title="Evaluating Models' Local Decision Boundaries via Contrast Sets; Beyond Accuracy: Behavioral Testing of NLP models",
    )  # fmt: skip

    path: str = Field(description="the file of tests")
    n: int | None = Field(None, ge=1, description="contrast sets, or cases of a test, that are drawn")
    seed: int = Field(0, ge=0, description="seed of what is drawn, of the shuffles and of the intervals")


def has_tests(task: str) -> bool:
    """Whether a task is one of behavioural tests."""
    return task.startswith(ASKED) or is_behaviour(task)


def behaviour(
    model: Model, task: str, n: int | None = None, seed: int = 0, progress: Progress | None = None
) -> Finding:
    """The finding about the tests of a file; `n` sets (or cases of each test) are drawn where there are more.

    Raises `InputError` naming the line that does not fit, `ModelError` for a model that is no classifier.
    """
    path = task.removeprefix(ASKED)
    items, skipped = read_behaviour(path)
    sets = [i for i in items if isinstance(i, ContrastSet)]
    if sets:
        found: Finding = contrast_consistency(model, _drawn(sets, n, seed), seed, progress)
    else:
        tests = [i for i in items if isinstance(i, BehaviourTest)]
        drawn = [t.model_copy(update={"cases": tuple(_drawn(t.cases, n, seed))}) for t in tests]
        found = failure_rates(model, drawn, seed, progress)
    left = (f"{len(skipped)} sets were left out ({skipped[0]}).",) if skipped else ()
    made = provenance(Behaviour(path=path, n=n, seed=seed), model)
    return found.model_copy(update={"provenance": made, "notes": (*found.notes, *left)})


def _drawn(items: Sequence[T], n: int | None, seed: int) -> list[T]:
    if n is None or n >= len(items):
        return list(items)
    return [items[i] for i in sorted(generator(seed, "task").choice(len(items), n, replace=False))]
