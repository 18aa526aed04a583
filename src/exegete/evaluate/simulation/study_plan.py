"""The plan of a study with people: who answers which item, in which order, with what shown.

    alone       the item alone
    model       the item, and what the model answers
    explained   the same, and the explanation

1. items on which the model is right, and those on which it is wrong, are shuffled and dealt to the conditions in turn: every person
   has every condition equally often (to one), and meets a wrong model equally often in each;
2. the next people get the same items with the conditions moved on by one, so that over as many people as there are conditions every
   item is answered once in each; then it is dealt anew;
3. the order of the items is another for everyone.

All of it follows from the seed and is written in the plan. `page(plan)` is the study: people answer on it, and it hands them a file.
Cost: no model. References: Bansal et al. 2021, "Does the Whole Exceed its Parts?" (arXiv:2006.14779), sec. 3-4; Lakkaraju et al.
2022, "Rethinking Explainability as a Dialogue" (arXiv:2202.01875).
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import cast

import numpy as np

from exegete.core.errors import ExegeteError, InputError, UnknownName, UsageError
from exegete.core.result import Attribution, Provenance
from exegete.core.results.human_study import CONDITIONS, Condition, StudyItem, StudyPlan
from exegete.core.rows import OBJECTS, Row, asked, fault, misfit, rows_of, suffix_of
from exegete.core.seed import generator
from exegete.core.store import open_result

WHAT = "items of a study"
TITLE = "What do you say?"
INTRO = (
    "Read each text and choose the answer that you think is right. For some texts you also see what a computer model answers, and for "
    "some why it does; the model can be wrong. There is no time limit, but please go on without a break."
)
FORM = 'Each line is an object such as {"text": ..., "options": [...], "answer": ..., "model": ..., "explanation": ...}.'


def make_study(
    items: Sequence[StudyItem],
    conditions: Sequence[str] = ("model", "explained"),
    *,
    participants: int = 20,
    ask_first: bool = True,
    seed: int = 0,
    title: str = TITLE,
    intro: str = INTRO,
) -> StudyPlan:
    """The plan for `participants` people; `ask_first` has them answer before anything of the model is shown, too.

    Raises `UsageError` for conditions that cannot be compared, `InputError` for fewer items than conditions, equal ones, or items
    without an explanation where one is to be shown.
    """
    chosen = tuple(conditions)
    unknown = [c for c in chosen if c not in CONDITIONS]
    if unknown:
        raise UnknownName("condition", unknown[0], CONDITIONS)
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise UsageError(
            f"You planned a study with the conditions {', '.join(chosen) or 'none'}.",
            "What an explanation is worth shows in the difference between two.",
            "Name two or three different ones: alone, model, explained.",
        )
    if participants < 1:
        raise UsageError(
            f"You planned a study with {participants} participants.",
            "Nobody would answer.",
            "Give the most people that may take part.",
        )
    _usable(items, chosen)
    assigned = _assigned(items, len(chosen), participants, seed)
    order = np.stack(
        [generator(seed, "order", p).permutation(len(items)) for p in range(participants)]
    ).astype(np.int64)
    return StudyPlan(
        title=title,
        intro=intro,
        items=tuple(items),
        conditions=cast(tuple[Condition, ...], chosen),
        ask_first=ask_first,
        assigned=assigned,
        order=order,
        provenance=Provenance(
            method="human_study", params={"participants": participants, "ask_first": ask_first}, seed=seed
        ),
    )


def item_of(
    explained: Attribution, answer: str, options: Sequence[str] = (), question: str = ""
) -> StudyItem:
    """An item from an explained text: the model's answer and its options are what was predicted, words are coloured by score."""
    pieces: list[tuple[str, float]] = []
    at = 0
    placed = [(u.start, u.end, s) for u, s in zip(explained.units, explained.total) if u.start >= 0]
    for start, end, score in sorted(placed):
        if end <= at:  # said already: units may overlap
            continue
        start = max(start, at)
        if start > at:
            pieces.append((explained.text[at:start], 0.0))
        pieces.append((explained.text[start:end], float(score)))
        at = end
    if at < len(explained.text):
        pieces.append((explained.text[at:], 0.0))
    return StudyItem(
        text=explained.text,
        options=tuple(options) or tuple(sorted(explained.prediction)),
        answer=answer,
        model=explained.predicted,
        question=question,
        words=tuple(pieces),
    )


def read_items(path: str | PathLike[str]) -> tuple[StudyItem, ...]:
    """Items of a .jsonl or .json file.

    Rows are {"text", "options", "answer", "model", "question"?, "explanation"?, "words"?: [[piece, score], ...], "id"?}, or
    {"explained": FILE.exg, "answer", "options"?, "question"?} with the saved explanation of a text. Raises `InputError` naming the row.
    """
    if suffix_of(path) not in OBJECTS:
        raise InputError(asked(path, WHAT), f"Items are read from {', '.join(OBJECTS)}.", FORM)
    return tuple(_item(row, path) for row in rows_of(path, WHAT))


def _item(row: Row, path: str | PathLike[str]) -> StudyItem:
    place, fields = row
    try:
        if "explained" in fields:
            saved = open_result(Path(path).parent / str(fields["explained"]))
            if not isinstance(saved, Attribution):
                raise fault(
                    path, WHAT, place, f"names a saved {type(saved).__name__}, no explanation of a text"
                )
            told = (str(o) for o in fields.get("options") or ())
            return item_of(saved, str(fields.get("answer", "")), tuple(told), str(fields.get("question", "")))
        return StudyItem(**fields)
    except ExegeteError as e:
        raise fault(path, WHAT, place, f"does not fit: {misfit(e)}", FORM) from None


def _usable(items: Sequence[StudyItem], conditions: Sequence[str]) -> None:
    planned = f"You planned a study of {len(items)} items."
    if len(items) < len(conditions):
        raise InputError(
            planned, f"There are {len(conditions)} conditions, and each needs one.", "Give more items."
        )
    if len({(i.text, i.question) for i in items}) < len(items):
        raise InputError(
            planned,
            "Some are equal: who has seen one answers the other from memory.",
            "Leave the second ones out.",
        )
    bare = next((i for i in items if not i.explanation and not i.words), None)
    if "explained" in conditions and bare is not None:
        raise InputError(
            planned,
            f"The item {bare.text!r:.40} has no explanation to show.",
            "Give each an explanation in words, or scores of its words.",
        )


def _assigned(items: Sequence[StudyItem], n: int, participants: int, seed: int) -> np.ndarray:
    """Condition of every item for every person [participant, item]."""
    right = np.array([i.model_is_right for i in items])
    table = np.zeros((participants, len(items)), dtype=np.int64)
    for first in range(0, participants, n):
        rng = generator(seed, "dealt", first)
        dealt = np.concatenate([rng.permutation(np.flatnonzero(right == r)) for r in (True, False)])
        base = np.empty(len(items), dtype=np.int64)
        base[dealt] = (np.arange(len(items)) + rng.integers(n)) % n
        for p in range(first, min(first + n, participants)):
            table[p] = (base + p - first) % n
    return table
