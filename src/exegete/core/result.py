"""`Result`: a frozen, typed value with provenance that opens, prints and draws itself without the model and without torch.

A result type registers by its name (`Result.__init_subclass__`), so that a file opens as what it was saved as.
Types beyond the ones here live in `core.results`, and are imported when a file names one.
Arrays are numpy; everything else is JSON.
"""

import importlib
import os
import pkgutil
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import UsageError
from exegete.core.registry import drawer
from exegete.core.trust import Check, Cost, Score, Trust
from exegete.core.value import Value

RESULTS: dict[str, type["Result"]] = {}


class Provenance(Value):
    """Where a result comes from: everything that identifies model, method, parameters and code."""

    model: str = ""
    fingerprint: str = ""
    family: str = ""
    task: str = ""
    dtype: str = ""
    revision: str = ""
    method: str = ""
    params: dict[str, Any] = {}
    seed: int = 0
    versions: dict[str, str] = {}


class Result(Value):
    """Base of all results. Subclasses are final, named by their class name in files."""

    type: ClassVar[str] = ""
    provenance: Provenance = Provenance()
    trust: Trust = Trust()
    cost: Cost = Cost()
    notes: tuple[str, ...] = ()

    def __init_subclass__(cls, **_: Any) -> None:
        super().__init_subclass__()
        cls.type = cls.__name__
        RESULTS[cls.type] = cls

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write to one file (`.exg`: safetensors with a JSON header). Returns the path. See `core.store`."""
        from exegete.core.store import save

        return save(self, path)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: arrays as nested lists, NaN as null."""
        return _plain(self)  # type: ignore[return-value]

    def _repr_html_(self) -> str:
        return drawer().notebook(self)

    def __rich__(self) -> Any:
        return drawer().terminal(self)


class UnitInfo(Value):
    """One explained unit: its text, where it stands, and what it is."""

    text: str
    tokens: tuple[int, ...] = ()
    start: int = -1
    end: int = -1
    role: str = "prompt"
    segment: str = ""


class Attribution(Result):
    """Relevance of each unit of one text for each output and for their total.

    `scores` [n_outputs, n_units] float64; `total` [n_units]: the explanation of the total (the only row, or the target's
    sum over generated tokens; NaN rows of `scores` were not asked for). `stderr` has the shape of `total` for sampled
    methods. `value` is the explained scalar, `base_value` what is left when everything is removed (NaN where the method
    has no such point). `available` [n_outputs, n_units] is False where a unit was not yet read when that output was made.
    """

    text: str
    units: tuple[UnitInfo, ...]
    level: str
    outputs: tuple[str, ...]
    scores: np.ndarray
    total: np.ndarray
    stderr: np.ndarray | None = None
    available: np.ndarray | None = None
    target: str
    against: str = ""
    scale: str
    value: float
    base_value: float = float("nan")
    signed: bool = True
    prediction: dict[str, float] = {}
    predicted: str = ""
    checks: tuple[Check, ...] = ()

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """The method's own self-checks and those of the judging."""
        return (*self.checks, *self.trust.checks)

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` units with the largest absolute score."""
        order = np.argsort(-np.abs(self.total), kind="stable")[:k]
        return [(self.units[i].text, float(self.total[i])) for i in order]

    def to_frame(self) -> Any:
        """A pandas table, one row a unit and output. Needs the extra `frames`."""
        return frame(
            [
                {
                    "unit": u.text,
                    "start": u.start,
                    "end": u.end,
                    "role": u.role,
                    "output": o,
                    "score": float(s),
                }
                for o, row in [("total", self.total), *zip(self.outputs, self.scores)]
                for u, s in zip(self.units, row)
            ]
        )

    def to_shap(self) -> Any:
        """A `shap.Explanation` of the total. Needs the extra `shap`."""
        try:
            import shap  # pyright: ignore[reportMissingImports]
        except ImportError:
            from exegete.core.errors import MissingExtra

            raise MissingExtra("shap", "shap", "to_shap()") from None
        return shap.Explanation(
            values=self.total, base_values=self.base_value, data=np.array([u.text for u in self.units])
        )


class Comparison(Result):
    """Several explanations of the same inputs: one line a method, and how far they disagree (rank correlation, top-k overlap)."""

    text: str = ""
    n_texts: int = 1
    methods: tuple[str, ...]
    attributions: tuple[Attribution, ...] = ()
    rank_correlation: np.ndarray
    top_overlap: np.ndarray
    top_k: int = 3
    trusts: tuple[Trust, ...] = ()


class Difference(Value):
    """Whether two methods differ by a metric over the same texts: the mean of first less second, and p after correction."""

    metric: str
    first: str
    second: str
    mean: float
    p: float
    n: int


class MetricTable(Result):
    """Scores of methods by metric over a set of texts: rows methods, each a tuple of `Score`.

    `values` [method, metric, text] are what the means are made of, `better` says for each metric which direction is good.
    `diagnosticity` has a score a metric: how often it puts a method's explanation before a random one. `differences` has a
    row for every metric and pair of methods (people and the random row left out), with p after Holm's correction.
    `agreement` says how far the people agree whose marks explanations are held against, `by_annotator` how methods agree with each.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    trusts: tuple[Trust, ...]
    n_texts: int
    values: np.ndarray = Field(default_factory=lambda: np.zeros((0, 0, 0)))
    better: tuple[str, ...] = ()
    diagnosticity: tuple[Score, ...] = ()
    differences: tuple[Difference, ...] = ()
    agreement: tuple[Score, ...] = ()
    by_annotator: tuple[Score, ...] = ()
    failures: tuple[str, ...] = ()

    def best(self, k: int, level: float = 0.05) -> int | None:
        """The method that is better by metric k than every other, each by a corrected test; None where there is no such one."""
        told = {d.first for d in self.differences} | {d.second for d in self.differences}
        rows = [i for i, name in enumerate(self.methods) if name in told]
        sign = 1 if self.better[k : k + 1] != ("lower",) else -1
        values = [sign * self.trusts[i].scores[k].value for i in rows]
        if len(rows) < 2 or not np.isfinite(values).any():
            return None
        first = rows[int(np.nanargmax(values))]
        pairs = [d for d in self.differences if d.metric == self.metrics[k]]
        mine = [d for d in pairs if self.methods[first] in (d.first, d.second)]
        return first if all(d.p <= level for d in mine) else None


class Listing(Result):
    """A table of plain cells: a listing of methods, the proof of a model, the coverage of techniques."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    ok: bool = True
    footer: str = ""


def frame(rows: list[dict[str, Any]]) -> Any:
    """A pandas table of rows; a letter when pandas is missing."""
    try:
        import pandas
    except ImportError:
        from exegete.core.errors import MissingExtra

        raise MissingExtra("pandas", "frames", "to_frame()") from None
    return pandas.DataFrame(rows)


def result_type(name: str) -> type[Result]:
    """The result class of that name. Raises `UsageError` when a file names a type this version does not know."""
    if name not in RESULTS:
        _import_all()
    if name not in RESULTS:
        raise UsageError(
            f"The file holds a result of type {name!r}.",
            "This version of Exegete does not know that type.",
            "Update Exegete, or open it with the version that wrote it.",
        )
    return RESULTS[name]


def _import_all() -> None:
    """Import every file of `core.results`, so that their types are known by name."""
    from exegete.core import results

    for info in pkgutil.iter_modules(results.__path__):
        importlib.import_module(f"{results.__name__}.{info.name}")


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        head = {"type": value.type} if isinstance(value, Result) else {}
        return head | {f: _plain(getattr(value, f)) for f in type(value).model_fields}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
