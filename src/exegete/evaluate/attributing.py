"""The job of explaining a data set: an attribution with its trust line for every row, and what they say together.

Rows are objects with a `text` (and a second text, `pair`); a column may name the target of each row. Of each row the whole
attribution is kept, and, for tables, its words, scores, prediction and every score of the trust line with chance and control.

Merged (`Attributions`): the trust line of the method over all rows, each row held against its own chance and control; and the words
that count most. A word's lead is its score less the mean score of its text's words, which is what scores dealt out at random in that
text would give it; the 95 % interval (Student) is corrected for the number of words looked at (Bonferroni).

Cost: `methods.contracts.attribution` and `evaluate.trust`, a row each. Memory: a shard; merging: the numbers of a row.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field
from scipy.stats import t as student

from exegete.core.errors import ExegeteError, InputError
from exegete.core.job import Job, Output, Row, Worker
from exegete.core.method import method_of
from exegete.core.request import Text
from exegete.core.result import Attribution, Provenance
from exegete.core.results.attributed import Attributions, WordLead
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.evaluate.explained import Asked, Explainer, attribution_method
from exegete.evaluate.trust import Better, Several, unscored
from exegete.models.model import Model
from exegete.models.reference import load_ref

LEAST = 5  # texts of a word before it is told of
MOST = 40  # words that are told


class Attributing(Job):
    """Explain every row with one method."""

    kind: ClassVar[str] = "attributing"
    flat: ClassVar[bool] = True

    method: str = Field(description="id of an attribution method")
    params: dict[str, Any] = {}
    target: Target = Target()
    target_column: str = Field("", description="the column that names each row's own target")
    unit: str = "word"
    prefix: bool = False
    trust: Literal["full", "fast", "none"] = "full"
    truncate: bool = Field(False, description="cut texts at the model's length limit")

    @property
    def words(self) -> str:
        """What it does."""
        return f"explaining with {self.method}"

    def open(self, model: Any = None) -> Worker:
        """A worker that explains rows of files."""
        return _Rows(model or load_ref(self.model), self)

    def merge(self, outputs: Iterable[tuple[Row, Output]], worker: Callable[[], Any]) -> Attributions:
        """The trust line over all rows, and the words that count most."""
        gathered = _Gathered(self.seed)
        for _, output in outputs:
            gathered.add(output)
        return gathered.told(self)


class _Rows(Explainer):
    """Makes rows of files into requests."""

    def __init__(self, model: Model, job: Attributing) -> None:
        method = attribution_method(method_of(job.method, job.params))
        super().__init__(model, Asked(method, job.target, job.unit, job.prefix, job.trust, job.seed))
        self.job = job

    def _one(self, row: Mapping[str, Any]) -> Output:
        try:
            request: dict[str, Any] = {"request": self._request(row)}
            if self.job.target_column:
                own = self._own(row)
                request["target"] = self.job.target.model_copy(update={"label": own})
        except (ExegeteError, KeyError, TypeError, ValueError) as e:  # no request: a row that failed
            return Output(error=e)
        found = super()._one(request)
        if found.error is not None:
            return found
        return Output(found.value, flat_of(found.value), tokens=found.tokens)

    def _own(self, row: Mapping[str, Any]) -> Any:
        """What a row says of its target: nothing (null) is what the model predicts."""
        column = self.job.target_column
        if column not in row:
            raise InputError(
                f"You asked for the target that each row names in {column!r}.",
                f"The row has no such column; its columns are {', '.join(row)}.",
                "Check --target-column.",
            )
        return row[column]

    def _request(self, row: Mapping[str, Any]) -> Text:
        if "request" in row:
            asked = Text(**row["request"])
            return asked.model_copy(update={"truncate": True}) if self.job.truncate else asked
        return Text(text=row["text"], pair=row.get("pair"), truncate=self.job.truncate)


def flat_of(a: Attribution) -> dict[str, Any]:
    """An attribution as columns of a table."""
    found: dict[str, Any] = {
        "text": a.text, "target": a.target, "against": a.against, "value": a.value, "base_value": a.base_value,
        "predicted": a.predicted, "units": [u.text for u in a.units], "scores": [float(x) for x in a.total],
        "checks_failed": sum(not c.passed for c in a.all_checks),
        "forwards": a.cost.forwards + a.trust.cost.forwards, "backwards": a.cost.backwards + a.trust.cost.backwards,
    }  # fmt: skip
    for s in a.trust.scores:
        found |= {
            s.name: float(s.value), f"{s.name}.chance": s.chance, f"{s.name}.control": s.control,
            f"{s.name}.percentile": s.percentile, f"{s.name}.skipped": s.skipped, f"{s.name}.better": s.better,
            f"{s.name}.control_name": s.control_name,
        }  # fmt: skip
    return found


class _Kept(NamedTuple):
    """What is kept of a score of a row; a tuple, for there are as many as rows."""

    value: Any
    chance: Any
    control: Any
    percentile: Any
    skipped: Any
    better: Any
    control_name: Any


_COLUMNS = ("", *(f".{name}" for name in _Kept._fields[1:]))  # what comes behind the score's name in a table


class _Gathered:
    """What is kept of every row while they pass."""

    def __init__(self, seed: int) -> None:
        self.seed, self.n, self.passes = seed, 0, [0, 0]
        self.failures: list[str] = []
        self.n_failed = self.unsound = 0
        self.predicted: Counter[str] = Counter()
        self.scores: dict[str, list[_Kept]] = defaultdict(list)
        self.leads: dict[tuple[str, str], array[float]] = defaultdict(
            lambda: array("d")
        )  # (target, word) -> one a text

    def add(self, output: Output) -> None:
        """One row."""
        if output.error is not None:
            self.n_failed += 1
            self.failures += [str(output.error)] if len(self.failures) < 5 else []
            return
        flat = output.flat
        self.n += 1
        self.passes = [self.passes[0] + flat["forwards"], self.passes[1] + flat["backwards"]]
        self.unsound += flat["checks_failed"] > 0
        self.predicted[flat["predicted"]] += 1
        for name in (c.removesuffix(".better") for c in flat if c.endswith(".better")):
            if flat[f"{name}.better"] is not None:
                self.scores[name].append(_Kept(*(flat.get(f"{name}{k}") for k in _COLUMNS)))
        scores: list[float] = flat["scores"]  # a dozen numbers a row: plain sums are quicker than arrays
        mean = sum(scores) / max(len(scores), 1)
        lead: dict[str, list[float]] = defaultdict(list)
        for word, value in zip(flat["units"], scores):
            lead[word.strip().lower()].append(value - mean)
        for word, values in lead.items():
            self.leads[flat["target"], word].append(sum(values) / len(values))

    def told(self, job: Attributing) -> Attributions:
        """The finding."""
        scores = tuple(self._score(name) for name in self.scores)
        few = Check.at_most("self-checks of every row", self.unsound, 0, "rows of which a self-check failed")
        leads = self._leads()
        return Attributions(
            lede=_lede(leads, self.n, self.n_failed),
            context=tuple(("failed", words) for words in self.failures),
            title=f"{job.method} over {self.n + self.n_failed:,} rows",
            method=job.method,
            model=job.model.source,
            n=self.n,
            n_failed=self.n_failed,
            predicted=dict(self.predicted.most_common(20)),
            leads=leads,
            failures=tuple(self.failures),
            forwards=self.passes[0],
            backwards=self.passes[1],
            checks=(few,),
            trust=Trust(scores=scores, seed=job.seed),
            provenance=Provenance(
                model=job.model.source, method=job.method, params=job.params, seed=job.seed
            ),
        )

    def _score(self, name: str) -> Score:
        rows = self.scores[name]
        good = [r for r in rows if r.value is not None and np.isfinite(r.value)]
        better: Better = rows[0].better
        failed = self.n + self.n_failed - len(good)
        if not good:
            return unscored(name, better, failed)
        several = Several(
            values=np.array([r.value for r in good]),
            chances=[r.chance for r in good],
            controls=[r.control for r in good],
            percentiles=[r.percentile for r in good],
            skipped=[r.skipped or "" for r in good],
        )
        control = rows[0].control_name or ""
        return several.pooled(name, better, control, failed, self.seed)

    def _leads(self) -> tuple[WordLead, ...]:
        seen = {k: np.array(v) for k, v in self.leads.items() if len(v) >= LEAST}
        tail = 1 - 0.025 / max(len(seen), 1)
        edges = student.ppf(tail, np.array([len(x) - 1 for x in seen.values()]))
        found = []
        for ((target, word), x), edge in zip(seen.items(), edges):
            half = float(edge * x.std(ddof=1) / len(x) ** 0.5)
            mean = float(x.mean())
            found.append(
                WordLead(target=target, word=word, lead=mean, interval=(mean - half, mean + half), n=len(x))
            )
        found.sort(key=lambda w: (-max(w.interval[0], -w.interval[1], 0.0), -abs(w.lead), w.word))
        return tuple(found[:MOST])


def _lede(leads: tuple[WordLead, ...], n: int, n_failed: int) -> str:
    """What the rows say, in one sentence."""
    failed = f" ({n_failed:,} more failed)" if n_failed else ""
    sure = [w for w in leads if w.interval[0] > 0 or w.interval[1] < 0]
    if not sure:
        return f"Of {n:,} rows{failed}: no word surely stands out from the other words of its texts."
    told = ", ".join(f"{w.word!r} {'for' if w.lead > 0 else 'against'} {w.target}" for w in sure[:4])
    return f"Of {n:,} rows{failed}: what surely stands out from the other words of its texts is {told}."
