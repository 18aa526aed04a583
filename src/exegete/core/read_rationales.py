"""Texts with what people marked in them, from the files the field publishes. The form is told by the fields of a row.

    {"text", "pair"?, "label"?, "marks": [[[s, e], ...], ...]}       stretches in characters, one list an annotator (or one list alone)
    {"tokens", "rationale": [0, 1, ...] | [[...], ...], "label"?}    a mark a token, for one annotator or several
    {"post_tokens", "rationales", "annotators"}                      HateXplain
    Sentence1, Sentence2, gold_label, Sentence1_marked_1, ...        e-SNLI: marked words stand between asterisks
    {"id", "explanation": {"selected"}}                              CoS-E, with the questions in *rand_split.jsonl beside it
    Sentiment, Text, batch_id                                        counterfactually revised pairs: what was changed is marked
    {"sentence_good", "sentence_bad"}                                minimal pairs: likewise, in the acceptable one
    (3 (2 It) ...)                                                   SST phrase trees, `core.read_phrase_trees`
    a folder with docs and val.jsonl                                 ERASER, `core.read_eraser`

A row that fits no form is a letter that names its line; a row whose marks cannot be found in its text is left out and listed
(`Task.skipped`), as is one that marks nothing at all. References: DeYoung et al. 2020; Mathew et al. 2021; Camburu et al. 2018;
Rajani et al. 2019; Kaushik et al. 2020.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from exegete.core.errors import InputError
from exegete.core.rationale import Rationale
from exegete.core.read_eraser import is_eraser, read_eraser
from exegete.core.read_phrase_trees import read_phrase_trees
from exegete.core.request import Text
from exegete.core.rows import Row, asked, fault, rows_of, suffix_of
from exegete.core.text import Span

WHAT = "rationales"
_STARS = re.compile(r"\*([^*]+)\*")


@dataclass(frozen=True)
class Task:
    """Texts to be judged on: their rationales, and in words what was left out and why."""

    items: tuple[Rationale, ...]
    skipped: tuple[str, ...] = ()


def read_rationales(path: str) -> Task:
    """The rationales of a file or an ERASER folder. Raises `InputError` for what has no known form, or holds none."""
    if is_eraser(path):
        found = read_eraser(path)
    elif suffix_of(path) == ".txt":
        found = read_phrase_trees(path)
    else:
        found = _of_rows(path)
    items: list[Rationale] = []
    skipped: list[str] = []
    for place, made in found:
        if isinstance(made, str):
            skipped.append(f"{place}: {made}")
        elif not any(made.marks):
            skipped.append(f"{place}: nothing is marked")
        else:
            items.append(made)
    if not items:
        shown = f" ({skipped[0]})" if skipped else ""
        raise InputError(
            asked(path, WHAT),
            f"None of its {len(skipped)} rows can be used{shown}.",
            "Give texts with marks.",
        )
    return Task(tuple(items), tuple(skipped))


Made = tuple[str, Rationale | str]  # its place, and the rationale or why there is none


def _of_rows(path: str) -> Iterable[Made]:
    rows = rows_of(path, WHAT)
    fields = set(rows[0][1])
    for needed, form in FORMS:
        if needed <= fields:
            return form(rows, path)
    raise InputError(
        asked(path, WHAT),
        f"Its rows have the fields {', '.join(sorted(fields))}, which is no form known here.",
        'Give rows with "text" and "marks": [[start, end], ...] in characters; or contrast sets, {"original", "contrast"}; or tests, {"type", "examples"}.',
    )


def _plain(rows: Sequence[Row], path: str) -> Iterable[Made]:
    for place, row in rows:
        marks = row["marks"]
        if isinstance(marks, list) and (not marks or _is_span(marks[0])):
            marks = [marks]
        if not isinstance(marks, list) or not all(
            isinstance(a, list) and all(map(_is_span, a)) for a in marks
        ):
            raise fault(path, WHAT, place, 'has "marks" that are no lists of [start, end]')
        text = Text(text=_string(row, "text", path, place), pair=row.get("pair"))
        yield place, _rationale(text, row.get("label"), marks, row, path, place)


def _tokens(rows: Sequence[Row], path: str) -> Iterable[Made]:
    for place, row in rows:
        given = row["rationale"]
        many = given if given and isinstance(given[0], list) else [given]
        text, marks = _joined(row["tokens"], many, path, place)
        yield place, _rationale(text, row.get("label"), marks, row, path, place)


def _hatexplain(rows: Sequence[Row], path: str) -> Iterable[Made]:
    for place, row in rows:
        people = row["annotators"]
        labels = people["label"] if isinstance(people, dict) else [p["label"] for p in people]
        text, marks = _joined(row["post_tokens"], row["rationales"], path, place)
        label = Counter(labels).most_common(1)[0][0]
        who = (
            people.get("annotator_id")
            if isinstance(people, dict)
            else [p.get("annotator_id") for p in people]
        )
        named = who if who and len(who) == len(marks) and None not in who else ()
        yield place, _rationale(text, label, marks or [[]], row, path, place, named)


def _esnli(rows: Sequence[Row], path: str) -> Iterable[Made]:
    for place, row in rows:
        premise, hypothesis = (_string(row, k, path, place) for k in ("Sentence1", "Sentence2"))
        text = Text(text=premise, pair=hypothesis)
        start, marks = len(premise) + 1, []
        for k in (1, 2, 3):
            first, second = (row.get(f"Sentence{s}_marked_{k}") for s in (1, 2))
            if not first and not second:
                continue
            a, b = _starred(premise, first or premise), _starred(hypothesis, second or hypothesis)
            if a is None or b is None:
                yield place, f"the marked sentences of annotator {k} are not those of the pair"
                break
            marks.append([*a, *((s + start, e + start) for s, e in b)])
        else:
            yield place, _rationale(text, row.get("gold_label"), marks or [[]], row, path, place)


def _cose(rows: Sequence[Row], path: str) -> Iterable[Made]:
    split = "train" if "train" in Path(path).name else "dev"
    beside = Path(path).with_name(f"{split}_rand_split.jsonl")
    if not beside.exists():
        raise InputError(
            asked(path, WHAT),
            f"The questions it explains are not beside it ({beside.name}).",
            "Put the question file of CommonsenseQA there.",
        )
    asks = {row["id"]: row for _, row in rows_of(str(beside), "questions")}
    for place, row in rows:
        ask = asks.get(row["id"])
        if ask is None:
            yield place, f"{beside.name} has no question {row['id']}"
            continue
        stem, chosen = (
            ask["question"]["stem"],
            str(row["explanation"]["selected"]).strip().removeprefix("Question: "),
        )
        at = stem.lower().find(chosen.lower()) if chosen else -1
        if at < 0:
            yield place, f"{chosen[:40]!r} does not stand in the question"
            continue
        right = {c["label"]: c["text"] for c in ask["question"]["choices"]}.get(ask.get("answerKey"))
        yield (
            place,
            Rationale(text=Text(text=stem), label=right, marks=(((at, at + len(chosen)),),), id=row["id"]),
        )


def _revised(rows: Sequence[Row], path: str) -> Iterable[Made]:
    groups: dict[str, list[Row]] = {}
    for place, row in rows:
        groups.setdefault(str(row["batch_id"]), []).append((place, row))
    for batch, both in groups.items():
        if len(both) != 2:
            yield both[0][0], f"batch {batch} has {len(both)} texts, not two"
            continue
        texts = [_string(row, "Text", path, place) for place, row in both]
        for (place, row), marks, text in zip(both, changed(*texts), texts):
            label = str(row["Sentiment"]).lower()
            yield place, Rationale(text=Text(text=text), label=label, marks=(marks,), id=f"{batch} {label}")


def _minimal(rows: Sequence[Row], path: str) -> Iterable[Made]:
    for place, row in rows:
        good, bad = (_string(row, k, path, place) for k in ("sentence_good", "sentence_bad"))
        yield (
            place,
            Rationale(text=Text(text=good), marks=(changed(good, bad)[0],), id=str(row.get("pairID", ""))),
        )


FORMS: tuple[tuple[set[str], Callable[[Sequence[Row], str], Iterable[Made]]], ...] = (
    ({"post_tokens", "rationales", "annotators"}, _hatexplain),
    ({"text", "marks"}, _plain),
    ({"tokens", "rationale"}, _tokens),
    ({"Sentence1", "Sentence2", "Sentence1_marked_1"}, _esnli),
    ({"id", "explanation"}, _cose),
    ({"Sentiment", "Text", "batch_id"}, _revised),
    ({"sentence_good", "sentence_bad"}, _minimal),
)


def changed(a: str, b: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The stretches in characters of the words of two texts that are not in the other, in order."""
    words = [[m.span() for m in re.finditer(r"\w+|[^\w\s]", t)] for t in (a, b)]
    forms = [[t[s:e] for s, e in spans] for t, spans in zip((a, b), words)]
    mine: list[Span] = []
    theirs: list[Span] = []
    for kind, i, j, k, m in SequenceMatcher(None, *forms, autojunk=False).get_opcodes():
        if kind != "equal":
            mine += [(words[0][i][0], words[0][j - 1][1])] if j > i else []
            theirs += [(words[1][k][0], words[1][m - 1][1])] if m > k else []
    return tuple(mine), tuple(theirs)


def _starred(text: str, marked: str) -> list[Span] | None:
    """Where `marked` has asterisks around words of `text`; None where it is another text."""
    found: list[Span] = []
    at = 0
    for m in _STARS.finditer(marked):
        start = text.find(m.group(1), at)
        if start < 0:
            return None
        at = start + len(m.group(1))
        found.append((start, at))
    bare = marked.replace("*", "")
    return found if bare.split() == text.replace("*", "").split() else None


def _joined(tokens: Any, rows: Any, path: str, place: str) -> tuple[Text, list[list[Span]]]:
    """A text of tokens joined by blanks, and the stretches of rows of 0 and 1 a token."""
    if not isinstance(tokens, list) or not all(isinstance(t, str) and t for t in tokens):
        raise fault(path, WHAT, place, "has tokens that are no list of words")
    spans, at = [], 0
    for t in tokens:
        spans.append((at, at + len(t)))
        at += len(t) + 1
    for k, row in enumerate(rows):
        if len(row) != len(tokens):
            raise fault(
                path, WHAT, place, f"has {len(tokens)} tokens and {len(row)} marks of annotator {k + 1}"
            )
    return Text(text=" ".join(tokens)), [[s for s, on in zip(spans, row) if on] for row in rows]


def _rationale(
    text: Text,
    label: Any,
    marks: Sequence[Any],
    row: dict[str, Any],
    path: str,
    place: str,
    who: Sequence[Any] = (),
) -> Rationale:
    try:
        return Rationale(
            text=text,
            label=label,
            marks=tuple(tuple(tuple(s) for s in annotator) for annotator in marks),
            annotators=tuple(f"annotator {w}" for w in who),
            id=str(row.get("id", "")),
        )
    except InputError as e:
        raise fault(path, WHAT, place, f"does not fit: {e.found}") from None


def _is_span(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(type(v) is int for v in value)


def _string(row: dict[str, Any], name: str, path: str, place: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise fault(path, WHAT, place, f"has no text in {name!r}")
    return value
