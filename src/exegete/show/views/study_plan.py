"""The view of a `StudyPlan`: for people, the page on which they answer; for who plans it, what it holds in words.

The payload of the page is all that it shows: items without their right answers, conditions, assignment and order.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from exegete.core.results.human_study import CONDITIONS, StudyPlan
from exegete.show import facts, terminal
from exegete.show.view import view
from exegete.show.words import one_line, percent, plural, visible


@dataclass(frozen=True)
class StudyPlanPicture:
    """The start of the page, the facts of the plan as (name, words), and what the script needs."""

    title: str
    intro: str
    participants: int
    rows: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    cost: tuple[tuple[str, str], ...]
    payload: dict[str, Any]


@view
class StudyPlanView:
    """Draws a `StudyPlan`."""

    result: ClassVar[str] = "StudyPlan"
    template: ClassVar[str] = "study_plan.html.j2"
    script: ClassVar[str] = "study_plan.js"

    @staticmethod
    def picture(result: StudyPlan) -> StudyPlanPicture:
        """The plan as plain data."""
        return StudyPlanPicture(
            title=one_line(result.title),
            intro=visible(result.intro),
            participants=result.n_participants,
            rows=_rows(result),
            notes=result.notes,
            cost=facts.cost_lines(result),
            payload=_payload(result),
        )

    @staticmethod
    def terminal(picture: StudyPlanPicture) -> RenderableType:
        """What the plan holds."""
        p = picture
        lines = [Text.assemble((f"{name}  ", "dim"), words) for name, words in p.rows]
        return Group(Text(p.title, "bold"), Text(p.intro), *lines, terminal.foot((), p.cost, p.notes))


def _rows(plan: StudyPlan) -> tuple[tuple[str, str], ...]:
    n = len(plan.items)
    right = float(np.mean([i.model_is_right for i in plan.items]))
    return (
        ("items", f"{n:,}, of which the model answers {percent(right)} right"),
        ("participants", f"up to {plan.n_participants:,}"),
        (
            "each of them answers",
            ", ".join(f"{_share(plan, c)} {CONDITIONS[name]}" for c, name in enumerate(plan.conditions)),
        ),
        (
            "asked",
            "before and after anything of the model is shown"
            if plan.ask_first
            else "once, with what is shown",
        ),
        ("plan", plan.key),
    )


def _share(plan: StudyPlan, c: int) -> str:
    """How many items a person answers under condition c."""
    counts = (plan.assigned == c).sum(1)
    low, high = int(counts.min()), int(counts.max())
    return plural(low, "item") if low == high else f"{low:,} to {plural(high, 'item')}"


def _payload(plan: StudyPlan) -> dict[str, Any]:
    return {
        "key": plan.key,
        "first": plan.ask_first,
        "conditions": list(plan.conditions),
        "assigned": plan.assigned.tolist(),
        "order": plan.order.tolist(),
        "items": [
            {
                "text": visible(i.text),
                "question": visible(i.question),
                "options": [visible(o) for o in i.options],
                "values": list(i.options),
                "model": visible(i.model),
                "explanation": visible(i.explanation),
                "words": [[visible(word), score] for word, score in i.words],
            }
            for i in plan.items
        ],
    }
