"""The outputs of a shard as files: a row of a Parquet table for each, dense arrays beside it in safetensors.

    id, n                      which row
    error_type, error          empty, or what it failed with
    data                       the value, as bytes of a result file (`core.store`): nothing is lost
    and flat columns           what the job says of the value in plain numbers and words, for tables and SQL

Arrays of the rows [k, ...] stand one after another; `rows` in the same file says how many each row has. The table's metadata says
the plan, the weights and how many rows failed. Nothing here knows the time: the same outputs give the same bytes.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exegete.core.errors import ExegeteError, StoreError
from exegete.core.job import Output, Row, RowFailed
from exegete.core.store import pack_part, unpack
from exegete.core.value import Value

OWN = ("id", "n", "error_type", "error", "data")


def encode(
    rows: Sequence[Row], outputs: Sequence[Output], told: dict[str, str]
) -> tuple[bytes, bytes | None]:
    """The Parquet file of a shard and, where outputs have arrays, the safetensors file beside it."""
    lines = [
        {"id": r.id, "n": r.n} | _error(o.error) | {"data": None if o.error else pack_part(o.value)}
        for r, o in zip(rows, outputs, strict=True)
    ]
    names = list(dict.fromkeys(name for o in outputs for name in o.flat))
    table = pa.table({name: [line[name] for line in lines] for name in OWN}, schema=_SCHEMA)
    for name in names:
        table = table.append_column(name, pa.array([o.flat.get(name) for o in outputs]))
    failed = sum(o.error is not None for o in outputs)
    told = told | {
        "failed": str(failed),
        "rows": str(len(rows)),
        "tokens": str(sum(o.tokens for o in outputs)),
    }
    out = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({"exegete": json.dumps(told)}),
        out,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
    )
    return out.getvalue(), _dense(outputs)


def decode(path: Path, kind: type[Value] | None, values: bool = True) -> list[tuple[Row, Output]]:
    """The rows and outputs of a shard, without their arrays, and without their values where these are not asked for.

    Raises `StoreError` for a broken file.
    """
    table = read(path)
    table = table if values else table.drop_columns(["data"])
    flat = [name for name in table.column_names if name not in OWN]
    found = []
    for line in table.to_pylist():
        error = RowFailed(line["error_type"], line["error"]) if line["error_type"] else None
        value = None if error or not values else unpack(line["data"], kind)
        output = Output(value, {name: line[name] for name in flat}, error=error)
        found.append((Row(line["id"], line["n"], {}), output))
    return found


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a shard. Raises `StoreError` for a broken file."""
    try:
        return pq.ParquetFile(path).read(columns=list(columns) if columns else None)
    except (OSError, pa.ArrowInvalid) as e:
        raise _broken(path, e) from e


def unfit(path: Path) -> int:
    """How many rows of a shard say that they did not fit. Raises `StoreError` for a broken file."""
    try:
        if "unfit" not in pq.read_schema(path).names:
            return 0
    except (OSError, pa.ArrowInvalid) as e:
        raise _broken(path, e) from e
    return sum(bool(said) for said in read(path, ["unfit"]).column(0).to_pylist())


def told(path: Path) -> dict[str, Any]:
    """What a shard says of itself: plan, weights, rows, failed, tokens. Raises `StoreError` for a broken file."""
    try:
        return json.loads((pq.read_schema(path).metadata or {})[b"exegete"])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as e:
        raise _broken(path, e) from e


def arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """The arrays of a shard's rows by name, one a row; nothing where it has none."""
    from safetensors.numpy import load_file

    if not path.exists():
        return {}
    found = load_file(path)
    cuts = {
        name.removeprefix("rows."): np.cumsum(v)[:-1] for name, v in found.items() if name.startswith("rows.")
    }
    return {name: np.split(found[name], at) for name, at in cuts.items()}


def stretch(path: Path, names: Sequence[str], low: int, high: int) -> list[np.ndarray]:
    """Vectors low to high of dense arrays, rows put aside; nothing else of the file is read. Raises `StoreError` for a broken file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return [file.get_slice(name)[low:high] for name in names]
    except (OSError, SafetensorError) as e:
        raise _broken(path, e) from e


def _dense(outputs: Sequence[Output]) -> bytes | None:
    from safetensors.numpy import save

    names = list(dict.fromkeys(name for o in outputs for name in o.arrays))
    if not names:
        return None
    found: dict[str, np.ndarray] = {}
    for name in names:
        each = [o.arrays.get(name) for o in outputs]
        like = next(a for a in each if a is not None)
        empty = np.zeros((0, *like.shape[1:]), like.dtype)
        found[name] = np.concatenate([empty if a is None else a for a in each])
        found[f"rows.{name}"] = np.array([0 if a is None else len(a) for a in each], dtype=np.int64)
    return save(found)


def _error(error: Exception | None) -> dict[str, str]:
    if error is None:
        return {"error_type": "", "error": ""}
    if isinstance(error, RowFailed):
        return {"error_type": error.kind, "error": error.found}
    letter = " ".join(error.letter().splitlines()) if isinstance(error, ExegeteError) else ""
    return {"error_type": type(error).__name__, "error": letter or str(error)[:1000] or type(error).__name__}


def _broken(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"A part of a run was to be read from {str(path)!r}.",
        f"It cannot be ({str(error).splitlines()[0]:.120}).",
        "Delete that file; the same command makes it again.",
    )


_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("n", pa.int64()),
        ("error_type", pa.string()),
        ("error", pa.string()),
        ("data", pa.binary()),
    ]
)
EMPTY = _SCHEMA.empty_table().drop_columns(["data"])  # what can be read of a run before its first shard
