"""The input of a run: rows of files, one by one, with an id and a place each, whatever their number.

1. the source is taken apart into files (`run.files`), each read as a stream (`core.rows.stream`);
2. the columns of each file are settled on its first row: of the text (named, or of a usual name), of the id (named, or "id"), and
   those that are kept. The text is given under "text"; values become plain JSON data;
3. ids must differ: an 8-byte hash of each is kept in a table at most two thirds full; where a hash comes again the rows are
   read once more up to there, to compare the ids themselves and to name both places.

What does not fit is a letter that names the file and the place, raised when its row is reached. Nothing is left out in silence:
only blank lines, hidden files, README and LICENSE of a directory are passed over.

Memory: a line (of Parquet and Arrow a batch, of a .json array the file), and 12 to 24 bytes an id where ids are the user's own or
there are several files. Cost: one pass.
"""

import datetime as dt
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from exegete.core.errors import InputError, UsageError
from exegete.core.rows import TEXT, Row, asked, column_of, fault
from exegete.run.files import WHAT, Part, parts_of


@dataclass(frozen=True)
class SourceRow:
    """One row.

    `id`     the user's own; else the number of its place: "3", in a directory "FILE:3"
    `place`  what a letter says: "Line 3" of a text file (the last line, where a row has several), "Row 3" of a table without
             lines, "Object 3" of a .json array ("Text 3" of one of strings); in a directory "Line 3 of FILE"
    `fields` plain JSON data by column; the text is under "text"
    """

    id: str
    place: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Source:
    """Where rows are read from.

    `path`    a file, a directory, or a data set: see `run.files`
    `text`    column of the text, given as "text"; None: the first of the usual names; "": rows have no text
    `id`      column of the id; None: "id" where the first row of a file has one; "": places are ids
    `columns` what is kept besides the text; None: all. A row without one of them has None there
    `limit`   how many rows at most

    Raises `UsageError` for a limit below one.
    """

    path: str
    text: str | None = None
    id: str | None = None
    columns: tuple[str, ...] | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(
                f"You asked for {self.limit} rows of {self.path!r}.",
                "That is no row.",
                "Ask for one at least.",
            )

    def rows(self) -> Iterator[SourceRow]:
        """The rows in order. Raises `InputError` for what cannot be read or does not fit, when it is reached."""
        ids = _Ids()
        for n, (row, watched) in enumerate(islice(self._rows(), self.limit)):
            if watched and not ids.add(row.id):
                self._differs(row, n)
            yield row

    def _differs(self, row: SourceRow, n: int) -> None:
        """Raises `InputError` where one of the first `n` rows has the id of this one (and not the hash of it alone)."""
        first = next((r for r, _ in islice(self._rows(), n) if r.id == row.id), None)
        if first is not None:
            raise InputError(
                asked(self.path, WHAT),
                f"The id {row.id!r} stands twice: {first.place} and {row.place}.",
                "Give each row an id of its own, or take the places as ids (an empty name of the id column).",
            )

    def _rows(self) -> Iterator[tuple[SourceRow, bool]]:
        """The rows, and whether ids may come twice."""
        for part in parts_of(self.path):
            columns: _Columns | None = None
            for row in part.rows():
                columns = columns or _settled(self, row, part)
                yield columns.read(row, part), bool(part.name) or columns.id is not None


@dataclass(frozen=True)
class _Columns:
    """The columns of one file: of the text, of the id, and those that are kept (None: all)."""

    text: str | None
    id: str | None
    kept: tuple[str, ...] | None

    def read(self, row: Row, part: Part) -> SourceRow:
        """A row as it is given on."""
        place, found = row
        kept = found if self.kept is None else self.kept
        fields = {c: _plain(found.get(c), part, place, c) for c in kept if c != self.text}
        if self.text is not None:
            fields = {"text": self._said(found, part, place, self.text), **fields}
        number = place.rsplit(" ", 1)[1]
        name = f"{part.name}:{number}" if part.name else number
        if self.id is not None:
            name = self._named(found, part, place, self.id)
        return SourceRow(name, f"{place} of {part.name}" if part.name else place, fields)

    def _said(self, row: dict[str, Any], part: Part, place: str, column: str) -> str:
        text = _there(row, part, place, column)
        if not isinstance(text, str):
            kind = "null" if text is None else f"a {type(text).__name__}"
            raise fault(
                part.path, WHAT, place, f"has {kind} in {column!r}, no text", "Give every row a text."
            )
        if not text.strip():
            raise fault(part.path, WHAT, place, f"has an empty text in {column!r}", "Give every row a text.")
        return _plain(text, part, place, column)

    def _named(self, row: dict[str, Any], part: Part, place: str, column: str) -> str:
        name = _plain(_there(row, part, place, column), part, place, column)
        if name is None or (isinstance(name, str) and not name.strip()):
            raise fault(part.path, WHAT, place, f"has an empty id in {column!r}", "Give every row an id.")
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise fault(
                part.path, WHAT, place, f"has a {type(name).__name__} as its id in {column!r}",
                "Ids are words or numbers.",
            )  # fmt: skip
        return str(name)


def _settled(source: Source, first: Row, part: Part) -> _Columns:
    """The columns of a file by its first row. Raises `InputError` where one that is named is not there."""

    def named(column: str | None, usual: tuple[str, ...], of: str) -> str:
        return column_of([first], column, usual, part.path, WHAT, of)

    text = None if source.text == "" else named(source.text, TEXT, "text")
    own = source.id if source.id is not None else "id" if "id" in first[1] else ""
    name = named(own, (), "id") if own else None
    kept = None if source.columns is None else tuple(named(c, (), "column") for c in source.columns)
    if text not in (None, "text") and "text" in (first[1] if kept is None else kept):
        raise InputError(
            asked(part.path, WHAT),
            f"The text is taken from {text!r}, and there is a column 'text' too, which it would replace.",
            "Rename one of them, or say which columns are kept.",
        )
    return _Columns(text, name, kept)


def _there(row: dict[str, Any], part: Part, place: str, column: str) -> Any:
    if column not in row:
        shown = ", ".join(row) or "none"
        raise fault(part.path, WHAT, place, f"has no field {column!r}; its fields are {shown}", "Add it.")
    return row[column]


def _plain(value: Any, part: Part, place: str, column: str) -> Any:
    """A value as JSON data: dates in ISO 8601, spans of time in seconds, decimals as numbers, numbers that are none (NaN) as null.

    Raises `InputError` for what JSON cannot hold: binary data, infinite numbers, half a surrogate pair.
    """
    try:
        return plain(value)
    except _NotPlain as e:
        raise fault(
            part.path, WHAT, place, f"has {e} in {column!r}, which is no plain data", "Mend it, or leave the column out.",
        ) from None  # fmt: skip


class _NotPlain(Exception):
    """What a value is that cannot become JSON data, in words."""


def plain(value: Any) -> Any:
    """`value` as JSON data. Raises `_NotPlain` naming what it is instead."""
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _NotPlain("half a surrogate pair") from None
        return value
    if value is None or kind is int or kind is bool:
        return value
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.date | dt.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, Decimal):
        return (
            int(value) if value.is_finite() and value == value.to_integral_value() else _number(float(value))
        )
    if isinstance(value, str | UUID):
        return plain(str(value))
    if hasattr(value, "tolist"):  # numpy
        return plain(value.tolist())
    if hasattr(value, "as_py"):  # pyarrow
        return plain(value.as_py())
    raise _NotPlain(f"a value of the kind {kind.__name__}")


def _number(value: float) -> float | None:
    if math.isinf(value):
        raise _NotPlain("an infinite number")
    return None if math.isnan(value) else value


class _Ids:
    """Which ids were seen, by hashes of 8 bytes in one table with open addressing; 0 is a free place."""

    def __init__(self) -> None:
        self._table, self._n = array("Q", bytes(8 << 10)), 0

    def add(self, name: str) -> bool:
        """Whether the hash is new."""
        if 3 * self._n >= 2 * len(self._table):
            old, self._table = self._table, array("Q", bytes(16 * len(self._table)))
            for code in old:
                if code:
                    self._put(code)
        new = self._put(hash(name) & 0xFFFF_FFFF_FFFF_FFFF or 1)
        self._n += new
        return new

    def _put(self, code: int) -> bool:
        table, last = self._table, len(self._table) - 1
        at = code & last
        while table[at]:
            if table[at] == code:
                return False
            at = (at + 1) & last
        table[at] = code
        return True
