"""Reading what a language model answered: lists, numbers, choices. What cannot be read is None, to be counted as failed.

A line of a list starts with a number and a point or bracket, a dash or a bullet, and white space after it; so "1990s were
good" and "3.5 metres" stay whole. Cost: linear in the text.
"""

import re

_ITEM = re.compile(r"^\s*(?:\d{1,3}[.):]|[-*•–])\s+(?P<words>.+?)\s*$")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_QUOTES = "\"'“”‘’`*"


def listed(text: str, most: int | None = None) -> tuple[str, ...] | None:
    """The items of a numbered or bulleted list; of a text without any, its lines; None for an empty answer."""
    lines = [line for line in text.splitlines() if line.strip()]
    items = [m["words"] for line in lines if (m := _ITEM.match(line))]
    found = [x.strip().strip(_QUOTES).strip() for x in (items or lines)]
    found = [x for x in found if x][:most]
    return tuple(found) or None


def numbers(text: str, n: int, low: float, high: float) -> tuple[float, ...] | None:
    """Exactly `n` numbers between `low` and `high`; None where there are more, fewer, or others.

    A list is read by its items, so that their own numbers are not counted.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    items = [m["words"] for line in lines if (m := _ITEM.match(line))]
    found = [float(x) for x in _NUMBER.findall("\n".join(items) or text)]
    if len(found) != n or any(not low <= x <= high for x in found):
        return None
    return tuple(found)


def chosen(text: str, options: tuple[str, ...]) -> int | None:
    """Which option an answer names: the only one that it holds as a word, whatever the case; None where it names none or several."""
    hits = [
        i for i, o in enumerate(options) if re.search(rf"(?<!\w){re.escape(o)}(?!\w)", text, re.IGNORECASE)
    ]
    return hits[0] if len(hits) == 1 else None
