"""What a verb is given, as texts: words of the command line, a file, or standard input.

.txt and standard input   one text a line, empty lines skipped
.jsonl                    one object a line, field "text"
.json                     a list of such objects, or of texts
.csv                      column "text"

Everything must be UTF-8 text; a byte that is not is named with its place.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exegete.core.embedded import PREFIX
from exegete.core.errors import InputError, UsageError
from exegete.core.rows import kind_of, wide

SUFFIXES = (".txt", ".jsonl", ".json", ".csv")
# files that hold no text a line: read so, their very syntax would be explained
OTHERS = (
    *(".tsv", ".parquet", ".conllu", ".conll", ".gz"),
    *(".exg", ".html", ".npz", ".safetensors"),
)


@dataclass(frozen=True)
class Given:
    """The texts, and whether they came as a set (a file or standard input) rather than as one text."""

    texts: tuple[str, ...]
    many: bool


def given(words: Sequence[str] | None, verb: str) -> Given:
    """The texts that the words of the command line stand for. Raises `UsageError` and `InputError`."""
    if not words:
        raise UsageError(
            f"You ran `exegete {verb}`.",
            "No text was given.",
            f'Give one: exegete {verb} "the food was good"',
        )
    no_model(words, verb)
    if list(words) == ["-"]:
        return Given(_lines(decode(sys.stdin.buffer.read(), "standard input"), "standard input"), True)
    if len(words) == 1 and (path := _file(words[0])) is not None:
        return Given(_read(path), True)
    text = " ".join(words)
    decode(text.encode("utf-8", "surrogateescape"), "the text on the command line")
    if not text.strip():
        raise InputError(
            f"You ran `exegete {verb}` on a text.", "The text is empty.", "Give at least one word."
        )
    return Given((text,), False)


def no_model(words: Sequence[str], verb: str) -> None:
    """Refuse the name of a model, or a folder, in the place of the text: `exegete prove MODEL` invites to it."""
    word = words[0] if len(words) == 1 else ""
    if not word or any(c.isspace() for c in word):
        return
    if word.startswith(PREFIX):
        found = f"Names that begin with {PREFIX!r} are models; the model is named with --model."
    elif _there(Path(word) / "config.json", Path.is_file):
        found = "This folder holds a model; the model is named with --model."
    elif _there(Path(word), Path.is_dir):
        raise UsageError(
            f"You ran `exegete {verb}` on {word!r}.", "That is a folder, neither a text nor a file.", "Name a file in it."
        )  # fmt: skip
    else:
        return
    raise UsageError(f"You ran `exegete {verb}` on {word!r}.", found, f"exegete {verb} --model {word}")


def decode(data: bytes, where: str) -> str:
    """`data` as text. Raises `InputError` naming the byte that is not text, and its place."""
    if letter := wide(data, f"You asked to explain {where}."):
        raise letter
    at, byte = data.find(b"\0"), "a zero byte, so this is binary data"
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        at, byte = e.start, "not valid UTF-8"
    else:
        if at < 0:
            return text
    line = data.count(b"\n", 0, at) + 1
    raise InputError(
        f"You asked to explain {where}.",
        f"Byte {at} (line {line}) is 0x{data[at]:02x}: {byte}.",
        "Give UTF-8 text; `iconv -f latin1 -t utf-8` converts an old file.",
    )


def _file(word: str) -> Path | None:
    """The word as a file: one that is there, or one that by its name should be."""
    path = Path(word)
    named = path.suffix.lower() in SUFFIXES and not any(c.isspace() for c in word)
    there = _there(path, Path.is_file)
    if named and not there:
        raise InputError(
            f"You asked to explain the file {word!r}.",
            "There is no such file.",
            "Check the path; to explain these very words as a text, put a space after them.",
        )
    return path if there else None


def is_file(word: str) -> bool:
    """Whether the word is a file that is there."""
    return _there(Path(word), Path.is_file)


def _there(path: Path, test: Callable[[Path], bool]) -> bool:
    try:
        return test(path)
    except (OSError, ValueError):  # a long text, or one with a zero byte, is no path
        return False


def _read(path: Path) -> tuple[str, ...]:
    if path.suffix.lower() in OTHERS:
        raise InputError(
            f"You asked to explain the texts in {str(path)!r}.",
            f"Texts are read from {', '.join(SUFFIXES)}; a {path.suffix} file holds no text a line.",
            'Convert it: one text a line, or lines such as {"text": "the food was good"}.',
        )
    try:
        data = path.read_bytes()
    except OSError as e:
        raise InputError(
            f"You asked to explain {str(path)!r}.", f"It cannot be read ({e.strerror}).", "Check it."
        ) from None
    text = decode(data, repr(str(path)))
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return _some(_jsonl(text, path), str(path))
    if suffix == ".json":
        return _some(_json(text, path), str(path))
    if suffix == ".csv":
        return _some(_csv(text, path), str(path))
    return _lines(text, str(path))


def _lines(text: str, where: str) -> tuple[str, ...]:
    return _some([line for line in text.splitlines() if line.strip()], where)


def _jsonl(text: str, path: Path) -> list[str]:
    texts = []
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as e:
            raise InputError(
                f"You asked to explain {str(path)!r}.", f"Line {n} is not JSON ({e.msg}).", "Mend the line."
            ) from None
        texts.append(_text(row, path, f"Line {n}"))
    return texts


def _json(text: str, path: Path) -> list[str]:
    asked = f"You asked to explain {str(path)!r}."
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as e:
        raise InputError(asked, f"Line {e.lineno} is not JSON ({e.msg}).", "Mend the line.") from None
    if not isinstance(rows, list):
        raise InputError(
            asked, f"It holds {_kind(rows)}, no list.", 'Give a list: ["one text", "another"], or of {"text": "..."}.'
        )  # fmt: skip
    return [r if isinstance(r, str) else _text(r, path, f"Object {n}") for n, r in enumerate(rows, 1)]


def _text(row: object, path: Path, place: str) -> str:
    """The text of a row. Raises `InputError` where it has none."""
    if isinstance(row, dict) and isinstance(row.get("text"), str):
        return row["text"]
    raise InputError(
        f"You asked to explain {str(path)!r}.",
        f"{place} has no field 'text' that holds a string; it has {_kind(row)}.",
        'Each row is an object such as {"text": "the food was good"}.',
    )


def _kind(value: object) -> str:
    """What a value of JSON is, in words; of an object the fields."""
    if isinstance(value, dict):
        return f"the fields {', '.join(value)}" if value else "no field at all"
    return kind_of(value)


def _csv(text: str, path: Path) -> list[str]:
    rows = csv.DictReader(io.StringIO(text))
    if "text" not in (rows.fieldnames or ()):
        raise InputError(
            f"You asked to explain {str(path)!r}.",
            f"It has no column 'text'; its columns are {', '.join(rows.fieldnames or ('none',))}.",
            "Name the column of texts 'text' in the first line.",
        )
    return [row["text"] or "" for row in rows]


def _some(texts: Sequence[str], where: str) -> tuple[str, ...]:
    empty = next((i for i, t in enumerate(texts, 1) if not t.strip()), None)
    if empty is not None or not texts:
        raise InputError(
            f"You asked to explain {where}.",
            "It holds no text." if not texts else f"Text {empty} of {len(texts)} is empty.",
            "Give at least one word in every text.",
        )
    return tuple(texts)
