"""The rows of a run as one file: every row once, cut into shards of like length, a row group a shard.

1. rows are streamed; stretches of `STRETCH` rows (or `STRETCH_BYTES`) are put in order of length, so that no more is ever in memory;
2. a stretch is cut into shards of at most `tokens` estimated tokens and `most` rows (one row at least). A token is taken to be four
   bytes of the row's JSON: an estimate that needs no model, and that does not change the values of anything;
3. each shard is a row group: `id`, `n` (its place in the input), `data` (the row as JSON). Workers need this file and not the input.

Cost: one pass over the input and the file once. Memory: a stretch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exegete.core.errors import StoreError
from exegete.core.job import Row

STRETCH = 1 << 14
STRETCH_BYTES = 1 << 24
BYTES_A_TOKEN = 4
SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int64()), ("data", pa.string())])


@dataclass(frozen=True)
class Cut:
    """What was written: how many rows, shards and estimated tokens, and the hash of the rows in the order of the input and of how
    they are cut: of everything that the file holds.
    """

    rows: int
    shards: int
    tokens: int
    digest: str


def write_rows(
    path: Path, rows: Iterable[tuple[str, dict[str, Any]]], tokens: int, most: int, whole: bool = False
) -> Cut:
    """Write (id, data) pairs, cut into shards; `whole`: all in one. Raises `StoreError` where the system refuses."""
    digest, counts = hashlib.sha256(), [0, 0, 0]
    try:
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as out:
            for shard in _shards(rows, digest, tokens, most, whole):
                table = pa.Table.from_pylist([r._asdict() | {"data": d} for r, d, _ in shard], SCHEMA)
                out.write_table(table, row_group_size=max(len(shard), 1))  # one, whatever its size
                digest.update(json.dumps([r.n for r, _, _ in shard]).encode())
                counts = [counts[0] + len(shard), counts[1] + 1, counts[2] + sum(t for _, _, t in shard)]
        with open(path, "rb") as f:
            os.fsync(f.fileno())
    except OSError as e:
        raise StoreError(
            f"The rows of a run were to be written to {str(path.parent)!r}.",
            f"The system refused ({e.strerror or e}).",
            "Make room there, or choose another folder.",
        ) from e
    return Cut(counts[0], counts[1], counts[2], digest.hexdigest())


_Told = tuple[Row, str, int]


def _shards(
    rows: Iterable[tuple[str, dict[str, Any]]], digest: Any, tokens: int, most: int, whole: bool
) -> Iterator[list[_Told]]:
    """Shards in order: stretch by stretch, short rows first."""
    if whole:
        yield list(_told(rows, digest))
        return
    for stretch in _stretches(_told(rows, digest)):
        shard: list[_Told] = []
        spent = 0
        for row in sorted(stretch, key=lambda r: r[2]):
            if shard and (spent + row[2] > tokens or len(shard) >= most):
                yield shard
                shard, spent = [], 0
            shard.append(row)
            spent += row[2]
        if shard:
            yield shard


def _told(rows: Iterable[tuple[str, dict[str, Any]]], digest: Any) -> Iterator[_Told]:
    for n, (name, data) in enumerate(rows):
        told = json.dumps(data, ensure_ascii=False, sort_keys=True)
        digest.update(json.dumps([name, told]).encode())
        yield Row(name, n, {}), told, len(told.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN + 1


def _stretches(rows: Iterable[_Told]) -> Iterator[list[_Told]]:
    stretch: list[_Told] = []
    size = 0
    for row in rows:
        stretch.append(row)
        size += row[2] * BYTES_A_TOKEN
        if len(stretch) >= STRETCH or size >= STRETCH_BYTES:
            yield stretch
            stretch, size = [], 0
    if stretch:
        yield stretch


class Rows:
    """The rows of a run, read a shard at a time."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as e:
            raise StoreError(
                f"The rows of a run were to be read from {str(path)!r}.",
                f"They cannot be ({str(e).splitlines()[0]}).",
                "Copy the folder again, or begin in another one.",
            ) from e

    def shard(self, k: int) -> list[Row]:
        """The rows of shard k, in order."""
        return [Row(r["id"], r["n"], json.loads(r["data"])) for r in self._file.read_row_group(k).to_pylist()]

    def ids(self, k: int) -> list[str]:
        """The ids of shard k."""
        return self._file.read_row_group(k, columns=["id"]).column(0).to_pylist()

    def sizes(self) -> list[int]:
        """How many rows each shard has."""
        meta = self._file.metadata
        return [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]

    def __len__(self) -> int:
        return self._file.metadata.num_rows
