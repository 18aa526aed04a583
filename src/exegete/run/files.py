"""What a source of rows is made of: one file, the files of a directory, or a data set of the package `datasets`.

    .txt                     a text a line, blank lines left out                           any of these packed with .gz
    .jsonl .csv .tsv .json   as `core.rows` reads them; a .json array is read whole, and may be one of bare strings, each a text
    .parquet                 in batches
    a directory              its files of these kinds, in the order of their relative paths, subdirectories too; hidden files and
                             README and LICENSE are passed over, any other kind is refused before anything is read
    a folder of save_to_disk the rows of its Arrow files, read with pyarrow: `datasets` is not needed
    hf:NAME[:SPLIT]          or hf:NAME:CONFIG:SPLIT, streamed by `datasets` (extra `data`); NAME may be a local folder

Every part gives `core.rows.Row`s one by one. Faults are letters that name the file and the place.
"""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from exegete.core.errors import InputError, MissingExtra, UsageError
from exegete.core.rows import (
    OBJECTS,
    TABLES,
    Row,
    array_of,
    arrow_rows,
    asked,
    counted,
    filled,
    lines_of,
    objects,
    stream,
    suffix_of,
)

WHAT = "rows"  # in letters: "You asked to read rows from ..."
KINDS = (".txt", *OBJECTS, *TABLES)
HUB = "hf:"
_PASSED = ("readme", "license", "licence")


@dataclass(frozen=True)
class Part:
    """One file, or one data set: `path` is what letters call it, `name` its place in the directory ("" outside of one)."""

    path: str
    name: str
    rows: Callable[[], Iterator[Row]]


def parts_of(path: str) -> list[Part]:
    """The parts of a source in order. Raises `InputError` for a path that cannot be read or holds other kinds."""
    if path.startswith(HUB):
        return [Part(path, "", partial(_hub, path))]
    if not path.strip():
        raise UsageError("You asked to read rows.", "The path is empty.", "Name a file or a directory.")
    try:
        folder = stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError) as e:  # ValueError: a zero byte in the name
        raise _unread(path, e) from None
    if not folder:
        return [_file(path, "")]
    if (Path(path) / "dataset_dict.json").is_file():
        return [_one_split(path)]
    if all((Path(path) / name).is_file() for name in ("state.json", "dataset_info.json")):
        return [Part(path, "", partial(_saved, path))]
    parts = [_file(os.path.join(path, *name.split("/")), name) for name in _names(path)]
    if not parts:
        raise InputError(
            asked(path, WHAT), "The directory holds no file.", f"Give files of {', '.join(KINDS)}."
        )
    return parts


def _unread(path: str, e: Exception) -> InputError:
    """The letter about what the system does not give."""
    why = getattr(e, "strerror", None) or str(e).split("\n")[0] or type(e).__name__
    return InputError(asked(path, WHAT), f"It cannot be read ({why}).", "Check the path.")


def _file(path: str, name: str) -> Part:
    kind = suffix_of(path)
    if kind not in KINDS or (kind == ".parquet" and path.lower().endswith(".gz")):
        found = "Its name does not say that it holds rows" if name else "Its kind is unknown"
        raise InputError(
            asked(path, WHAT), f"{found}; known are {', '.join(KINDS)}, and .gz of those of text.",
            "Move it out of the directory, or convert it." if name else "Rename or convert the file.",
        )  # fmt: skip
    read = {".txt": partial(_texts, path), ".json": partial(_array, path)}
    return Part(path, name, read.get(kind, partial(stream, path, WHAT)))


def _names(path: str) -> list[str]:
    """Relative paths of the files under a directory, sorted; links are followed, each directory is entered once."""
    found: list[str] = []
    entered: set[str] = set()

    def refuse(e: OSError) -> None:
        raise _unread(str(e.filename or path), e) from None

    for base, folders, files in os.walk(path, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(base)) in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        kept = (f for f in files if not f.startswith(".") and f.split(".")[0].lower() not in _PASSED)
        found += [Path(base, f).relative_to(path).as_posix() for f in kept]
    for name in found:
        if not name.isascii() and name != name.encode("utf-8", "replace").decode():
            raise InputError(
                asked(path, WHAT), f"The name of the file {name!r} is not valid UTF-8.", "Rename the file."
            )
    return sorted(found)


def _texts(path: str) -> Iterator[Row]:
    lines = ((n, line.rstrip("\r\n")) for n, line in enumerate(lines_of(path, WHAT), 1))
    return filled(((f"Line {n}", {"text": line}) for n, line in lines if line.strip()), path, WHAT)


def _array(path: str) -> Iterator[Row]:
    """The rows of a .json array: objects, or strings as the lines of a .txt."""
    every = array_of(path, WHAT)
    if not all(isinstance(t, str) for t in every):
        return filled(objects(every, path, WHAT), path, WHAT)
    return filled(((f"Text {n}", {"text": t}) for n, t in enumerate(every, 1) if t.strip()), path, WHAT)


def _json(path: Path) -> Any:
    """What a small file of `save_to_disk` says."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise _unread(str(path), e) from None


def _split_names(path: str, names: Iterable[Any], spell: str) -> str:
    """The only split there is."""
    known = [str(n) for n in names]
    if len(known) != 1:
        raise InputError(
            asked(path, WHAT), f"It has {len(known)} splits: {', '.join(known)}.", f"Name one: {spell}."
        )
    return known[0]


def _one_split(path: str) -> Part:
    told = _json(Path(path) / "dataset_dict.json")
    names = told.get("splits") if isinstance(told, dict) else None
    split = _split_names(path, names if isinstance(names, list) else (), f"{path.rstrip('/')}/SPLIT")
    return Part(path, "", partial(_saved, os.path.join(path, split)))


def _saved(path: str) -> Iterator[Row]:
    """The rows of a folder that `datasets` saved: Arrow streams, mapped and not loaded."""
    told = _json(Path(path) / "state.json")
    try:
        names = [str(f["filename"]) for f in told["_data_files"]]
    except (KeyError, TypeError):
        raise InputError(
            asked(path, WHAT), "Its state.json names no Arrow files.", "Save it again with save_to_disk."
        ) from None
    yield from filled(arrow_rows(b for name in names for b in _batches(Path(path) / name)), path, WHAT)


def _batches(path: Path) -> Iterator[Any]:
    from pyarrow import ArrowException, ipc, memory_map

    try:
        with memory_map(str(path)) as file, ipc.open_stream(file) as batches:
            yield from batches
    except (OSError, ValueError, ArrowException) as e:
        raise _unread(str(path), e) from None


def _hub(path: str) -> Iterator[Row]:
    """The rows of a data set that `datasets` finds by its name, streamed."""
    name, *rest = path.removeprefix(HUB).split(":")
    if not all((name, *rest)) or len(rest) > 2:
        raise UsageError(
            f"You asked to read rows from {path!r}.",
            "A data set is named hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT.",
            "Give for instance hf:stanfordnlp/imdb:train.",
        )
    config, split = (rest[0] if len(rest) == 2 else None, rest[-1] if rest else None)
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise MissingExtra("datasets", "data", f"Reading rows from {path!r}") from None
    try:
        found = datasets.load_dataset(name, config, split=split, streaming=True)
        if split is None:
            found = found[_split_names(path, found, f"{path}:SPLIT")]
        yield from filled(counted(found), path, WHAT)
    except (OSError, ValueError, RuntimeError, ImportError, datasets.exceptions.DatasetsError) as e:
        raise InputError(
            asked(path, WHAT),
            f"The package datasets cannot read it ({str(e).split(chr(10))[0] or type(e).__name__}).",
            "Check its name, configuration and split, and that it is here or can be fetched.",
        ) from None
