"""Questions with options, from files. The form is told by the fields.

    {"question", "options": [...], "answer"?, "steps"?: [...] or text, "reworded"?, "parts"?: [[question, answer], ...], "lead"?, "id"?}
    {"examples": [{"input", "target"}, ...]}           BBH (.json): options are those listed, "(A) ...", else all targets of the file
    {"question", "answer": "...\\n#### 18"}             GSM8K: steps are the lines (<<16-3=13>> left out); options are the answer, numbers
                                                      that stand in the steps and in the question, and the answer's neighbours
    {"question", "answer": true, "facts", "decomposition"}    StrategyQA: yes or no; facts are the steps, the decomposition the parts

Rows come from .jsonl or .json. A row that fits no form is a letter that names its line; one whose answer is none of its options is left
out and listed. References: Suzgun et al. 2022 (BBH); Cobbe et al. 2021 (GSM8K); Geva et al. 2021 (StrategyQA).
"""

import re
from collections.abc import Callable
from typing import Any

from exegete.core.errors import ExegeteError, InputError
from exegete.core.material import Choice
from exegete.core.rows import Row, asked, fault, rows_under

WHAT = "questions"
N_OPTIONS = 4  # of a question that comes without
MOST_TARGETS = 12  # different targets of a file that can be its options
_LETTERED = re.compile(r"^\s*(\([A-Z]\))\s+\S", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
_OWN = ("question", "options", "answer", "steps", "reworded", "parts", "lead", "id")


def read_questions(path: str) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """The questions of a file, and in words which rows were left out. Raises `InputError` naming the line that does not fit."""
    rows = rows_under(path, WHAT, "examples")
    make = _form(rows, path)
    found: list[Choice] = []
    skipped: list[str] = []
    for row in rows:
        try:
            found.append(make(row))
        except _Unfit as e:
            skipped.append(f"{row[0]}: {e}")
    if not found:
        raise InputError(
            asked(path, WHAT),
            f"None of its {len(skipped)} rows can be used ({skipped[0]}).",
            "Mend the file.",
        )
    return tuple(found), tuple(skipped)


class _Unfit(Exception):
    """A question that cannot be asked as one with options."""


def _form(rows: list[Row], path: str) -> Callable[[Row], Choice]:
    first = set(rows[0][1])
    if {"question", "options"} <= first:
        return lambda row: _own(row, path)
    if {"input", "target"} <= first:
        targets = tuple(sorted({str(r.get("target")) for _, r in rows}))
        return lambda row: _target(row, targets, path)
    if {"question", "answer", "facts"} <= first:
        return lambda row: _strategy(row, path)
    if {"question", "answer"} <= first and "####" in str(rows[0][1]["answer"]):
        return lambda row: _sum(row, path)
    raise InputError(
        asked(path, WHAT),
        f"Its rows have the fields {', '.join(sorted(first))}, which is no form known here.",
        'Give rows with "question", "options" and, where there are, "answer" and "steps".',
    )


def _own(given: Row, path: str) -> Choice:
    place, row = given
    told = {k: v for k, v in row.items() if k in _OWN and v is not None}
    if isinstance(told.get("steps"), str):
        told["steps"] = _lines(told["steps"])
    if not isinstance(told.get("options"), list):
        raise fault(path, WHAT, place, "has no list of options")
    told["options"] = [str(o) for o in told["options"]]
    for name in ("answer", "id"):
        if name in told:
            told[name] = str(told[name])
    return _made(told, place, path)


def _target(given: Row, targets: tuple[str, ...], path: str) -> Choice:
    place, row = given
    text, target = _string(row, "input", place, path), _string(row, "target", place, path)
    options = tuple(dict.fromkeys(_LETTERED.findall(text)))
    if len(options) < 2:
        options = targets
        if not 2 <= len(options) <= MOST_TARGETS:
            raise _Unfit(f"it lists no options, and the file has {len(targets)} different targets")
    if target not in options:
        raise _Unfit(f"its target {target!r:.30} is none of its options")
    return _made({"question": text, "options": options, "answer": target}, place, path)


def _strategy(given: Row, path: str) -> Choice:
    place, row = given
    if not isinstance(row.get("answer"), bool):
        raise fault(
            path, WHAT, place, f"has the answer {row.get('answer')!r:.30}, where true or false belongs"
        )
    told: dict[str, Any] = {
        "question": _string(row, "question", place, path),
        "options": ("yes", "no"),
        "answer": "yes" if row["answer"] else "no",
        "steps": tuple(map(str, row["facts"])),
        "parts": tuple((str(q), "") for q in row.get("decomposition") or ()),
        "id": str(row.get("qid", "")),
    }
    return _made(told, place, path)


def _sum(given: Row, path: str) -> Choice:
    place, row = given
    chain, mark, answer = _string(row, "answer", place, path).rpartition("####")
    answer = answer.strip()
    if not mark or not _NUMBER.fullmatch(answer):
        raise _Unfit("no number stands after ####")
    question = _string(row, "question", place, path)
    steps = _lines(re.sub(r"<<.*?>>", "", chain))
    told = {
        "question": question,
        "options": _numbers(answer, question, steps),
        "answer": answer,
        "steps": steps,
    }
    return _made(told, place, path)


def _numbers(answer: str, question: str, steps: tuple[str, ...]) -> tuple[str, ...]:
    """The answer among numbers that might be taken for it, in order of size, so that its place says nothing of it."""
    value = float(answer.replace(",", ""))
    near = [m.rstrip(",") for text in (*reversed(steps), question) for m in reversed(_NUMBER.findall(text))]
    near += [f"{value + d:.0f}" for d in (1, -1, 10, 2)]
    found = {value: answer}
    for word in near:
        if len(found) < N_OPTIONS:
            found.setdefault(float(word.replace(",", "")), word)
    return tuple(found[v] for v in sorted(found))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _made(told: dict[str, Any], place: str, path: str) -> Choice:
    try:
        return Choice(**told)
    except ExegeteError as e:
        raise fault(path, WHAT, place, f"does not fit: {e.found.rstrip('.')}", e.do) from None


def _string(row: dict[str, Any], name: str, place: str, path: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise fault(path, WHAT, place, f"has no text in {name!r}")
    return value
