"""The job of judging: one text by every method and every metric is a row, and its sheet of scores what is kept.

    Judge     the worker: a case and its sheet a text (`evaluate.cases`, `evaluate.judged_text`)
    Judging   the job as plain data: methods, metrics, target, units, trust, seed; merged to the table of the suite

A text on which one method fails keeps the others' scores and says so; one that no method could explain is a failed row.
Cost: see `evaluate.suite`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.job import Job, ModelRef, Output, Row, Worker, out_of_memory
from exegete.core.method import Method, method_of
from exegete.core.rationale import Rationale
from exegete.core.registry import METRICS
from exegete.core.request import Text
from exegete.core.result import MetricTable
from exegete.core.target import Target
from exegete.core.trust import Cost
from exegete.evaluate.cases import Case, Plan, Progress, Quiet, case_of, plan, whole, words
from exegete.evaluate.contract import ExplanationMetric, judge_of
from exegete.evaluate.given_scores import GivenScores
from exegete.evaluate.judged_text import Bench, sheet_of
from exegete.evaluate.removals import removing
from exegete.evaluate.sheet import Sheet
from exegete.evaluate.suite_table import table_of
from exegete.models.randomise import Randomiser
from exegete.models.reference import found_at, load_ref
from exegete.models.worker import ModelWorker


class Judge(ModelWorker):
    """Judges rows `{"n": place, "text": Text | Rationale | what people write}`. `full`: with the randomised-weights
    control; `by`: notes on how metrics remove units.
    """

    def __init__(
        self, what: Plan, metrics: Sequence[ExplanationMetric], full: bool, n_random: int, by: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        super().__init__(what.model)
        self.what, self.metrics, self.n_random, self.by = what, metrics, n_random, tuple(by)
        self.randomiser = Randomiser(what.seed) if full else None
        self.progress = Quiet() if progress is None else progress

    def work(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Output]:
        """A sheet a text; where no method could explain it, with the first error."""
        return [self._safe(row) for row in rows]

    def sheet(self, output: Output, name: str) -> Sheet:
        """The sheet of an output; of a text that no method could explain one without scores, with the reason."""
        if output.value is not None:
            return output.value
        nothing = (None,) * len(self.what.methods)
        where = str(output.flat.get("text") or name)
        case = Case(where, nothing, failures=(f"{where}: {words(output.error)}",))
        return Sheet.of(case, [[None] * len(self.metrics)] * (len(nothing) + 2), (), Cost())

    def _safe(self, row: Mapping[str, Any]) -> Output:
        try:
            return self._one(row)
        except Exception as e:  # no text, or one that a control or metric does not bear: a row that failed
            if out_of_memory(e):
                raise
            return Output(error=e)

    def _one(self, row: Mapping[str, Any]) -> Output:
        case = whole(case_of(self.what, _text(row), int(row["n"]), self.progress))
        sheet = sheet_of(Bench(self.what, case, self.randomiser, self.n_random), self.metrics)
        nothing = all(c is None for c in sheet.costs)
        tokens = 0 if case.question is None else len(case.question.ids)
        return Output(
            sheet,
            {"text": case.where},
            tokens=tokens,
            error=case.errors[0] if nothing and case.errors else None,
        )


class Judging(Job):
    """Judge methods by metrics on every row."""

    kind: ClassVar[str] = "judging"
    shard_rows: ClassVar[int] = 4

    methods: tuple[dict[str, Any], ...] = Field(description="methods: id and parameters")
    metrics: tuple[dict[str, Any], ...] = Field(description="metrics: id and parameters")
    target: Target = Target()
    unit: str = "word"
    prefix: bool = False
    trust: str = "full"
    n_random: int = 20
    removal: str | None = None
    infiller: str | None = None
    told: bool = Field(False, description="whether people marked the texts")

    @classmethod
    def of(
        cls, what: Plan, metrics: Sequence[Method], trust: str, n_random: int, removal: str | None, infiller: str | None,
        told: bool, model: ModelRef | None = None,
    ) -> "Judging":  # fmt: skip
        """The job that a suite's plan describes."""
        ref = model or found_at(ModelRef(
            source=what.model.name, task=what.model.task, dtype=str(what.model.dtype).removeprefix("torch."),
            revision=what.model.revision or None,
        ))  # fmt: skip
        return cls(
            model=ref, seed=what.seed, methods=tuple(_told(m) for m in what.methods),
            metrics=tuple(_told(m) for m in metrics), target=what.target, unit=what.unit, prefix=what.prefix,
            trust=trust, n_random=n_random, removal=removal, infiller=infiller, told=told,
        )  # fmt: skip

    @property
    def part(self) -> type[Sheet]:
        """A row's sheet."""
        return Sheet

    @property
    def words(self) -> str:
        """What it does."""
        return f"judging {len(self.methods)} methods"

    def open(self, model: Any = None) -> Worker:
        """A worker with the methods and metrics of the plan."""
        methods = [_method(m) for m in self.methods]
        what = plan(model or load_ref(self.model), methods, self.target, self.unit, self.prefix, self.seed)
        asked = [judge_of(METRICS.get(m["id"])(**m["params"])) for m in self.metrics]
        metrics, by = removing(what.model, asked, self.removal, self.infiller)
        return Judge(what, metrics, self.trust == "full", self.n_random, by)

    def merge(self, outputs: Iterable[tuple[Row, Output]], worker: Callable[[], Any]) -> MetricTable:
        """The table of the suite."""
        judge: Judge = worker()
        found = sorted(((place.n, place.id, output) for place, output in outputs), key=lambda f: f[0])
        sheets = [judge.sheet(o, f"text {name}") for _, name, o in found]
        return table_of(judge.what, sheets, judge.metrics, self.told, judge.by)


def row_of(text: Any, n: int) -> dict[str, Any]:
    """A text, or a rationale, as a row of plain data."""
    key = "rationale" if isinstance(text, Rationale) else "request"
    value = text if isinstance(text, Rationale) else Text.of(text)
    return {"n": n, key: value.model_dump(mode="json", exclude_defaults=True)}


def _text(row: Mapping[str, Any]) -> Any:
    if "rationale" in row:
        return Rationale(**row["rationale"])
    if "request" in row:
        return Text(**row["request"])
    return row["text"]


def _told(thing: Method) -> dict[str, Any]:
    return {"id": thing.id, "params": thing.params()}


def _method(told: Mapping[str, Any]) -> Method:
    """A method from plain data; scores from a file are read again, and must be what they were."""
    if told["id"] != GivenScores.id:
        return method_of(told["id"], dict(told["params"]))
    params = told["params"]
    for found in GivenScores.read(params["path"]):
        if found.name == params["name"] and found.digest == params["digest"]:
            return found
    raise InputError(
        f"A worker was to judge the scores of {params['name']!r} in {params['path']!r}.",
        "They are no longer what they were when the run began.",
        "Put the file back, or begin in another folder.",
    )
