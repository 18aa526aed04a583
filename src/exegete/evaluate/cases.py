"""Texts and methods on their way to being compared or scored: one `Case` a text, in which all methods meet.

1. methods are resolved and checked against the model before any work;
2. each text becomes one question, asked once; its methods share what it remembers, each with a meter of its own;
3. a text or a method that fails is recorded with its reason and the rest goes on.

Cost: what the methods cost, less the inputs they have in common.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from exegete.core.errors import ExegeteError, InputError, UsageError
from exegete.core.job import Output, Worker, out_of_memory
from exegete.core.method import Method, method_of
from exegete.core.rationale import Rationale
from exegete.core.request import Text
from exegete.core.result import Attribution, Provenance
from exegete.core.target import Target
from exegete.core.trust import Check, Cost
from exegete.evaluate.contract import judging
from exegete.methods.contracts.attribution import AttributionMethod, explain, provenance
from exegete.models.ask import ask
from exegete.models.forward import Meter
from exegete.models.model import Model, lighter
from exegete.models.question import Question
from exegete.run.here import worked_here

T = TypeVar("T")
NOTHING = Cost()
Texts = str | Text | Rationale | Sequence[Any]


@dataclass(frozen=True)
class Plan:
    """What is to be explained how: `methods` with their `names`, the target, the units, and the seed."""

    model: Model
    methods: tuple[AttributionMethod, ...]
    names: tuple[str, ...]
    target: Target
    unit: str = "word"
    prefix: bool = False
    seed: int = 0

    def provenance(self, verb: str) -> Provenance:
        """Where a result made by this plan comes from."""
        params = {
            "methods": [{"id": m.id} | m.params() for m in self.methods],
            "target": str(self.target),
            "unit": self.unit,
            "prefix": self.prefix,
        }
        made = provenance(self.methods[0], self.model)
        return made.model_copy(update={"method": verb, "params": params, "seed": self.seed})


@dataclass(frozen=True)
class Case:
    """One text: its question, the question that judges, an attribution a method (None where it failed), and why it failed.

    `where` names the text in words, `text` is it, `rationale` is what people marked in it. `spent` is what the questions cost that are closed by now.
    """

    where: str
    attributions: tuple[Attribution | None, ...]
    question: Question | None = None
    judged: Question | None = None
    text: Text | None = None
    rationale: Rationale | None = None
    failures: tuple[str, ...] = ()
    errors: tuple[Exception, ...] = field(default=(), repr=False)
    spent: Cost = NOTHING

    @property
    def usable(self) -> list[int]:
        """Methods whose scores are there and finite."""
        return [m for m, a in enumerate(self.attributions) if a is not None and np.isfinite(a.total).all()]

    @property
    def cost(self) -> Cost:
        """What asking, explaining and judging cost."""
        made = [a.cost for a in self.attributions if a is not None]
        open_now = [q.meter.cost() for q in (self.question, self.judged) if q is not None]
        return sum([*made, *open_now], self.spent)

    def closed(self) -> "Case":
        """The case without its questions and what they remember; the cost stays."""
        made = sum((a.cost for a in self.attributions if a is not None), Cost())
        return replace(self, question=None, judged=None, spent=self.cost - made)


def plan(
    model: Model,
    methods: "Sequence[str | Method] | str | Method",
    target: Target | str | int | None,
    unit: str,
    prefix: bool,
    seed: int,
) -> Plan:
    """A plan, refused before any work when a method is unknown, explains no text, or cannot work on this model."""
    given = [methods] if isinstance(methods, (str, Method)) else list(methods)
    if not given:
        raise UsageError(
            "You asked to judge methods.", "None was given.", "Name at least one: `exegete list methods`."
        )
    chosen = []
    for method in map(method_of, given):
        if not isinstance(method, AttributionMethod):
            raise UsageError(
                f"You asked to judge the method {method.id!r}.",
                "It does not score the units of a text.",
                "Choose an attribution method: `exegete list methods`.",
            )
        method.check(model)
        chosen.append(method)
    return Plan(model, tuple(chosen), labels(chosen), Target.of(target), unit, prefix, seed)


def labels(things: Sequence[Method]) -> tuple[str, ...]:
    """A name each: the id, with the parameters that differ from the defaults where an id comes twice."""
    ids = [t.row for t in things]
    names = [i if ids.count(i) == 1 else i + _set(t) for i, t in zip(ids, things)]
    return tuple(n if names.count(n) == 1 else f"{n} #{names[: i + 1].count(n)}" for i, n in enumerate(names))


def _set(thing: Method) -> str:
    default = {k: f.get_default(call_default_factory=True) for k, f in type(thing).model_fields.items()}
    changed = [f"{k}={getattr(thing, k)}" for k in default if getattr(thing, k) != default[k]]
    return f"({', '.join(changed)})" if changed else ""


def texts_of(texts: Texts) -> tuple[Any, ...]:
    """The texts of what people write: one text, one list of ids, one chat, or a sequence of texts."""
    items = [texts] if isinstance(texts, (str, Text, Rationale)) else list(texts)
    if items and (all(isinstance(i, int) for i in items) or all(isinstance(i, dict) for i in items)):
        items = [items]
    if not items:
        raise InputError(
            "You asked to judge explanations of texts.", "There is no text.", "Give at least one."
        )
    return tuple(items)


def cases(what: Plan, texts: Sequence[Any], progress: "Progress | None", doing: str) -> Iterator[Case]:
    """One case a text, made when it is asked for; `progress` advances by one for each method and text."""
    progress = Quiet() if progress is None else progress
    progress.start(len(texts) * len(what.methods), doing)
    try:
        rows = [{"n": n, "text": text} for n, text in enumerate(texts)]
        for output in worked_here(_Cases(what, progress), rows, stretch=1):
            if (
                output.error is not None
            ):  # one text that there is no memory for, however little is taken at a time
                raise output.error
            yield output.value
    finally:
        progress.stop()


class _Cases(Worker):
    """Makes a case of every row."""

    def __init__(self, what: Plan, progress: "Progress") -> None:
        self.what, self.progress = what, progress

    def work(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Output]:
        """A case a text."""
        return [Output(whole(case_of(self.what, r["text"], r["n"], self.progress))) for r in rows]

    def halve(self) -> bool:
        """Half as many tokens in a pass."""
        return lighter(self.what.model)


def whole(case: "Case") -> "Case":
    """The case, unless a method of it had too little memory: that is raised, and less is taken at a time."""
    short = next((e for e in case.errors if out_of_memory(e)), None)
    if short is not None:
        raise short
    return case


def case_of(what: Plan, text: Any, i: int, progress: "Progress") -> Case:
    """Text `i` of a set, by every method."""
    rationale = text if isinstance(text, Rationale) else None
    text = rationale.text if rationale else text
    where = f"text {i + 1} ({_short(text)})"
    question, error = attempt(lambda: ask(what.model, text, what.target))
    if question is None:
        progress.advance(len(what.methods))
        nothing = (None,) * len(what.methods)
        return Case(where, nothing, failures=(f"{where}: {words(error)}",), errors=(error,) if error else ())
    found, lost = [], {}
    for name, method in zip(what.names, what.methods):
        a, error = attempt(
            lambda m=method: explain(m, replace(question, meter=Meter()), what.unit, what.prefix)
        )
        found.append(a)
        if error is not None:
            lost[f"{name} on {where}: {words(error)}"] = error
        progress.advance()
    return Case(
        where,
        tuple(found),
        question,
        judging(question),
        Text.of(text),
        rationale,
        tuple(lost),
        tuple(lost.values()),
    )


def attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What `work` returns, or the error it failed with. The caller counts and lists it."""
    try:
        return work(), None
    except Exception as e:  # noqa: BLE001 (whatever a method or a plugin raises must not lose the others' results)
        return None, e


def words(error: Exception | None) -> str:
    """An error in one line."""
    if isinstance(error, ExegeteError):
        return " ".join(part for part in (error.found, error.do) if part) or str(error)
    return f"{type(error).__name__}: {error}".split("\n")[0][:300]


def why(error: Exception) -> str:
    """What was found wrong, without what to do about it, in one line of at most 200 characters where it is no letter."""
    if isinstance(error, ExegeteError) and error.found:
        return error.found
    return f"{type(error).__name__}: {error}".split("\n")[0][:200]


def refuse_if_all_failed(seen: Sequence[Case]) -> None:
    """When nothing at all could be explained, that is an error: the first one met."""
    if any(a is not None for case in seen for a in case.attributions):
        return
    raise next(e for case in seen for e in case.errors)


def worst(attributions: Sequence[Attribution | None]) -> tuple[Check, ...]:
    """One check a name over several explanations: the one that is furthest from its tolerance."""
    return worst_of([c for a in attributions if a is not None for c in a.checks])


def worst_of(checks: Sequence[Check]) -> tuple[Check, ...]:
    """One check a name: the one that is furthest from its tolerance; of several, it says how many failed."""
    found: dict[str, list[Check]] = {}
    for check in checks:
        found.setdefault(check.name, []).append(check)
    return tuple(_worst(same) for same in found.values())


def _worst(same: Sequence[Check]) -> Check:
    worst = min(same, key=lambda c: (c.passed, -c.value))
    failed = sum(not c.passed for c in same)
    if not failed or len(same) == 1:
        return worst
    return worst.model_copy(
        update={"words": f"failed in {failed} of {len(same)}, this is the worst; {worst.words}"}
    )


def _short(text: Any) -> str:
    shown = text if isinstance(text, str) else getattr(text, "text", None) or str(text)
    return repr(shown if len(shown) <= 40 else shown[:39] + "…")


@runtime_checkable
class Progress(Protocol):
    """What shows progress: told the total once, then each step."""

    def start(self, total: int, words: str) -> None:
        """Begin a piece of work of `total` steps."""
        ...

    def advance(self, n: int = 1) -> None:
        """`n` more steps are done."""
        ...

    def stop(self) -> None:
        """The work is over."""
        ...


class Quiet:
    """Progress that shows nothing."""

    def start(self, total: int, words: str) -> None:
        """Nothing."""

    def advance(self, n: int = 1) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""
