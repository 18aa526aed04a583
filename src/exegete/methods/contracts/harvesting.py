"""The job of harvesting: activations of every row at places of the model, kept as dense arrays in safetensors shards.

A row is a text (of which all tokens that stand for text are read) or a labelled text (`core.material.Marked`), of which the marks are.
Of each row and place: float32 [k, width], k tokens for pool "all", one vector a mark otherwise (pairs: [k, 2, width]). Flat columns
say how many, and where they stand.

Cost: one forward a text, whatever the number of places. Memory: a shard. Read with `xg.open(DIR).arrays("2.resid_post")`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.job import Job, Output, Row, Worker, out_of_memory
from exegete.core.material import Mark, Marked
from exegete.core.result import Listing, Provenance
from exegete.models.harvest import Table, harvest
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.models.reference import load_ref
from exegete.models.worker import ModelWorker


class Harvesting(Job):
    """Keep the activations of every row."""

    kind: ClassVar[str] = "harvesting"
    flat: ClassVar[bool] = True
    shard_rows: ClassVar[int] = 512
    shard_tokens: ClassVar[int] = 16_384

    sites: tuple[str, ...] = Field(description="places, such as 2.resid_post", min_length=1)
    pool: str = Field("all", description="all tokens, or the first, last, mean or max of each mark")

    @property
    def words(self) -> str:
        """What it does."""
        return f"harvesting {', '.join(self.sites)}"

    def open(self, model: Any = None) -> Worker:
        """A worker that reads texts. Raises `SiteError` for places that the model has not."""
        model = model or load_ref(self.model)
        for site in self.sites:
            model.map.port(site)
        return Reader(model, self.sites, self.pool)

    def merge(self, outputs: Iterable[tuple[Row, Output]], worker: Callable[[], Any]) -> Listing:
        """How much was kept. The activations stay in their shards."""
        n, vectors, lost, cut, failed = 0, 0, 0, 0, 0
        for _, o in outputs:
            failed += o.error is not None
            n += o.error is None
            vectors += int(o.flat.get("vectors") or 0)
            lost += int(o.flat.get("failed_marks") or 0)
            cut += bool(o.flat.get("cut"))
        return Listing(
            title=f"Activations of {self.model.source}",
            columns=("site", "pool", "rows", "vectors", "rows failed", "marks failed"),
            rows=tuple(
                (s, self.pool, f"{n:,}", f"{vectors:,}", f"{failed:,}", f"{lost:,}") for s in self.sites
            ),
            ok=failed == 0,
            footer=("Marks fail where the context cuts off their tokens. " if lost else "")
            + (f"Of {cut:,} texts only the beginning fits the context and was read. " if cut else "")
            + "Read the arrays with xg.open(DIR).arrays(site).",
            provenance=Provenance(
                model=self.model.source, method="harvest", params={"sites": self.sites, "pool": self.pool}
            ),
        )


class Reader(ModelWorker):
    """Reads activations at `sites`."""

    def __init__(self, model: Model, sites: tuple[str, ...], pool: str) -> None:
        super().__init__(model)
        self.sites, self.pool = sites, pool

    def work(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Output]:
        """Arrays of each row by place; where a stretch fails, each by itself."""
        try:
            items = [_marked(row) for row in rows]
            table = harvest(Lab(self.model), items, self.sites, self.pool, keep=False)
        except Exception as e:
            if out_of_memory(e):
                raise
            if len(rows) == 1:
                return [Output(error=e)]
            return [o for row in rows for o in self.work([row])]
        return [self._of(table, i, len(item.marks)) for i, item in enumerate(items)]

    def _of(self, table: Table, i: int, marks: int) -> Output:
        low, high = np.searchsorted(table.item, [i, i + 1]).tolist()
        if low == high:
            return Output(error=_cut_off())
        arrays = {
            str(s): np.ascontiguousarray(v[slice(*_tokens(table, low, high))])
            for s, v in table.values.items()
        }
        n = len(next(iter(arrays.values())))
        cut = table.cut is not None and bool(table.cut[low:high].any())
        flat = {"vectors": n, "marks": high - low, "failed_marks": marks - (high - low), "cut": cut}
        return Output({}, flat, arrays, tokens=n)


def _tokens(table: Table, low: int, high: int) -> tuple[int, int]:
    """Where the vectors of rows low to high stand."""
    if table.offsets is None:
        return low, high
    each = (len(table.offsets) - 1) // len(table)  # stretches a row: 2 for pairs
    return int(table.offsets[low * each]), int(table.offsets[high * each])


def _marked(row: Mapping[str, Any]) -> Marked:
    if "marks" in row:
        return Marked(**row)
    return Marked(text=row["text"], marks=(Mark(label=""),))


def _cut_off() -> InputError:
    return InputError(
        "You asked for the activations of a text.",
        "No token stands for what is marked in it, or the model's context cuts it off.",
        "Shorten the text, or mark what stands at its beginning.",
    )
