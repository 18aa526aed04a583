"""The catalogue of techniques that the two surveys describe, and which of them this installation implements.

The rows (`techniques.json`) are data: id, name, whether the row belongs to the core, section, and source. A method or
metric names the rows it implements in its class attribute `techniques`; what is implemented by something that is not
registered (a picture, a verb) stands in `ELSEWHERE`. `coverage` joins the two.
"""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from exegete.core.registry import METHODS, METRICS
from exegete.core.value import Value

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "A1": ("exegete explain",),
    "A18": ("unit='word' and the in-order bars of every picture",),
    "A26": ("exegete compare",),
    "B20": ("exegete compare",),
    "N6": ("exegete study",),
    "N7": ("exegete judge",),
    "N10": ("exegete evaluate --truth",),
    "O1": ("exegete evaluate",),
}


class Technique(Value):
    """One row of the catalogue."""

    id: str
    name: str
    core: bool
    section: str
    source: str = ""


class Coverage(Value):
    """A technique and what implements it: ids of methods and metrics, or words for something else. Empty: not yet."""

    technique: Technique
    by: tuple[str, ...] = ()


@cache
def techniques() -> tuple[Technique, ...]:
    """All rows of the catalogue, in its order."""
    text = files("exegete.core").joinpath("techniques.json").read_text(encoding="utf-8")
    return tuple(Technique(**row) for row in json.loads(text))


def coverage() -> tuple[Coverage, ...]:
    """Every technique with what implements it here, plugins included."""
    return join(techniques(), [*METHODS, *METRICS])


def join(rows: Iterable[Technique], things: Iterable[tuple[str, type]]) -> tuple[Coverage, ...]:
    """Rows joined with registered `things` (id, class with `techniques`) and with `ELSEWHERE`."""
    by: dict[str, list[str]] = {row: list(words) for row, words in ELSEWHERE.items()}
    for name, thing in things:
        for row in getattr(thing, "techniques", ()):
            by.setdefault(row, []).append(name)
    return tuple(Coverage(technique=t, by=tuple(by.get(t.id, ()))) for t in rows)
