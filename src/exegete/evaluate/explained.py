"""One explanation with its trust line, and many: the worker that explains rows, wherever it runs.

The question is asked once, explained, judged, and returned as one frozen result. Texts of a set share passes (`models.pool`) where the
method places no hooks of its own on the model; a text that fails does not keep the others.
Cost: what the method costs, and what `judge` costs (see there); inputs that both need are run once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exegete.core.errors import UnknownName, UsageError
from exegete.core.job import Output, out_of_memory
from exegete.core.method import Method
from exegete.core.request import Text
from exegete.core.result import Attribution
from exegete.core.target import Target
from exegete.evaluate.trust import LEVELS, TrustLevel, judge
from exegete.methods.contracts.attribution import AttributionMethod, explain
from exegete.models.ask import ask
from exegete.models.model import Model
from exegete.models.pool import Pool
from exegete.models.randomise import Randomiser
from exegete.models.worker import ModelWorker
from exegete.run.here import worked_here


def attribution_method(method: Method) -> AttributionMethod:
    """The method, which must be one that attributes. Raises `UsageError` for a method of another kind."""
    if not isinstance(method, AttributionMethod):
        raise UsageError(
            f"You asked to explain a text with {method.id!r}.",
            "It does not score the units of a text.",
            "`exegete list methods` shows those that do.",
        )
    return method


def explained(
    model: Model,
    text: Text,
    method: Method,
    target: Target,
    *,
    unit: str = "word",
    prefix: bool = False,
    trust: TrustLevel = "full",
    seed: int = 0,
    randomiser: Randomiser | None = None,
) -> Attribution:
    """The attribution of `target` on `text`, judged at level `trust`. `randomiser` is shared by the texts of a set."""
    if trust not in LEVELS:
        raise UnknownName("trust level", trust, LEVELS)
    how = attribution_method(method)
    how.check(model)
    question = ask(model, text, target)
    found = explain(how, question, unit, prefix)
    line = judge(question, found, how, trust, seed=seed, randomiser=randomiser or Randomiser(seed))
    return found.model_copy(update={"trust": line})


@dataclass(frozen=True)
class Asked:
    """What is asked of every text: how it is explained, and how that is judged."""

    method: AttributionMethod
    target: Target
    unit: str = "word"
    prefix: bool = False
    trust: TrustLevel = "full"
    seed: int = 0


class Explainer(ModelWorker):
    """Explains rows `{"request": Text, "target"?: Target}` with one model."""

    def __init__(self, model: Model, asked: Asked) -> None:
        asked.method.check(model)
        super().__init__(model)
        self.asked = asked
        self.randomiser = Randomiser(asked.seed)

    def work(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Output]:
        """An attribution a row, or its error."""
        one: Callable[[Mapping[str, Any]], Output] = self._one
        if len(rows) == 1 or self.asked.method.hooks:
            return [one(row) for row in rows]
        return list(Pool(self.model).map(one, rows))

    def _one(self, row: Mapping[str, Any]) -> Output:
        a = self.asked
        try:
            found = explained(
                self.model, row["request"], a.method, row.get("target") or a.target,
                unit=a.unit, prefix=a.prefix, trust=a.trust, seed=a.seed, randomiser=self.randomiser,
            )  # fmt: skip
        except Exception as e:
            if out_of_memory(e):
                raise
            return Output(error=e)
        return Output(found, tokens=len({t for u in found.units for t in u.tokens}))


def explained_all(model: Model, texts: Sequence[Text], asked: Asked) -> Iterator[Attribution]:
    """An attribution for every text, in order; values are those of explaining each alone. The first failure is raised."""
    if asked.trust not in LEVELS:
        raise UnknownName("trust level", asked.trust, LEVELS)
    for output in worked_here(Explainer(model, asked), [{"request": text} for text in texts]):
        if output.error is not None:
            raise output.error
        yield output.value
