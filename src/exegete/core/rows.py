"""Rows of a file with their places: JSONL, JSON arrays, CSV, TSV and Parquet, packed with gzip or not.

Every row comes as (place, fields), the place being what a reader is told where a row does not fit: "Line 3", "Row 3".
Faults are letters that name the file and the place.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from exegete.core.errors import ExegeteError, InputError

Row = tuple[str, dict[str, Any]]
TABLES = (".csv", ".tsv", ".parquet")
OBJECTS = (".jsonl", ".json")


def suffix_of(path: str | PathLike[str]) -> str:
    """The suffix that says what a file holds, a final .gz left out: ".jsonl" of "a.jsonl.gz"."""
    name = str(path).lower()
    return Path(name.removesuffix(".gz")).suffix


def read_text(path: str | PathLike[str], what: str) -> str:
    """The text of a UTF-8 file. Raises `InputError` where it cannot be read; `what` names what was wanted of it."""
    where = asked(path, what)
    try:
        data = Path(path).read_bytes()
        data = gzip.decompress(data) if str(path).lower().endswith(".gz") else data
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise InputError(where, f"It cannot be unpacked ({e}).", "Check the file.") from None
    except OSError as e:
        raise InputError(where, f"It cannot be read ({e.strerror}).", "Check the path.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise InputError(
            where,
            f"Line {line} is not valid UTF-8 (byte {e.start} is 0x{data[e.start]:02x}).",
            "Convert it: `iconv -f latin1 -t utf-8`.",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(where, f"Line {line} holds a zero byte: this is binary data.", "Give a text file.")
    return text


def rows_of(path: str | PathLike[str], what: str) -> list[Row]:
    """The rows of a file by its suffix. Raises `InputError` for one that is empty, broken, or of another kind."""
    kind = suffix_of(path)
    if kind == ".parquet":
        found = _parquet(path, what)
    elif kind in (".csv", ".tsv"):
        found = _table(read_text(path, what), path, what)
    elif kind == ".json":
        found = _array(read_text(path, what), path, what)
    elif kind == ".jsonl":
        found = _lines(read_text(path, what), path, what)
    else:
        known = ", ".join((*OBJECTS, *TABLES))
        raise InputError(asked(path, what), f"Files of rows are {known}.", "Rename or convert the file.")
    if not found:
        raise InputError(asked(path, what), "It holds no row.", "Give at least one.")
    return found


def asked(path: str | PathLike[str], what: str) -> str:
    """The first sentence of a letter about a file."""
    return f"You asked to read {what} from {str(path)!r}."


def fault(path: str | PathLike[str], what: str, place: str, found: str, do: str = "Mend it.") -> InputError:
    """The letter about one row."""
    return InputError(asked(path, what), f"{place} {found}.", do)


def column_of(
    rows: Sequence[Row], wanted: str | None, usual: Sequence[str], path: Any, what: str, of: str
) -> str:
    """The column that holds `of`: the one named; else the first of the `usual` names, or the only one of the others.

    Raises `InputError` where there is none, or several.
    """
    columns = list(dict.fromkeys(c for _, row in rows for c in row))
    shown = ", ".join(columns) or "none"
    if wanted is not None:
        if wanted in columns:
            return wanted
        raise InputError(
            asked(path, what), f"It has no column {wanted!r}; its columns are {shown}.", "Name one."
        )
    named = {c.strip().lower(): c for c in columns}
    found = [named[u] for u in usual if u in named]
    if len(found) == 1 or usual[0] in named:
        return found[0]
    why = (
        f"Several columns may hold the {of}: {', '.join(found)}"
        if found
        else f"No column is called {usual[0]!r}"
    )
    raise InputError(asked(path, what), f"{why}; its columns are {shown}.", f"Say which: --{of}-column NAME.")


def _lines(text: str, path: Any, what: str) -> list[Row]:
    found = []
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as e:
            raise fault(path, what, f"Line {n}", f"is not JSON ({e.msg})") from None
        if not isinstance(row, dict):
            raise fault(path, what, f"Line {n}", f"is a {type(row).__name__}, no object with fields")
        found.append((f"Line {n}", row))
    return found


def _array(text: str, path: Any, what: str) -> list[Row]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as e:
        raise fault(path, what, f"Line {e.lineno}", f"is not JSON ({e.msg})") from None
    if not isinstance(rows, list):
        raise InputError(
            asked(path, what), f"It holds a {type(rows).__name__}, no list.", "Give a list of objects."
        )
    for n, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise fault(path, what, f"Object {n}", f"is a {type(row).__name__}, no object with fields")
    return [(f"Object {n}", row) for n, row in enumerate(rows, 1)]


def _table(text: str, path: Any, what: str) -> list[Row]:
    head = text.split("\n", 1)[0]
    mark = "\t" if suffix_of(path) == ".tsv" else max(",;\t", key=head.count)
    read = csv.reader(
        io.StringIO(text), delimiter=mark, quoting=csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL
    )
    found: list[Row] = []
    columns: list[str] = []
    try:
        for row in read:
            if not columns:
                columns = row
                _distinct(columns, path, what)
            elif row and any(cell.strip() for cell in row):
                if len(row) != len(columns):
                    raise fault(
                        path, what, f"Line {read.line_num}", f"has {len(row)} cells, where the first line has {len(columns)}",
                        "Put quotes round a cell that holds the separator.",
                    )  # fmt: skip
                found.append((f"Line {read.line_num}", dict(zip(columns, row))))
    except csv.Error as e:
        raise fault(path, what, f"Line {read.line_num}", f"cannot be read as a table ({e})") from None
    return found


def _distinct(columns: Sequence[str], path: Any, what: str) -> None:
    twice = next((c for c in columns if list(columns).count(c) > 1), None)
    if twice is not None:
        raise fault(path, what, "Line 1", f"names the column {twice!r} twice", "Give each its own name.")


def _parquet(path: Any, what: str) -> list[Row]:
    try:
        import pandas as pd

        frame = pd.read_parquet(path)
    except ImportError:
        raise InputError(
            asked(path, what),
            "Parquet files are read with pandas and pyarrow, which are not installed.",
            "pip install pandas pyarrow, or save the table as CSV.",
        ) from None
    except (OSError, ValueError) as e:
        raise InputError(
            asked(path, what), f"It cannot be read ({str(e).splitlines()[0]}).", "Check it."
        ) from None
    rows = frame.to_dict("records")
    return [(f"Row {n}", {str(k): v for k, v in row.items()}) for n, row in enumerate(rows, 1)]


def rows_under(path: str | PathLike[str], what: str, key: str) -> list[Row]:
    """The rows of a file; of a .json that is an object, those of its list `key`, told as "Example 1" where that is "examples"."""
    if suffix_of(path) != ".json":
        return rows_of(path, what)
    try:
        whole = json.loads(read_text(path, what))
    except json.JSONDecodeError:
        return rows_of(path, what)  # whose letter names the line
    if not isinstance(whole, dict):
        return rows_of(path, what)
    rows = whole.get(key)
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise InputError(
            asked(path, what), f'It is an object without "{key}".', f'Give {{"{key}": [...]}}, or a list.'
        )
    return [(f"{key.capitalize().removesuffix('s')} {n}", row) for n, row in enumerate(rows, 1)]


def misfit(error: ExegeteError) -> str:
    """Which field, and what is wrong with it."""
    field = error.asked.removeprefix("You set ").rstrip(".")
    return f"{field}: {error.found.rstrip('.')}"
