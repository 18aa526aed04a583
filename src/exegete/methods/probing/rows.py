"""What a probe is asked, made ready: labelled texts of one kind, without classes too rare to learn.

1. parsed sentences become labelled texts by their annotations (`core.annotations`);
2. labels are all classes, or all numbers; classes with fewer than `min_count` examples are left out and counted;
3. of more than `most_rows` examples whole texts are left out, at random.

Cost: linear in marks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.annotations import FEATURE, TASKS, annotate, words_for
from exegete.core.errors import InputError, UsageError
from exegete.core.material import Mark, Marked, Parsed
from exegete.core.seed import generator

LEVELS = {0: "text", 1: "word", 2: "pair"}


@dataclass(frozen=True)
class Asked:
    """Labelled texts to probe: `level` of what (text, word, pair), whether labels are `numbers`, what they are in words."""

    items: tuple[Marked, ...]
    level: str
    numbers: bool
    what: str
    dropped: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]


def asked(
    items: Sequence[Marked | Parsed], task: str, seed: int, min_count: int, most_rows: int, called: str = ""
) -> Asked:
    """The material of a probe. Raises `InputError` for labels of several kinds and for fewer than two classes."""
    parsed = [i for i in items if isinstance(i, Parsed)]
    marked = tuple(i for i in items if isinstance(i, Marked))
    what = called or (words_for(task) if parsed else "label")
    marked += annotate(parsed, task, seed) if parsed else ()
    level, numbers = _level(marked), _numbers(marked)
    kept, dropped = (marked, ()) if numbers else _common(marked, min_count, what)
    few, notes = _sampled(kept, most_rows, seed)
    return Asked(few, level, numbers, what, dropped, notes)


def refuse(items: Sequence[Marked | Parsed], task: str, called: str) -> None:
    """Refuse what would be probed under a false title: a label named like a task, or a task (not empty) of what is no treebank.

    Raises `UsageError`, and `UnknownName` for a task that there is not.
    """
    if called and called != task and (called in TASKS or called.startswith(FEATURE)):
        raise UsageError(
            f"You gave the label {called!r}.",
            "That is the name of a task; a label only names in titles what your own labels are, and chooses nothing.",
            f"Give it as the task (--task {called}), with a treebank (.conllu); or call the labels of your own something else.",
        )
    if task and words_for(task) and not any(isinstance(i, Parsed) for i in items):
        raise UsageError(
            f"You asked for the task {task!r} of {len(items)} labelled texts.",
            "They bring their own labels: a task says what is read off parsed sentences, and there are none.",
            "Give a treebank (.conllu), or leave the task (--task) out.",
        )


def _level(items: Sequence[Marked]) -> str:
    kinds = {len(m.spans) for i in items for m in i.marks}
    if len(kinds) != 1:
        raise InputError(
            f"You asked to probe {len(items)} labelled texts.",
            f"Their marks are on {' and '.join(f'{LEVELS[k]}s' for k in sorted(kinds))}." if kinds else "They have no marks.",
            "Give marks of one kind: whole texts, stretches, or pairs of stretches.",
        )  # fmt: skip
    return LEVELS[kinds.pop()]


def _numbers(items: Sequence[Marked]) -> bool:
    """Whether labels are numbers; all of them must be alike."""
    labels = [m.label for i in items for m in i.marks]
    sizes = {0 if isinstance(x, str) else len(x) if isinstance(x, tuple) else 1 for x in labels}
    if len(sizes) != 1:
        raise InputError(
            f"You asked to probe {len(labels)} labels.",
            "Some are class names and others numbers, or they hold different numbers of numbers.",
            "Give labels of one kind.",
        )
    if sizes == {0}:
        return False
    values = np.array(labels, dtype=np.float64)
    if not np.isfinite(values).all() or not (values.reshape(len(values), -1).std(0) > 0).all():
        raise InputError(
            f"You asked to probe {len(labels)} numbers.",
            "All are the same." if np.isfinite(values).all() else "Some are NaN or infinite.",
            "Give numbers that differ, and leave out what is not known.",
        )
    return True


def _common(
    items: Sequence[Marked], least: int, what: str
) -> tuple[tuple[Marked, ...], tuple[tuple[str, int], ...]]:
    """The items without marks of rare classes, and those classes with their counts."""
    counts = Counter(str(m.label) for i in items for m in i.marks)
    rare = tuple(sorted((c for c in counts.items() if c[1] < least), key=lambda c: (-c[1], c[0])))
    if len(counts) - len(rare) < 2:
        most = ", ".join(f"{name} ({n})" for name, n in counts.most_common(5))
        raise InputError(
            f"You asked to probe the {what} of {sum(counts.values())} examples.",
            f"Fewer than two classes have at least {least} of them: {most}.",
            "Give more texts with at least two classes, or set min_count lower.",
        )
    if not rare:
        return tuple(items), ()
    names = {name for name, _ in rare}
    found = []
    for item in items:
        marks: tuple[Mark, ...] = tuple(m for m in item.marks if m.label not in names)
        if marks:
            found.append(item if len(marks) == len(item.marks) else item.model_copy(update={"marks": marks}))
    return tuple(found), rare


def _sampled(items: tuple[Marked, ...], most: int, seed: int) -> tuple[tuple[Marked, ...], tuple[str, ...]]:
    sizes = np.array([len(i.marks) for i in items])
    if sizes.sum() <= most:
        return items, ()
    order = generator(seed, "probe texts", len(items)).permutation(len(items))
    taken = np.sort(order[: max(3, int(np.searchsorted(sizes[order].cumsum(), most)))])
    words = f"{len(taken)} of {len(items)} texts were probed, taken at random: most_rows is {most:,}."
    return tuple(items[i] for i in taken), (words,)
