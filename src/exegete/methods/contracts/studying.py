"""The job of a study: each item is a row.

A study that can be divided (`contracts.study.Divided`) works on its items shard by shard, and the parts are merged to its finding. Any
other runs whole: workers only look whether the rows are items, and the study is made when the rows are merged, in one piece. The plan
says which of both it is. An item that fails is a failed row; the finding counts it.

Cost: the study's own; every worker's share of passes is in its rows, the finding's cost is their sum.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeGuard

from pydantic import Field

from exegete.core.errors import ExegeteError, InputError, ModelError, UsageError
from exegete.core.job import Job, Output, Row, Worker, out_of_memory
from exegete.core.method import method_of
from exegete.core.results.finding import Finding
from exegete.core.target import Target
from exegete.core.trust import Check, Cost
from exegete.core.value import Value
from exegete.methods.contracts.study import Divided, Study
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.randomise import Randomiser
from exegete.models.reference import load_ref
from exegete.models.worker import ModelWorker

COSTS = ("forwards", "backwards", "tokens", "asked", "distinct")


def divided(study: Study) -> TypeGuard[Divided]:
    """Whether its items can be worked on apart."""
    return isinstance(study, Divided) and not study.whole


class Studying(Job):
    """Make one study of all rows."""

    kind: ClassVar[str] = "studying"

    method: str = Field(description="id of a study")
    params: dict[str, Any] = {}
    target: Target = Target()
    left_out: tuple[str, ...] = Field((), description="what of the input is no row, and why")

    @property
    def study(self) -> Study:
        """The study."""
        found = method_of(self.method, self.params)
        if not isinstance(found, Study):
            raise UsageError(
                f"You asked for a study by {self.method!r}.",
                "That method explains the words of a text.",
                "Run it as an attribution: `exegete run` knows which it is.",
            )
        return found

    @property
    def shard(self) -> tuple[int, int]:
        """Few items, for each is dear: two dozen pairs are work for more than one. Where a shard is reduced to one part, many."""
        study = self.study
        return (16_384, 512) if isinstance(study, Divided) and study.reduces else (self.shard_tokens, 16)

    @property
    def whole(self) -> str:
        """Why it runs in one piece."""
        study = self.study
        why = study.whole if isinstance(study, Divided) else "it looks at all its items at once"
        return f"{self.method}: {why}" if why else ""

    @property
    def words(self) -> str:
        """What it does."""
        return f"studying with {self.method}"

    @property
    def part(self) -> type[Value] | None:
        """The type of what is kept of a row."""
        study = self.study
        return study.part if divided(study) else None

    def open(self, model: Any = None) -> Worker:
        """A worker on the study's items."""
        return Student(model or load_ref(self.model), self.study, self.target)

    def merge(self, outputs: Iterable[tuple[Row, Output]], worker: Callable[[], Any]) -> Finding:
        """The finding of all items, in the order of the rows."""
        student: Student = worker()
        model, study = student.model, student.study
        found = sorted(((p.n, p.data, o) for p, o in outputs), key=lambda f: f[0])
        items = study.counted(tuple(study.item_of(dict(data)) for _, data, o in found if o.error is None))
        failed = [str(o.error) for *_, o in found if o.error is not None]
        if not divided(study):
            finding = study(model, items, self.target)
        else:
            parts = [o.value for *_, o in found if o.error is None and o.value is not None]
            lab = Lab(model, seed=int(getattr(study, "seed", 0)))
            finding, untouched = study.watched(
                model, lambda: study.merge(lab, items, parts, self.target, len(failed))
            )
            spent = {c: int(sum(o.flat.get(c) or 0 for *_, o in found)) for c in COSTS}
            finding = study.signed(finding, model, untouched, lab.meter.cost() + Cost(**spent))
        if self.left_out:
            finding = finding.model_copy(update={"notes": (*finding.notes, *self.left_out)})
        if failed:
            words = f"rows that failed, the first so: {failed[0]:.200}"
            one = Check.at_most("rows that failed", len(failed), 0, words)
            finding = finding.model_copy(update={"checks": (*finding.checks, one)})
        return finding


class Student(ModelWorker):
    """Works on the items of a study."""

    def __init__(self, model: Model, study: Study, target: Target) -> None:
        study.check(model)
        super().__init__(model)
        self.study, self.target = study, target
        self.randomiser = Randomiser(int(getattr(study, "seed", 0)))

    def work(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Output]:
        """What is kept of each item; where a stretch fails, each by itself."""
        items: dict[int, Any] = {}
        found: dict[int, Output] = {}
        for i, row in enumerate(rows):
            try:
                items[i] = self.study.item_of(dict(row))
            except (
                ExegeteError,
                KeyError,
                TypeError,
                ValueError,
            ) as e:  # no item of the study: one that failed
                found[i] = Output(error=e)
        found |= dict(zip(items, self._worked(tuple(items.values()))))
        return [found[i] for i in range(len(rows))]

    def _worked(self, items: tuple[Any, ...]) -> list[Output]:
        study = self.study
        if not divided(study) or not items:
            return [Output({}) for _ in items]
        lab = Lab(self.model, seed=self.randomiser.seed, randomiser=self.randomiser)
        try:
            parts, untouched = study.watched(self.model, lambda: study.work(lab, items, self.target))
        except Exception as e:
            if out_of_memory(e):
                raise
            if len(items) == 1:
                return [Output(error=e)]
            return [o for item in items for o in self._worked((item,))]
        if not untouched.passed:
            raise ModelError(
                f"The study {study.id!r} was made of some items.",
                "The model was not left as it was found.",
                "This is a defect of that method; please report it.",
            )
        if len(parts) != (1 if study.reduces else len(items)):
            raise InputError(
                f"The study {study.id!r} was made of {len(items)} items.",
                f"It kept {len(parts)} parts.",
                "This is a defect of that method; please report it.",
            )
        cost = lab.meter.cost()
        share = {c: getattr(cost, c) / len(items) for c in COSTS}
        kept = [*parts, *[None] * (len(items) - len(parts))]
        return [Output(p, share | _unfit(p), tokens=round(share["tokens"])) for p in kept]


def _unfit(part: Any) -> dict[str, str]:
    """Why an item could not be worked on, where its part says so: no failed row, for the finding counts it itself."""
    if not hasattr(part, "unfit"):
        return {}
    return {"unfit": f"{part.unfit.found} {part.unfit.do}" if part.unfit else ""}
