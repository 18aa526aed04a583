"""Cloze diagnostics of Ettinger (2020) as facts and as minimal pairs: negation, role reversal, commonsense.

    NEG-136    "A trout is (a|an)" and "A trout is not (a|an)", with what completes each: the article is chosen by what follows it
    ROLE-88    "... which journalist the celebrities had" and its reversal, with what people most often say (the first of "a|b")
    CPRAG-102  two sentences, the second broken off, with what people say and two that do not fit

1. facts: the prompt with what completes it. The subject, which the control of `cloze_facts` puts another in the place of, is what the
   answer hangs on: the thing that is spoken of (NEG), the two parties in their order (ROLE), the first sentence (CPRAG);
2. minimal pairs: the prompt with the right completion and with a wrong one: that of the other polarity (NEG), of the reversed roles
   (ROLE), of the same and of another category (CPRAG). A prompt and its reversal that people complete alike make no pair; every other
   verb is right once and wrong once, so that its frequency decides nothing.

Relations are a path: "negation/affirmative", "role", "commonsense/high constraint". Cost: no pass.
Reference: Ettinger 2020, "What BERT Is Not: Lessons from a New Suite of Psycholinguistic Diagnostics for Language Models", TACL.
"""

import re
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from exegete.core.errors import ExegeteError, InputError
from exegete.core.material import Fact, Minimal
from exegete.core.rows import Row, asked, fault

_ARTICLE = re.compile(r"\(a\|an\)\s*$")
_NEGATION, _ROLE, _COMMON = "negation", "role", "commonsense"
_COLUMNS = {
    _NEGATION: ("context_aff", "context_neg", "target_aff", "target_neg"),
    _ROLE: ("item", "context", "expected", "target"),
    _COMMON: ("context_s1", "context_s2", "expected", "within_category", "between_category"),
}


class _Cloze(NamedTuple):
    """One prompt: `answer` completes it, each of `wrong` (name, completion) does not."""

    prompt: str
    subject: str
    answer: str
    wrong: tuple[tuple[str, str], ...]
    relation: str
    id: str


def layout_of(rows: Sequence[Row]) -> str:
    """Which of the diagnostics the columns are: negation, role, commonsense; "" for none of them."""
    columns = set(rows[0][1])
    return next((name for name, wanted in _COLUMNS.items() if columns.issuperset(wanted)), "")


def facts_of(rows: Sequence[Row], path: str) -> tuple[Fact, ...]:
    """What completes each prompt. Raises `InputError` naming the line that does not fit."""
    found = []
    for place, c in _clozes(rows, path):
        try:
            found.append(
                Fact(prompt=c.prompt, subject=c.subject, answer=c.answer, relation=c.relation, id=c.id)
            )
        except ExegeteError as e:
            raise fault(path, "facts", place, f"does not fit: {e.found.rstrip('.')}", e.do) from None
    return tuple(found)


def pairs_of(rows: Sequence[Row], path: str) -> tuple[Minimal, ...]:
    """Every prompt with its right and a wrong completion. Raises `InputError` naming the line that does not fit."""
    found = []
    for place, c in _clozes(rows, path):
        for name, wrong in c.wrong:
            good, bad = _said(c.prompt, c.answer), _said(_articled(c.prompt, c.answer, wrong), wrong)
            if good == bad:
                continue
            try:
                found.append(
                    Minimal(
                        good=good, bad=bad, phenomenon=f"{c.relation}/{name}" if name else c.relation, id=c.id
                    )
                )
            except ExegeteError as e:
                raise fault(
                    path, "minimal pairs", place, f"does not fit: {e.found.rstrip('.')}", e.do
                ) from None
    if not found:
        raise InputError(asked(path, "minimal pairs"), "All completions are alike.", "Give some that differ.")
    return tuple(found)


def _clozes(rows: Sequence[Row], path: str) -> list[tuple[str, _Cloze]]:
    """Every prompt of the rows with its place in the file."""
    layout = layout_of(rows)
    for place, row in rows:
        empty = [k for k in _COLUMNS[layout] if not str(row.get(k, "")).strip()]
        if empty:
            raise fault(path, "diagnostics", place, f"has nothing in {empty[0]!r}")
    make: dict[str, Callable[[Sequence[Row]], list[tuple[str, _Cloze]]]] = {
        _NEGATION: _negation,
        _ROLE: _roles,
        _COMMON: _commonsense,
    }
    return make[layout](rows)


def _negation(rows: Sequence[Row]) -> list[tuple[str, _Cloze]]:
    found = []
    for place, row in rows:
        true = {"affirmative": _cell(row, "target_aff"), "negative": _cell(row, "target_neg")}
        contexts = {"affirmative": _cell(row, "context_aff"), "negative": _cell(row, "context_neg")}
        for kind, other in (("affirmative", "negative"), ("negative", "affirmative")):
            prompt, answer = contexts[kind], true[kind]
            prompt = _ARTICLE.sub(_article(answer), prompt)
            relation, name = f"{_NEGATION}/{kind}", str(row.get("item", ""))
            subject = _shared(contexts["affirmative"], contexts["negative"])
            found.append((place, _Cloze(prompt, subject, answer, (("", true[other]),), relation, name)))
    return found


def _roles(rows: Sequence[Row]) -> list[tuple[str, _Cloze]]:
    said = {_cell(r, "item"): [x.strip() for x in _cell(r, "expected").split("|")] for _, r in rows}
    context = {_cell(r, "item"): _cell(r, "context") for _, r in rows}
    found = []
    for place, row in rows:
        item = _cell(row, "item")
        other = item[:-1] + {"a": "b", "b": "a"}.get(item[-1:], "")
        reversed_ = said.get(other, ())
        wrong = () if not reversed_ or set(reversed_) & set(said[item]) else (("", reversed_[0]),)
        subject = _parties(context[item], context.get(other, context[item]))
        found.append((place, _Cloze(context[item], subject, said[item][0], wrong, _ROLE, item)))
    return found


def _commonsense(rows: Sequence[Row]) -> list[tuple[str, _Cloze]]:
    levels = {"H": "high constraint", "L": "low constraint"}
    found = []
    for place, row in rows:
        first, second = _cell(row, "context_s1"), _cell(row, "context_s2")
        wrong = (
            ("same category", _cell(row, "within_category")),
            ("other category", _cell(row, "between_category")),
        )
        level = levels.get(str(row.get("constraint", "")).strip(), "")
        relation = f"{_COMMON}/{level}" if level else _COMMON
        found.append(
            (
                place,
                _Cloze(
                    f"{first} {second}",
                    first,
                    _cell(row, "expected"),
                    wrong,
                    relation,
                    str(row.get("item", "")),
                ),
            )
        )
    return found


def _cell(row: dict[str, Any], name: str) -> str:
    return " ".join(str(row[name]).split())


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def _articled(prompt: str, right: str, other: str) -> str:
    """The prompt with the article that the other completion wants, where it ends with that of the right one."""
    own = f" {_article(right)}"
    return prompt.removesuffix(own) + f" {_article(other)}" if prompt.endswith(own) else prompt


def _said(prompt: str, word: str) -> str:
    return f"{prompt} {word}" + ("" if word.endswith((".", "!", "?")) else ".")


def _shared(one: str, other: str) -> str:
    """What both sentences begin with, less the verb: "A trout" of "A trout is" and "A trout is not"."""
    words = [a for a, _ in takewhile(lambda x: x[0] == x[1], zip(one.split(), other.split()))]
    verb = bool(words) and words[-1].lower() in ("is", "are", "was", "were")
    return " ".join(words[:-1] if verb and len(words) > 1 else words) or one.split()[0]


def _parties(one: str, other: str) -> str:
    """The stretch of words in which two sentences differ: both parties, in their order."""
    a, b = one.split(), other.split()
    differ = [i for i, (x, y) in enumerate(zip(a, b)) if x != y]
    return " ".join(a[differ[0] : differ[-1] + 1]) if differ else a[0]
