"""From what people name to a job and its rows: `run METHOD --data FILE`.

    an attribution method     -> `attributing`: every row is explained
    a study                   -> `studying`: every row is an item of it
    a metric, or `evaluate`   -> `judging`: every row is judged, by the methods that are named
    `harvest`                 -> `harvesting`: activations of every row are kept

Data is a file, a folder or a data set (`run.source`), or a list of texts or items in memory. Cost: reading.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from exegete.core.conllu import read_conllu
from exegete.core.errors import ExegeteError, UnknownName, UsageError
from exegete.core.job import Job, ModelRef
from exegete.core.method import Method, method_of
from exegete.core.rationale import Rationale
from exegete.core.read_marked import read_marked
from exegete.core.read_pairs import read_facts, read_minimal
from exegete.core.read_questions import read_questions
from exegete.core.registry import METHODS, METRICS
from exegete.core.request import Text
from exegete.core.row_letters import PAIR, unfit
from exegete.core.rows import rows_of
from exegete.core.target import Target
from exegete.core.value import Value
from exegete.evaluate.attributing import Attributing
from exegete.evaluate.contract import faithfulness_metrics
from exegete.evaluate.judging import Judging, row_of
from exegete.evaluate.trust import TrustLevel
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.methods.contracts.harvesting import Harvesting
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.studying import Studying
from exegete.run.source import Source

HARVEST, EVALUATE = "harvest", "evaluate"
Rows = Callable[[], Iterable[tuple[str, dict[str, Any]]]]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of every row, beside the method: what explaining and judging take, and where the columns are."""

    target: Target = field(default_factory=Target)
    unit: str = "word"
    prefix: bool = False
    trust: TrustLevel = "full"
    truncate: bool = False
    methods: tuple[str | Method, ...] = ()
    sites: tuple[str, ...] = ()
    pool: str = "all"
    text_column: str | None = None
    id_column: str | None = None
    target_column: str = ""
    label_column: str | None = None
    group_column: str | None = None
    spans: str | None = None
    limit: int | None = None
    seed: int = 0


def job_for(method: str | Method, model: ModelRef, data: Any, wanted: Wanted) -> tuple[Job, Rows]:
    """The job, and what gives its rows. Raises `UnknownName` and `UsageError` for what cannot be run."""
    if method == HARVEST:
        return _harvest(model, data, wanted)
    if method == EVALUATE or (isinstance(method, str) and method.split(",")[0].replace("-", "_") in METRICS):
        return _judge(str(method), model, data, wanted)
    chosen = _method(method)
    if isinstance(chosen, AttributionMethod):
        return _attribute(chosen, model, data, wanted)
    if isinstance(chosen, Study):
        return _study(chosen, model, data, wanted)
    raise UsageError(
        f"You asked to run {chosen.id!r}.",
        "It is neither an attribution method nor a study.",
        "See `exegete list methods`.",
    )


def _method(method: str | Method) -> Method:
    if isinstance(method, str) and method.replace("-", "_") not in METHODS:
        raise UnknownName("method", method, (*METHODS.ids(), *METRICS.ids(), HARVEST, EVALUATE))
    return method_of(method)


def _attribute(method: Method, model: ModelRef, data: Any, w: Wanted) -> tuple[Job, Rows]:
    job = Attributing(
        model=model, method=method.id, params=method.params(), target=w.target, target_column=w.target_column,
        unit=w.unit, prefix=w.prefix, trust=w.trust, truncate=w.truncate, seed=w.seed,
    )  # fmt: skip
    if isinstance(data, str):
        return job, lambda: _from_file(data, w)
    return job, lambda: _listed([{"request": _plain(Text.of(t))} for t in data])


def _judge(metrics: str, model: ModelRef, data: Any, w: Wanted) -> tuple[Job, Rows]:
    if not w.methods:
        raise UsageError(
            f"You asked to run {metrics!r}.",
            "It judges methods, and none is named.",
            "Name them: --methods occlusion,lrp",
        )
    named = [] if metrics == EVALUATE else metrics.split(",")
    judges = [METRICS.get(m.strip().replace("-", "_"))() for m in named] or list(faithfulness_metrics())
    methods = [_method(m) for m in w.methods]
    told = not isinstance(data, str) and any(isinstance(t, Rationale) for t in data)
    job = Judging(
        model=model, seed=w.seed, methods=tuple({"id": m.id, "params": m.params()} for m in methods),
        metrics=tuple({"id": m.id, "params": m.params()} for m in judges), target=w.target, unit=w.unit,
        prefix=w.prefix, trust="fast" if w.trust == "none" else w.trust, told=told,
    )  # fmt: skip
    if not isinstance(data, str):
        return job, lambda: _listed([row_of(_cut(t, w), n) for n, t in enumerate(data)])

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for n, (name, row) in enumerate(_from_file(data, w)):
            yield name, {"n": n, "request": _request(row, w)}  # one that is no text fails when it is judged

    return job, rows


def _harvest(model: ModelRef, data: Any, w: Wanted) -> tuple[Job, Rows]:
    if not w.sites:
        raise UsageError(
            "You asked to harvest activations.",
            "No place is named.",
            "Name some: --sites 2.resid_post,3.mlp_act",
        )
    job = Harvesting(model=model, sites=w.sites, pool=w.pool, seed=w.seed)
    if isinstance(data, str):
        return job, lambda: _from_file(data, w)
    return job, lambda: _listed([_plain(t) if isinstance(t, Value) else {"text": t} for t in data])


def _study(study: Study, model: ModelRef, data: Any, w: Wanted) -> tuple[Job, Rows]:
    if study.asks == "nothing":
        raise UsageError(
            f"You asked to run {study.id!r} over data.",
            "It looks at the model's weights and its own material, at no rows.",
            f"Make it in one go: exegete {study.verb} --method {study.id}",
        )
    if isinstance(data, str) and study.asks != "texts":
        items, left_out = read_items(study, data, w)
    else:
        items, left_out = [] if isinstance(data, str) else [_cut(study.item_of(i), w) for i in data], ()
    job = Studying(
        model=model, method=study.id, params=study.params(), target=w.target, seed=w.seed, left_out=left_out
    )
    if isinstance(data, str) and study.asks == "texts":
        return job, lambda: ((name, _request(row, w)) for name, row in _from_file(data, w))
    study.counted(tuple(items[: w.limit]))
    return job, lambda: _listed([_plain(i) for i in items[: w.limit]])


def read_items(study: Study, path: str, w: Wanted) -> tuple[list[Any], tuple[str, ...]]:
    """The items of a file, as the study asks for them, and in words what of it is none. Raises `InputError`."""
    asks = study.asks
    if asks == "marked":
        if w.spans not in (None, "word", "character"):
            raise UnknownName("unit of spans", str(w.spans), ("word", "character"))
        found = read_marked(
            path, text=w.text_column, label=w.label_column, group=w.group_column,
            unit=w.spans, numbers=study.kind == "number",  # type: ignore[arg-type]
        )  # fmt: skip
        return list(found), ()
    if asks == "questions":
        questions, skipped = read_questions(path)
        return list(questions), _left_out("questions", skipped)
    if asks == "minimal":
        alike: list[str] = []
        pairs = list(read_minimal(path, alike))
        return pairs, _left_out("pairs of twice the same sentence", alike)
    if asks == "pairs":
        return [_pair(study, path, place, row) for place, row in rows_of(path, "pairs")], ()
    return list(read_facts(path) if asks == "facts" else read_conllu(path)), ()


def _pair(study: Study, path: str, place: str, row: dict[str, Any]) -> Any:
    try:
        return study.item_of({k: v for k, v in row.items() if k in PAIR.fields})
    except (ExegeteError, TypeError) as e:
        raise unfit(PAIR, row, e, path, place) from None


def _left_out(what: str, why: Sequence[str]) -> tuple[str, ...]:
    return (f"{len(why)} {what} of the file are left out (first: {why[0]}).",) if why else ()


def _from_file(path: str, w: Wanted) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in Source(path, text=w.text_column, id=w.id_column, limit=w.limit).rows():
        yield row.id, row.fields


def _request(row: dict[str, Any], w: Wanted) -> dict[str, Any]:
    """What a row of a file asks, as a `Text` in plain data."""
    said = {k: row[k] for k in ("text", "pair") if row.get(k) is not None}
    return said | ({"truncate": True} if w.truncate else {})


def _cut(text: Any, w: Wanted) -> Any:
    """A text in memory, cut at the model's length limit where that is wanted."""
    if not w.truncate or not isinstance(text, (str, Text)):
        return text
    return Text.of(text).model_copy(update={"truncate": True})


def _listed(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with their own ids where each has one, else with their places."""
    own = [str(r.get("id") or "") for r in rows]
    named = all(own) and len(set(own)) == len(own)
    return ((own[n] if named else str(n + 1), r) for n, r in enumerate(rows))


def _plain(value: Value) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude_defaults=True)
