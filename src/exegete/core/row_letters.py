"""The letter about a row of a file that cannot become a pair or a fact: which row, which field, what was there, what may be.

1. a field that is needed and missing is named, with the fields that the row has;
2. else the field whose value is of the wrong kind, with that value;
3. else what the value itself found wrong (a prompt that does not name its subject).

The last sentence is the same in all three: the fields of a row, and one line of JSON as an example.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from exegete.core.errors import ExegeteError, InputError
from exegete.core.request import Text
from exegete.core.rows import fault


@dataclass(frozen=True)
class Form:
    """What a row of one kind holds: its fields in words, which are needed, which are texts, and an example."""

    what: str
    fields: Mapping[str, str]
    needed: tuple[str, ...]
    example: Mapping[str, Any]
    texts: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The fields and an example, as the last sentence of a letter."""
        free = [f for f in self.fields if f not in self.needed]
        named = f"Needed: {', '.join(self.needed)}. Allowed beside: {', '.join(free)}."
        return f"{named}\nA row such as {json.dumps(self.example, ensure_ascii=False)}"


_ANSWER = "a word, a number or null"
PAIR = Form(
    what="pairs",
    fields={"clean": "a text", "corrupt": "a text", "answer": _ANSWER, "against": _ANSWER, "id": "a text"},
    needed=("clean",),
    texts=("clean", "corrupt"),
    example={
        "clean": "Mary and John went out. John gave it to",
        "corrupt": "Mary and John went out. Mary gave it to",
        "answer": " Mary",
        "against": " John",
    },
)
FACT = Form(
    what="facts",
    fields={
        **dict.fromkeys(("prompt", "subject", "answer", "new", "relation"), "a text"),
        "paraphrases": "a list of texts",
        "neighbours": "a list of [prompt, answer]",
        "id": "a text",
    },
    needed=("prompt", "subject", "answer"),
    example={"prompt": "The capital of France is", "subject": "France", "answer": " Paris"},
)


def unfit(
    form: Form, row: Mapping[str, Any], error: Exception, path: str | PathLike[str], place: str
) -> InputError:
    """The letter about `row`, from which a value could not be made because of `error`."""
    missing = [f for f in form.needed if row.get(f) is None]
    if missing:
        noun = "field" if len(missing) == 1 else "fields"
        has = f"its fields are {', '.join(map(str, row))}" if row else "it has none at all"
        found = f"has no {noun} {', '.join(map(repr, missing))}; {has}"
    elif field := _wrong(form, row, error):
        found = f"has {_shown(row[field])} in {field!r}, where {form.fields[field]} is wanted"
    else:
        why = error.found if isinstance(error, ExegeteError) else str(error)
        found = f"does not fit: {why.strip().rstrip('.')}"
        if isinstance(error, ExegeteError) and error.do:
            return fault(path, form.what, place, found, f"{error.do}\n{form.said}")
    return fault(path, form.what, place, found, form.said)


def _wrong(form: Form, row: Mapping[str, Any], error: Exception) -> str:
    """The field whose value is of the wrong kind; empty where it is none of them."""
    for field in form.texts:
        try:
            if isinstance(value := row.get(field), dict):
                Text(**value)
            elif value is not None:
                Text.of(value)
        except (ExegeteError, TypeError):
            return field
    said = error.asked if isinstance(error, ExegeteError) else ""
    return next((f for f in form.fields if f in row and said.startswith(f"You set {f!r} of ")), "")


def _shown(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False, default=str)
    return line if len(line) <= 40 else line[:39] + "…"
