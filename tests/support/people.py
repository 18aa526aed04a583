"""People whose behaviour is known, answering a study: files as the page would write them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from exegete.core.results.human_study import StudyItem, StudyPlan

Rule = Callable[[StudyItem, str, np.random.Generator], tuple[str, str]]


def items(
    n: int, model_right: Callable[[int], bool], options: Sequence[str] = ("no", "yes")
) -> tuple[StudyItem, ...]:
    """Items whose right answer goes round the options; the model is right where it is told to be, else says the next one."""
    found = []
    for i in range(n):
        answer = i % len(options)
        says = answer if model_right(i) else (answer + 1) % len(options)
        found.append(
            StudyItem(
                text=f"text number {i}",
                options=tuple(options),
                answer=options[answer],
                model=options[says],
                explanation=f"because of {i}",
            )
        )
    return tuple(found)


def file_of(plan: StudyPlan, participant: int, rule: Rule, seed: int = 0) -> dict[str, Any]:
    """What the page hands out after a person (from 1) who answers by the rule: (item, condition, draws) -> (first, last answer)."""
    rng = np.random.default_rng([seed, participant])
    answers = []
    for i in plan.order[participant - 1]:
        condition = plan.conditions[plan.assigned[participant - 1, i]]
        first, last = rule(plan.items[i], condition, rng)
        row = {"item": int(i), "condition": condition, "last": last, "last_seconds": 2.0}
        if plan.ask_first and condition != "alone":
            row |= {"first": first, "first_seconds": 1.0}
        answers.append(row)
    return {"study": plan.key, "participant": participant, "answers": answers}


def other(item: StudyItem, said: str) -> str:
    """The next of the options."""
    return item.options[(item.options.index(said) + 1) % len(item.options)]


def drawn(alone: float, follow: float, explained: float | None = None, doubt: float | None = None) -> Rule:
    """Right with probability `alone` before; then takes the model's answer with probability `follow`, with an explanation
    `explained`, or `doubt` where the model is wrong; else stays."""

    def rule(item: StudyItem, condition: str, rng: np.random.Generator) -> tuple[str, str]:
        first = item.answer if rng.random() < alone else other(item, item.answer)
        rate = follow
        if condition == "explained":
            rate = follow if explained is None else explained
            rate = doubt if doubt is not None and not item.model_is_right else rate
        takes = condition != "alone" and rng.random() < rate
        return first, item.model if takes else first

    return rule
