"""Reading what people handed in: files of answers against the plan that they were made on.

A file is what the page of the plan writes: {"study": key of the plan, "participant": 1.., "answers": [{"item", "condition", "first"?,
"last", "first_seconds"?, "last_seconds"?, "reloaded"?}, ...]}. An answer counts where its item is the plan's, its condition the one
assigned, and its words one of the options (where the plan asks first, both times). Everything else is counted as failed and listed:
a file that is broken, of another plan, or of a participant read before; an item that was not answered, or twice; an answer under a
condition that was not assigned. Times after a reload of the page are unknown (NaN).

Shapes: tables [participant, item] over those who handed in one usable answer at least. Cost: no model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeGuard

import numpy as np

from exegete.core.errors import InputError
from exegete.core.results.human_study import StudyPlan
from exegete.core.rows import read_text

WHAT = "answers of a study"
Source = str | PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Answers:
    """Indices of what was answered, [participant, item], -1 where nothing counts: `condition`, `first`, `last` (options).

    `seconds` until the last answer; `participants` from 0; `failures` in words; `failed` [condition] how many answers they are.
    """

    participants: tuple[int, ...]
    condition: np.ndarray
    first: np.ndarray
    last: np.ndarray
    seconds: np.ndarray
    failures: tuple[str, ...]
    failed: np.ndarray


@dataclass
class _Sheet:
    """What one participant answered, by item."""

    first: np.ndarray
    last: np.ndarray
    seconds: np.ndarray


class _Unfit(Exception):
    """A file or an answer that does not count; its words say why."""


def read_answers(plan: StudyPlan, sources: Sequence[Source]) -> Answers:
    """The answers in files, or in what was read from them. Raises `InputError` where there is no usable answer at all."""
    sheets: dict[int, _Sheet] = {}
    failures: list[str] = []
    failed = np.zeros(len(plan.conditions), dtype=np.int64)
    for n, source in enumerate(sources, 1):
        name = f"file {n}" if isinstance(source, Mapping) else str(source)
        try:
            data = _data(source)
            who = _participant(plan, data, sheets)
        except _Unfit as e:
            failures.append(f"{name}: {e}; all its answers are lost")
            failed += _most(plan)
            continue
        sheet, faults = _sheet(plan, who, data["answers"])
        sheets[who] = sheet
        failures += [f"{name} (participant {who + 1}): {words}" for words in faults]
        failed += np.bincount(plan.assigned[who][sheet.last < 0], minlength=len(failed))
    who = tuple(sorted(p for p, s in sheets.items() if (s.last >= 0).any()))
    if not who:
        raise InputError(
            f"You asked what {len(sources)} files of answers say.",
            f"They hold no answer that fits the plan ({failures[0] if failures else 'no file was given'}).",
            "Give the plan's own files, as its page writes them.",
        )
    last = np.stack([sheets[p].last for p in who])
    return Answers(
        participants=who,
        condition=np.where(last >= 0, plan.assigned[list(who)], -1),
        first=np.stack([sheets[p].first for p in who]),
        last=last,
        seconds=np.stack([sheets[p].seconds for p in who]),
        failures=tuple(failures),
        failed=failed,
    )


def _most(plan: StudyPlan) -> int:
    """How many answers under one condition a file holds at most."""
    return -(-len(plan.items) // len(plan.conditions))


def _data(source: Source) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        data: Any = source
    else:
        try:
            data = json.loads(read_text(source, WHAT))
        except InputError as e:
            raise _Unfit(e.found.rstrip(".")) from None
        except (json.JSONDecodeError, RecursionError):
            raise _Unfit("it is not JSON") from None
    if not isinstance(data, Mapping) or not isinstance(data.get("answers"), list):
        raise _Unfit("it is no file of answers")
    return data


def _participant(plan: StudyPlan, data: Mapping[str, Any], known: Mapping[int, _Sheet]) -> int:
    if data.get("study") != plan.key:
        raise _Unfit("it was made on another plan")
    who = data.get("participant")
    if not _whole(who) or not 1 <= who <= plan.n_participants:
        raise _Unfit(f"the plan has no participant {who!r:.20}")
    if who - 1 in known:
        raise _Unfit(f"participant {who} was read before")
    return who - 1


def _sheet(plan: StudyPlan, who: int, rows: list[Any]) -> tuple[_Sheet, list[str]]:
    """The answers of a participant, and what is wrong with the others."""
    n = len(plan.items)
    sheet = _Sheet(np.full(n, -1), np.full(n, -1), np.full(n, np.nan))
    said: dict[int, list[Mapping[str, Any]]] = {}
    faults = []
    for row in rows:
        item = row.get("item") if isinstance(row, Mapping) else None
        if not isinstance(row, Mapping) or not _whole(item) or not 0 <= item < n:
            faults.append(f"an answer to an item that is not in the plan ({item!r:.20})")
            continue
        said.setdefault(item, []).append(row)
    for item in range(n):
        try:
            first, last, seconds = _answer(plan, who, item, said.get(item, []))
        except _Unfit as e:
            faults.append(f"item {item + 1}: {e}")
            continue
        sheet.first[item], sheet.last[item], sheet.seconds[item] = first, last, seconds
    return sheet, faults


def _answer(plan: StudyPlan, who: int, item: int, rows: list[Mapping[str, Any]]) -> tuple[int, int, float]:
    if len(rows) != 1:
        raise _Unfit("answered more than once" if rows else "not answered")
    row, options = rows[0], plan.items[item].options
    condition = plan.conditions[plan.assigned[who, item]]
    if row.get("condition") != condition:
        raise _Unfit(f"answered under {row.get('condition')!r:.20}, where {condition!r} was assigned")
    asked_first = plan.ask_first and condition != "alone"
    wanted = [row.get("last"), *([row.get("first")] if asked_first else [])]
    strange = [w for w in wanted if w not in options]
    if strange:
        raise _Unfit(f"the answer {strange[0]!r:.40} is none of the options")
    first = options.index(row["first"]) if asked_first else -1
    return first, options.index(row["last"]), _seconds(row)


def _seconds(row: Mapping[str, Any]) -> float:
    times: list[Any] = [row.get("first_seconds", 0.0), row.get("last_seconds")]
    known = all(isinstance(t, (int, float)) and not isinstance(t, bool) and t >= 0 for t in times)
    return float(sum(times)) if known and not row.get("reloaded") else float("nan")


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
