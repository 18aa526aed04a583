"""Labelled texts from files.

.jsonl (.gz)        {"text": ..., "label": ...}                                          a whole text with its label
                    {"text": ..., "targets": [{"span1": [s, e], "span2": [s, e], "label": ...}], "unit": "word"}
                    stretches, or pairs of them, in words (blanks part them) or characters; the end is not included. Without
                    `unit` the numbers must fit one of both readings only: words that there are, or the edges of words
.csv .tsv .parquet  a column of texts and one of labels, named or called as usual (text, sentence, ...; label, class, ...)
.conll .bio .iob    a token and its tag a line, an empty line after a sentence (named entities): a word a mark
.conllu             parsed sentences

A column or field `group` says which texts belong together (the same city, the same author): no split parts them.
Labels are class names; they become numbers where the study asks for numbers, or where some are fractions. Several numbers in a
list (latitude and longitude) stay together. Every fault is a letter that names its line.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from exegete.core.conllu import read_conllu
from exegete.core.errors import InputError
from exegete.core.material import Mark, Marked, Parsed, Tag
from exegete.core.rows import (
    OBJECTS,
    TABLES,
    TEXT,
    Row,
    asked,
    column_of,
    fault,
    read_text,
    rows_of,
    suffix_of,
)

Unit = Literal["word", "character"]
BIO = (".conll", ".bio", ".iob", ".iob2")
SUFFIXES = (".jsonl", ".json", *TABLES, *BIO, ".conllu")
LABEL = ("label", "labels", "class", "category", "target", "sentiment", "tag", "y")
_WHAT = "labelled texts"
_TAG = re.compile(r"O|[BIESLU]-\S.*")
Spans = tuple[tuple[int, int], ...]


def read_marked(
    path: str, *, text: str | None = None, label: str | None = None, unit: Unit | None = None, numbers: bool = False,
    group: str | None = None,
) -> tuple[Marked, ...] | tuple[Parsed, ...]:  # fmt: skip
    """The labelled texts of a file. `text`, `label` and `group` name columns or fields, `unit` what spans count, `numbers`: labels
    are.

    Raises `InputError` naming the line that does not fit.
    """
    kind = suffix_of(path)
    if kind == ".conllu":
        return read_conllu(path)
    if kind in BIO:
        return _tagged(path)
    if kind not in SUFFIXES:
        raise InputError(
            asked(path, _WHAT), f"Its name does not say what it holds; known are {', '.join(SUFFIXES)}.",
            "Rename the file.",
        )  # fmt: skip
    rows = rows_of(path, _WHAT)
    tie = None if group is None else column_of(rows, group, (), path, _WHAT, "group")
    if kind in OBJECTS and any(isinstance(row.get("targets"), list) for _, row in rows):
        drafts = _stretches(rows, path, text or "text", label or "label", unit)
    else:
        drafts = _whole(rows, path, text, label)
    ties = {place: row.get(tie or "group") for place, row in rows} if tie or label != "group" else {}
    return _made(drafts, ties, path, numbers)


Draft = tuple[str, str, list[tuple[Any, Spans]]]  # place, text, (label, spans) of every mark


def _whole(rows: Sequence[Row], path: str, text: str | None, label: str | None) -> list[Draft]:
    said = column_of(rows, text, TEXT, path, _WHAT, "text")
    told = column_of(rows, label, LABEL, path, _WHAT, "label")
    return [(place, _text(row.get(said), path, place, said), [(row.get(told), ())]) for place, row in rows]


def _stretches(rows: Sequence[Row], path: str, text: str, label: str, unit: Unit | None) -> list[Draft]:
    """Texts with targets, whose spans are read in the one unit that fits the whole file."""
    read: list[tuple[str, str, list[tuple[Any, Spans]], Unit | None]] = []
    for place, row in rows:
        said = _text(row.get(text), path, place, text)
        targets = row.get("targets")
        if not isinstance(targets, list) or not targets:
            raise fault(path, _WHAT, place, "has no list of targets")
        marks = [(_of_target(t, label, path, place), _spans(t, path, place)) for t in targets]
        read.append((place, said, marks, _unit(row, path, place)))
    guess = unit or (None if all(own for *_, own in read) else _guessed(read, path))
    found = []
    for place, said, marks, own in read:
        how = unit or own or guess or "word"
        found.append((place, said, [(a, _characters(said, s, how, path, place)) for a, s in marks]))
    return found


def _unit(row: dict[str, Any], path: str, place: str) -> Unit | None:
    found = row.get("unit")
    if found in (None, "word", "character"):
        return found
    raise fault(path, _WHAT, place, f"counts spans in {found!r}", 'Write "unit": "word" or "character".')


def _guessed(read: Sequence[tuple[str, str, Any, Unit | None]], path: str) -> Unit:
    """The one unit in which every span that says none makes sense. Raises `InputError` where both do, or neither."""
    fits: dict[Unit, str] = {}  # unit -> place of the first span that does not fit it
    for place, said, marks, own in read:
        if own:
            continue
        spans = [s for _, pair in marks for s in pair]
        n = len(said.split())
        if "word" not in fits and not all(0 <= a < b <= n for a, b in spans):
            fits["word"] = place
        if "character" not in fits and not all(_at_edges(said, a, b) for a, b in spans):
            fits["character"] = place
    if len(fits) == 1:
        return "character" if "word" in fits else "word"
    if fits:
        raise fault(
            path, _WHAT, fits["word"], f"has a span that lies outside its words, and {fits['character'].lower()} one that cuts "
            "through a word if characters are counted", "Mend the spans, or say what they count: \"unit\": \"word\" or --spans.",
        )  # fmt: skip
    raise InputError(
        asked(path, _WHAT),
        "Its spans make sense as words and as characters.",
        'Say which: write "unit": "word" (or "character") in each line, or give --spans word.',
    )


def _at_edges(text: str, start: int, end: int) -> bool:
    """Whether characters start to end are whole words."""
    if not 0 <= start < end <= len(text) or text[start:end] != text[start:end].strip():
        return False
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (before.isalnum() and text[start].isalnum()) and not (
        after.isalnum() and text[end - 1].isalnum()
    )


def _characters(text: str, spans: Spans, unit: Unit, path: str, place: str) -> Spans:
    """Spans in characters. Raises `InputError` for one that lies outside the text."""
    words = [(m.start(), m.end()) for m in re.finditer(r"\S+", text)] if unit == "word" else []
    size = len(words) if unit == "word" else len(text)
    wrong = next((s for s in spans if not 0 <= s[0] < s[1] <= size), None)
    if wrong is not None:
        raise fault(
            path,
            _WHAT,
            place,
            f"marks {list(wrong)} in a text of {size} {unit}s",
            "Count from 0; the end is not included.",
        )
    return tuple((words[a][0], words[b - 1][1]) if unit == "word" else (a, b) for a, b in spans)


def _spans(target: Any, path: str, place: str) -> Spans:
    found = []
    for name in ("span1", "span2"):
        span = target.get(name)
        if span is None and (name == "span2" or "span1" not in target):
            continue
        if not isinstance(span, list) or len(span) != 2 or not all(isinstance(x, int) for x in span):
            raise fault(path, _WHAT, place, f"has the {name} {span!r}, no [start, end]")
        found.append((span[0], span[1]))
    if not found:
        raise fault(path, _WHAT, place, "has a target without span1")
    return tuple(found)


def _of_target(target: Any, label: str, path: str, place: str) -> Any:
    if not isinstance(target, dict) or label not in target:
        raise fault(path, _WHAT, place, f"has a target without {label!r}")
    return target[label]


def _tagged(path: str) -> tuple[Marked, ...]:
    """Sentences of a token and its tag a line; the tag is the last column."""
    found: list[Marked] = []
    words: list[tuple[str, str]] = []
    for n, line in enumerate([*read_text(path, _WHAT).splitlines(), ""], 1):
        cells = line.split("\t") if "\t" in line else line.split()
        cells = [c.strip() for c in cells]
        if any(cells) and cells[0] != "-DOCSTART-":
            words.append(_token(cells, path, n))
        elif words:
            found.append(_sentence(words))
            words = []
    if not found:
        raise InputError(asked(path, _WHAT), "It holds no sentence.", "Write a token and its tag a line.")
    return tuple(found)


def _token(cells: list[str], path: str, n: int) -> tuple[str, str]:
    if len(cells) < 2 or not cells[0] or any(c.isspace() for c in cells[0]):
        raise fault(
            path,
            _WHAT,
            f"Line {n}",
            f"has {len([c for c in cells if c])} columns; a token and its tag are needed",
        )
    if not _TAG.fullmatch(cells[-1]):
        raise fault(
            path,
            _WHAT,
            f"Line {n}",
            f"has the tag {cells[-1]!r}",
            "Tags are O, B-NAME and I-NAME (or E-, S-).",
        )
    return cells[0], cells[-1]


def _sentence(words: Sequence[tuple[str, str]]) -> Marked:
    marks, at = [], 0
    for word, tag in words:
        marks.append(Mark(label=tag, spans=((at, at + len(word)),)))
        at += len(word) + 1
    return Marked(text=" ".join(w for w, _ in words), marks=tuple(marks))


def _text(value: Any, path: str, place: str, name: str) -> str:
    if not isinstance(value, str):
        raise fault(path, _WHAT, place, f"has no text in {name!r} (it holds {value!r:.40})")
    if not value.strip():
        raise fault(path, _WHAT, place, "has an empty text")
    return value


def _made(drafts: Sequence[Draft], ties: Mapping[str, Any], path: str, numbers: bool) -> tuple[Marked, ...]:
    """Marked texts, every label of the same kind."""
    labels = [(place, label) for place, _, marks in drafts for label, _ in marks]
    for place, label in labels:
        if _missing(label):
            raise fault(path, _WHAT, place, "has no label")
    several = any(isinstance(label, (list, tuple)) for _, label in labels)
    fractions = all(_number(x) is not None for _, x in labels) and any(
        (_number(x) or 0) % 1 for _, x in labels
    )
    make = _several if several else _numeric if numbers or fractions else _named
    return tuple(
        Marked(
            text=text,
            marks=tuple(Mark(label=make(x, path, place), spans=s) for x, s in marks),
            group="" if _missing(ties.get(place)) else str(ties[place]).strip(),
        )
        for place, text, marks in drafts
    )


def _missing(label: Any) -> bool:
    return label is None or label == "" or (isinstance(label, float) and math.isnan(label))


def _number(label: Any) -> float | None:
    """The label as a finite number, or None where it is none."""
    if isinstance(label, (list, tuple, dict, bool)):
        return None
    try:
        found = float(label)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _numeric(label: Any, path: str, place: str) -> Tag:
    found = _number(label)
    if found is None:
        raise fault(path, _WHAT, place, f"has the label {label!r:.40}, where numbers are asked for")
    return found


def _several(label: Any, path: str, place: str) -> Tag:
    parts = label if isinstance(label, (list, tuple)) else [label]
    found = [_number(p) for p in parts]
    if any(f is None for f in found) or not found:
        raise fault(
            path,
            _WHAT,
            place,
            f"has the labels {label!r:.60}",
            "Give one label, or a list of numbers, everywhere.",
        )
    return tuple(f for f in found if f is not None)


def _named(label: Any, path: str, place: str) -> Tag:
    if isinstance(label, dict):
        raise fault(path, _WHAT, place, f"has the label {label!r:.40}, no name")
    whole = not isinstance(label, (str, bool)) and _number(label) is not None and float(label) % 1 == 0
    return str(int(label)) if whole else str(label).strip()
