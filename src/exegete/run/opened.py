"""A run to read: one value over all its shards, opened when they are asked for. `xg.open(DIR)`.

    len(run), run.n_failed, run["17"]        rows, failed rows, the value of the row with that id
    for id, value in run                     all values, shard by shard (an error is an exception value)
    run.to_frame(columns, where)             the flat columns as a pandas table, in the order of the input
    run.table(...)                           the same as an Arrow table; run.arrays(name) dense arrays a shard at a time
    run.sql("select ... from rows")          with duckdb (extra `query`)
    run.result                               what all rows were merged to

An unfinished run can be read too: what is committed is there. Needs neither torch nor the model. Memory: a shard, or what is asked for.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exegete.core.errors import MissingExtra, StoreError, UnknownName
from exegete.core.registry import drawer
from exegete.core.result import Result
from exegete.core.store import open_result
from exegete.run import shard
from exegete.run.folder import Folder
from exegete.run.plan import Plan, read_plan
from exegete.run.rows import Rows


class Run:
    """The run in a folder. Raises `StoreError` where there is none."""

    def __init__(self, path: str | Path) -> None:
        self.folder = Folder.of(path)
        self.plan: Plan = read_plan(self.folder)

    def __repr__(self) -> str:
        state = "finished" if self.finished else "unfinished"
        return f"Run({str(self.folder.path)!r}, {self.plan.job['kind']}, {len(self):,} of {self.plan.n_rows:,} rows, {state})"

    @property
    def finished(self) -> bool:
        """Whether every row is there and merged."""
        return self.folder.manifest.exists()

    @property
    def result(self) -> Result:
        """What all rows were merged to. Raises `StoreError` while the run is not finished, or where nothing is merged."""
        if not self.folder.result.exists():
            why = (
                "It has no result of all rows: its rows are the result"
                if self.finished
                else "It is not finished"
            )
            raise StoreError(
                f"You asked for the result of the run in {str(self.folder.path)!r}.",
                f"{why}.",
                "Read its rows (to_frame), or finish it: `exegete jobs resume`.",
            )
        return open_result(self.folder.result)

    def shards(self) -> list[int]:
        """The shards that are committed, in order."""
        return sorted(self.folder.done())

    def __len__(self) -> int:
        return sum(int(shard.told(self.folder.shard(k))["rows"]) for k in self.shards())

    @property
    def n_failed(self) -> int:
        """Rows that failed."""
        return sum(int(shard.told(self.folder.shard(k))["failed"]) for k in self.shards())

    @property
    def n_unfit(self) -> int:
        """Rows that did not fail, and that a study could not use all the same."""
        return sum(shard.unfit(self.folder.shard(k)) for k in self.shards())

    @property
    def line(self) -> str:
        """How many rows there are, and how many of them came to nothing, in words."""
        unfit = f", {self.n_unfit:,} could not be used" if self.n_unfit else ""
        return f"{len(self):,} rows, {self.n_failed:,} failed{unfit}, in {self.folder.path}"

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for k in self.shards():
            for row, output in shard.decode(self.folder.shard(k), self._part):
                yield row.id, output.value if output.error is None else output.error

    def __getitem__(self, name: str) -> Any:
        """The value of the row with that id. Raises `UnknownName` for an id that is not there, `RowFailed` for a row that failed."""
        k = self._where.get(str(name))
        if k is None:
            raise UnknownName("row", str(name), list(self._where)[:2000])
        if k not in self.folder.done():
            raise StoreError(
                f"You asked for the row {str(name)!r} of the run in {str(self.folder.path)!r}.",
                "It is one of its rows, and has not been computed yet.",
                f"See how far it is: `exegete jobs status {self.folder.path}`; `exegete jobs resume` goes on.",
            )
        for row, output in shard.decode(self.folder.shard(k), self._part):
            if row.id == str(name):
                if output.error is not None:
                    raise output.error
                return output.value
        raise UnknownName("row", str(name), self._where)

    def errors(self) -> list[tuple[str, str, str]]:
        """Rows that failed: id, kind of error, message."""
        found = self.table(("id", "error_type", "error"), failed=True).to_pylist()
        return [(r["id"], r["error_type"], r["error"]) for r in found]

    def inputs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows as they were given, shard by shard."""
        rows = Rows(self.plan.file(self.folder))
        for k in range(self.plan.n_shards):
            yield from ((r.id, dict(r.data)) for r in rows.shard(k))

    def table(
        self, columns: Sequence[str] | None = None, where: Any = None, failed: bool | None = False
    ) -> pa.Table:
        """Flat columns as an Arrow table in the order of the input. `where` is a filter as pyarrow.compute makes it
        (`pc.field("value") > 1`); `failed`: only rows that did not fail (False), only those that did, or all (None).
        """
        found = []
        for k in self.shards():
            part = shard.read(self.folder.shard(k)).drop_columns(["data"])
            if failed is not None:
                bad = pc.field("error_type") != ""
                part = part.filter(bad if failed else ~bad)
            found.append(part)
        whole = pa.concat_tables(found, promote_options="permissive") if found else shard.EMPTY
        whole = whole.sort_by("n").replace_schema_metadata(None)
        if where is not None:  # a shard of failed rows has no such column
            whole = whole.filter(where)
        if columns is None:
            return whole.drop_columns(["n"])
        missing = [c for c in columns if c not in whole.column_names]
        if missing:
            raise UnknownName("column", missing[0], whole.column_names)
        return whole.select(list(columns))

    def to_frame(
        self, columns: Sequence[str] | None = None, where: Any = None, failed: bool | None = False
    ) -> Any:
        """`table` as a pandas table. Needs the extra `frames`."""
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise MissingExtra("pandas", "frames", "A table of a run") from None
        return self.table(columns, where, failed).to_pandas()

    def sql(self, query: str) -> Any:
        """What a query over the table `rows` gives, as an Arrow table. Needs the extra `query` (duckdb)."""
        try:
            import duckdb
        except ImportError:
            raise MissingExtra("duckdb", "query", "SQL over a run") from None
        with duckdb.connect() as base:
            base.register("rows", self.table(failed=None))
            found = base.sql(query).arrow()
            return found if isinstance(found, pa.Table) else found.read_all()

    def arrays(self, name: str) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        """Dense arrays called `name`: for each shard the ids of its rows and an array a row, that of a row that failed without entries.
        Raises `UnknownName`.
        """
        like: np.ndarray | None = None
        for k in self.shards():
            each = shard.arrays(self.folder.shard(k, "safetensors")).get(name)
            ids = shard.read(self.folder.shard(k), ("id",)).column(0).to_pylist()
            if each is None:
                like = self._like(name) if like is None else like
                each = [like[:0]] * len(ids)
            yield ids, each

    def _like(self, name: str) -> np.ndarray:
        """The first array of that name; where every row of a shard failed, it has none to tell the width from."""
        known: dict[str, Any] = {}
        for k in self.shards():
            found = shard.arrays(self.folder.shard(k, "safetensors"))
            if name in found:
                return found[name][0]
            known |= found
        raise UnknownName("array", name, known)

    def __rich__(self) -> Any:
        return drawer().terminal(self.result) if self.folder.result.exists() else repr(self)

    def _repr_html_(self) -> str:
        return drawer().notebook(self.result) if self.folder.result.exists() else repr(self)

    @cached_property
    def _where(self) -> dict[str, int]:
        """In which shard each row is."""
        rows = Rows(self.plan.file(self.folder))
        return {i: k for k in range(self.plan.n_shards) for i in rows.ids(k)}

    @cached_property
    def _part(self) -> Any:
        """The type of the rows' values, where their bytes do not say it: looked up without loading a model."""
        return None if self.plan.job["kind"] in ("attributing", "harvesting") else self.plan.make_job().part
