"""One explanation with its trust line: the question is asked once, explained, judged, and returned as one frozen result.

Texts of a set share passes (`models.pool`) where the method places no hooks of its own on the model.
Cost: what the method costs, and what `judge` costs (see there); inputs that both need are run once.
"""

from collections.abc import Iterator, Sequence

from exegete.core.errors import UnknownName, UsageError
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


def explained_all(
    model: Model,
    texts: Sequence[Text],
    method: Method,
    target: Target,
    *,
    unit: str = "word",
    prefix: bool = False,
    trust: TrustLevel = "full",
    seed: int = 0,
) -> Iterator[Attribution]:
    """`explained` for every text, in order; values are those of explaining each alone."""
    randomiser = Randomiser(seed)

    def one(text: Text) -> Attribution:
        return explained(
            model,
            text,
            method,
            target,
            unit=unit,
            prefix=prefix,
            trust=trust,
            seed=seed,
            randomiser=randomiser,
        )

    if len(texts) == 1 or attribution_method(method).hooks:
        return map(one, texts)
    return Pool(model).map(one, texts)
