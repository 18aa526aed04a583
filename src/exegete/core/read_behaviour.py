"""Contrast sets and tests of capabilities, from files. The form is told by the fields of a row.

    {"original": {"text", "pair"?, "label"}, "contrast": [{"text", "label"}, ...], "id"?}       a contrast set a row
    {"set", "text", "pair"?, "label", "original"?: true}          a text a row; texts of one set together, its original first or marked
    Sentiment, Text, batch_id                                     counterfactually revised pairs (asked for as contrast sets)
    {"name", "capability", "type": "MFT" | "INV" | "DIR", "examples": [...], "label"?, "not_label"?, "expect"?}      a test a row, or
                                                                  {"tests": [...]} of them in one .json

An example of an MFT is {"text", "pair"?, "label"?}, or a text alone; of INV and DIR a list of texts, or {"original", "contrast":
[...]}. Every fault is a letter that names its line, a fault in an example its number too. A set with a single text is left out and
listed. References: Gardner et al. 2020; Ribeiro et al. 2020; Kaushik et al. 2020.
"""

from collections.abc import Sequence
from typing import Any, cast

from exegete.core.behaviour import BehaviourCase, BehaviourTest, ContrastSet, Expectation, Kind
from exegete.core.errors import ExegeteError, InputError
from exegete.core.request import Text
from exegete.core.rows import OBJECTS, TABLES, Row, asked, fault, rows_under, suffix_of

SETS, TESTS = "contrast sets", "tests of capabilities"
KINDS = ("MFT", "INV", "DIR")
_NESTED, _FLAT = {"original", "contrast"}, {"set", "text", "label"}
_MARKED = {"marks", "rationale", "rationales"}  # what makes a file one of rationales, whatever else it holds
_TEST, _REVISED = {"type", "examples"}, {"Sentiment", "Text", "batch_id"}


def is_behaviour(path: str) -> bool:
    """Whether a file has the form of contrast sets or of tests, told by its first row."""
    if suffix_of(path) not in (*OBJECTS, *TABLES):
        return False
    try:
        fields = set(rows_under(path, TESTS, "tests")[0][1])
    except InputError:
        return False  # whoever reads it says what is wrong
    return not fields & _MARKED and any(form <= fields for form in (_NESTED, _FLAT, _TEST))


def read_behaviour(path: str) -> tuple[tuple[ContrastSet, ...] | tuple[BehaviourTest, ...], tuple[str, ...]]:
    """What a file holds, and in words what was left out. Raises `InputError` naming the line that does not fit."""
    rows = rows_under(path, TESTS, "tests")
    fields = set(rows[0][1])
    if fields >= _TEST:
        return tuple(_test(row, path) for row in rows), ()
    for needed, read in ((_NESTED, _nested), (_FLAT, _flat), (_REVISED, _revised)):
        if needed <= fields:
            return _kept(read(rows, path), path)
    raise InputError(
        asked(path, f"{SETS} or {TESTS}"),
        f"Its rows have the fields {', '.join(sorted(fields))}, which is no form known here.",
        'Give rows with "original" and "contrast", with "set", "text" and "label", or with "type" and "examples".',
    )


def _kept(
    drafts: Sequence[tuple[str, str, list[tuple[Text, str]]]], path: str
) -> tuple[tuple[ContrastSet, ...], tuple[str, ...]]:
    found, skipped = [], []
    for place, name, texts in drafts:
        if len(texts) < 2:
            skipped.append(f"{place}: set {name} has a single text")
            continue
        found.append(
            ContrastSet(texts=tuple(t for t, _ in texts), labels=tuple(x for _, x in texts), id=name)
        )
    if not found:
        raise InputError(
            asked(path, SETS),
            f"None of its {len(skipped)} sets has a second text ({skipped[0]}).",
            "Give an original and at least one text that differs from it a set.",
        )
    return tuple(found), tuple(skipped)


def _nested(rows: Sequence[Row], path: str) -> list[tuple[str, str, list[tuple[Text, str]]]]:
    found = []
    for n, (place, row) in enumerate(rows, 1):
        others = row["contrast"]
        if not isinstance(others, list):
            raise fault(path, SETS, place, 'has a "contrast" that is no list of texts')
        texts = [_labelled(x, path, place) for x in (row["original"], *others)]
        found.append((place, str(row.get("id", n)), texts))
    return found


def _flat(rows: Sequence[Row], path: str) -> list[tuple[str, str, list[tuple[Text, str]]]]:
    found: dict[str, tuple[str, str, list[tuple[Text, str]]]] = {}
    for place, row in rows:
        name = str(row.get("set", ""))
        one = _labelled(row, path, place)
        _, _, texts = found.setdefault(name, (place, name, []))
        texts.insert(0 if str(row.get("original", "")).lower() in ("true", "1", "yes") else len(texts), one)
    return list(found.values())


def _revised(rows: Sequence[Row], path: str) -> list[tuple[str, str, list[tuple[Text, str]]]]:
    named = [
        (place, {"set": row["batch_id"], "text": row["Text"], "label": str(row["Sentiment"]).lower()})
        for place, row in rows
    ]
    return _flat(named, path)


def _labelled(given: Any, path: str, place: str) -> tuple[Text, str]:
    if not isinstance(given, dict):
        raise fault(path, SETS, place, f"has {given!r:.40} where a text with its label belongs")
    label = given.get("label")
    if label is None or isinstance(label, (list, dict)) or not str(label).strip():
        raise fault(path, SETS, place, "has a text without a label")
    return _text(given, path, SETS, place), str(label).strip()


def _text(given: Any, path: str, what: str, place: str) -> Text:
    text = given.get("text") if isinstance(given, dict) else given
    pair = given.get("pair") if isinstance(given, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise fault(path, what, place, f"has no text ({text!r:.40})")
    if pair is not None and not isinstance(pair, str):
        raise fault(path, what, place, f"has the second text {pair!r:.40}, which is none")
    return Text(text=text, pair=pair)


def _test(given: Row, path: str) -> BehaviourTest:
    place, row = given
    kind = str(row["type"]).upper()
    if kind not in KINDS:
        raise fault(path, TESTS, place, f"has the type {row['type']!r:.30}", f"Types are {', '.join(KINDS)}.")
    for name in ("name", "capability"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise fault(path, TESTS, place, f"has no {name!r}")
    examples = row["examples"]
    if not isinstance(examples, list) or not examples:
        raise fault(path, TESTS, place, "has no list of examples")
    usual = {k: row[k] for k in ("label", "not_label") if k in row}
    expect = row.get("expect")
    try:
        return BehaviourTest(
            name=row["name"],
            capability=row["capability"],
            kind=cast(Kind, kind),
            cases=tuple(
                _case(x, kind, usual, path, f"{place}, example {n}") for n, x in enumerate(examples, 1)
            ),
            expect=None if expect is None else _expected(expect, path, place),
        )
    except ExegeteError as e:
        if e.asked == asked(path, TESTS):
            raise
        raise fault(path, TESTS, place, f"does not fit: {e.found.rstrip('.')}", e.do) from None


def _case(given: Any, kind: str, usual: dict[str, Any], path: str, place: str) -> BehaviourCase:
    if kind == "MFT":
        own = {k: given[k] for k in ("label", "not_label") if k in given} if isinstance(given, dict) else {}
        said = own or usual
        label = said.get("label", said.get("not_label", ""))
        return BehaviourCase(
            texts=(_text(given, path, TESTS, place),),
            label=str(label).strip(),
            negated="label" not in said and "not_label" in said,
        )
    if isinstance(given, dict):
        others = given.get("contrast")
        given = [given.get("original"), *others] if isinstance(others, list) else None
    if not isinstance(given, list):
        raise fault(path, TESTS, place, "is no list of an original and perturbed texts")
    return BehaviourCase(texts=tuple(_text(x, path, TESTS, place) for x in given))


def _expected(given: Any, path: str, place: str) -> Expectation:
    if not isinstance(given, dict) or not set(given) <= set(Expectation.model_fields):
        raise fault(
            path, TESTS, place, f"expects {given!r:.60}",
            'Write "expect": {"change": "up", "label": "positive", "by": 0.1}.',
        )  # fmt: skip
    return Expectation(**given)
