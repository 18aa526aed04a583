"""Rows of a file with their places: JSONL, JSON arrays, CSV, TSV and Parquet, packed with gzip or not.

Every row comes as (place, fields), the place being what a reader is told where a row does not fit: "Line 3", "Row 3".
`stream` gives them one by one: a line is held (of Parquet a batch, of a JSON array the whole file), whatever the size of the
file. Faults are letters that name the file and the place.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

from exegete.core.errors import ExegeteError, InputError

Row = tuple[str, dict[str, Any]]
TABLES = (".csv", ".tsv", ".parquet")
OBJECTS = (".jsonl", ".json")
TEXT = (
    "text",
    "sentence",
    "review",
    "content",
    "document",
    "question",
    "statement",
)  # usual names of a column of texts
_BATCH = 1024  # rows of Parquet held at once
_END = "\0"  # after the last line of a table; no line of text holds it
_BOM = b"\xef\xbb\xbf"
_WIDE = (  # byte order marks; that of UTF-32 begins as that of UTF-16 does
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def suffix_of(path: str | PathLike[str]) -> str:
    """The suffix that says what a file holds, a final .gz left out: ".jsonl" of "a.jsonl.gz"."""
    name = str(path).lower()
    return Path(name.removesuffix(".gz")).suffix


def read_text(path: str | PathLike[str], what: str) -> str:
    """The text of a UTF-8 file. Raises `InputError` where it cannot be read; `what` names what was wanted of it."""
    return "".join(lines_of(path, what))


def lines_of(path: str | PathLike[str], what: str) -> Iterator[str]:
    """The lines of a UTF-8 file one by one, each with its line break; a byte order mark is left out.

    Raises `InputError` where the file cannot be read, or where a line is no text.
    """
    where = asked(path, what)
    at = 0  # bytes before the line
    try:
        with gzip.open(path) if str(path).lower().endswith(".gz") else open(path, "rb") as data:
            for n, line in enumerate(data, 1):
                if n == 1 and (letter := wide(line, where)):
                    raise letter
                mark = len(_BOM) if n == 1 and line.startswith(_BOM) else 0
                yield _decoded(line[mark:], n, at + mark, where)
                at += len(line)
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise InputError(where, f"It cannot be unpacked ({e}).", "Check the file.") from None
    except OSError as e:
        raise InputError(where, f"It cannot be read ({e.strerror}).", "Check the path.") from None


def wide(head: bytes, where: str) -> InputError | None:
    """The letter about data that begins with the byte order mark of UTF-16 or UTF-32; None where it does not."""
    name = next((name for mark, name in _WIDE if head.startswith(mark)), None)
    if name is None:
        return None
    return InputError(
        where,
        f"It is written in {name}, not UTF-8: its byte order mark ({' '.join(f'{b:02x}' for b in head[:2])} ...) says so.",
        f"Convert it: `iconv -f {name.lower()} -t utf-8 OLD > NEW`.",
    )


def kind_of(value: object) -> str:
    """What a value of JSON is, in words."""
    if value is None:
        return "null"
    words = {"bool": "true or false", "str": "a text", "list": "a list", "dict": "an object"}
    return words.get(type(value).__name__, "a number")


def _decoded(line: bytes, n: int, at: int, where: str) -> str:
    """Line `n` as text; `at` bytes of the file stand before it."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as e:
        raise InputError(
            where,
            f"Line {n} is not valid UTF-8 (byte {at + e.start} is 0x{line[e.start]:02x}).",
            "Convert it: `iconv -f latin1 -t utf-8`.",
        ) from None
    if "\0" in text:
        raise InputError(where, f"Line {n} holds a zero byte: this is binary data.", "Give a text file.")
    return text


def rows_of(path: str | PathLike[str], what: str) -> list[Row]:
    """The rows of a file by its suffix. Raises `InputError` for one that is empty, broken, or of another kind."""
    return list(stream(path, what))


def stream(path: str | PathLike[str], what: str) -> Iterator[Row]:
    """The rows of a file one by one. Raises `InputError` as `rows_of`, each when its row is reached."""
    kind = suffix_of(path)
    readers = {".parquet": _parquet, ".csv": _table, ".tsv": _table, ".json": _array, ".jsonl": _lines}
    if kind not in readers:
        known = ", ".join((*OBJECTS, *TABLES))
        raise InputError(asked(path, what), f"Files of rows are {known}.", "Rename or convert the file.")
    yield from filled(readers[kind](path, what), path, what)


def filled(rows: Iterator[Row], path: str | PathLike[str], what: str) -> Iterator[Row]:
    """The same rows. Raises `InputError` where there is none."""
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise InputError(asked(path, what), "It holds no row.", "Give at least one.")


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


def _lines(path: Any, what: str) -> Iterator[Row]:
    for n, line in enumerate(lines_of(path, what), 1):
        if line.strip():
            row = _json(line, path, what, f"Line {n}")
            if not isinstance(row, dict):
                raise fault(path, what, f"Line {n}", f"is {kind_of(row)}, no object with fields")
            yield f"Line {n}", row


def _json(text: str, path: Any, what: str, place: str = "") -> Any:
    """What the text says as JSON; a fault in it is told at `place`, or at its own line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise fault(path, what, place or f"Line {e.lineno}", f"is not JSON ({e.msg})") from None
    except (ValueError, RecursionError) as e:  # a number of thousands of digits; brackets a thousand deep
        raise fault(path, what, place or "The file", f"cannot be read as JSON ({e})") from None


def array_of(path: str | PathLike[str], what: str) -> list[Any]:
    """The list that a .json file holds. Raises `InputError` where it holds none."""
    rows = _json(read_text(path, what), path, what)
    if not isinstance(rows, list):
        raise InputError(asked(path, what), f"It holds {kind_of(rows)}, no list.", "Give a list of objects.")
    return rows


def objects(rows: Iterable[Any], path: str | PathLike[str], what: str) -> Iterator[Row]:
    """The objects of a list, told as "Object 1" and so on. Raises `InputError` for what is none."""
    for n, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise fault(path, what, f"Object {n}", f"is {kind_of(row)}, no object with fields")
        yield f"Object {n}", row


def _array(path: Any, what: str) -> Iterator[Row]:
    yield from objects(array_of(path, what), path, what)


def _table(path: Any, what: str) -> Iterator[Row]:
    lines = lines_of(path, what)
    head = next((line for line in lines if line.strip()), "")
    mark = "\t" if suffix_of(path) == ".tsv" else max(",;\t", key=head.count)
    raw = csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL
    read = csv.reader(chain((head,), lines, (_END,)), delimiter=mark, quoting=raw)
    columns: list[str] = []
    begin = 1
    try:
        for row in read:
            if row and _END in row[-1]:
                if row != [_END]:
                    raise fault(path, what, f"Line {begin}", "opens a quote that is never closed")
            elif not columns:
                columns = row
                _distinct(columns, path, what, "Line 1")
            elif row and any(cell.strip() for cell in row):
                if len(row) != len(columns):
                    raise fault(
                        path, what, f"Line {read.line_num}", f"has {len(row)} cells, where the first line has {len(columns)}",
                        "Put quotes round a cell that holds the separator.",
                    )  # fmt: skip
                yield f"Line {read.line_num}", dict(zip(columns, row))
            begin = read.line_num + 1
    except csv.Error as e:
        raise fault(path, what, f"Line {read.line_num}", f"cannot be read as a table ({e})") from None


def _distinct(columns: Sequence[str], path: Any, what: str, place: str) -> None:
    twice = next((c for c in columns if list(columns).count(c) > 1), None)
    if twice is not None:
        raise fault(path, what, place, f"names the column {twice!r} twice", "Give each its own name.")


def _parquet(path: Any, what: str) -> Iterator[Row]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if not name.startswith("__index_level_")]
            _distinct(names, path, what, "The schema")
            yield from arrow_rows(file.iter_batches(_BATCH, columns=names))
    except (OSError, ValueError, ArrowException) as e:
        why = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise InputError(asked(path, what), f"It cannot be read ({why}).", "Check it.") from None


def arrow_rows(batches: Iterable[Any]) -> Iterator[Row]:
    """The rows of Arrow record batches, told as "Row 1" and so on."""
    parts = (b.slice(at, _BATCH) for b in batches for at in range(0, b.num_rows, _BATCH))
    return counted(row for part in parts for row in part.to_pylist())


def counted(rows: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """Rows of a table without lines, told as "Row 1" and so on."""
    return ((f"Row {n}", row) for n, row in enumerate(rows, 1))


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
