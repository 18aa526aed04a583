"""What studies of explanations in words share: the answer, why it was given, and why another question was answered.

    given      the question's own steps; where it has none, what is written
    written    what the answerer writes after "QUESTION LEAD ANSWER because"

Cost: a prompt a question, and a text written where there are no steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.seed import generator
from exegete.core.value import Value
from exegete.evaluate.asking import AskingStudy
from exegete.evaluate.respond import Prompt, Respondent, pick, unanswered
from exegete.ops.split import split, together


@dataclass(frozen=True)
class Why:
    """A question, the option that was answered (by number), and the explanation."""

    choice: Choice
    answer: int
    text: str


class Explained(Value):
    """What a question was answered with (-1: nothing), and why ("": nothing was said)."""

    answer: int = -1
    text: str = ""


class ExplainedStudy(AskingStudy):
    """Base of studies of answers with their explanations."""

    explanation: Literal["given", "written"] = Field(
        "given",
        description="given: the question's own steps, and what the model writes where it has none; written: always",
    )
    because: str = Field("{answer} because", description="what stands between the lead and an explanation")
    n_written: int = Field(40, ge=1, le=4096, description="most tokens of an explanation that is written")

    def explained(self, who: Respondent, choices: Sequence[Choice], least: int = 2) -> list[Why]:
        """Questions that are answered and explained. Raises `InputError` for fewer than `least`."""
        return self.known(who.name, choices, self.answered(who, choices), least)

    def answered(self, who: Respondent, choices: Sequence[Choice]) -> list[Explained]:
        """Each question alone, answered and explained."""
        prompts = [Prompt(self.framed.text(q.question, "", q.lead), q.options) for q in choices]
        found = []
        for q, prompt, told in zip(choices, prompts, who.tried(prompts)):
            at, why = pick(told), q.chain if self.explanation == "given" else ""
            if at >= 0 and not why:
                asked = f"{prompt.text} {self.because.replace('{answer}', q.options[at])}"
                why = who.write(asked, self.n_written)
            found.append(Explained(answer=at, text=why.strip() if at >= 0 else ""))
        return found

    def known(
        self, name: str, choices: Sequence[Choice], parts: Sequence[Explained], least: int = 2
    ) -> list[Why]:
        """Of questions, those that were answered and explained. Raises `InputError` for fewer than `least`."""
        if all(p.answer < 0 for p in parts):
            raise unanswered(name, len(choices))
        found = [Why(q, p.answer, p.text) for q, p in zip(choices, parts) if p.answer >= 0 and p.text]
        if len(found) < least:
            raise InputError(
                f"You asked what the explanations of {name} are worth.",
                f"{len(found)} of {len(choices)} questions are both answered and explained; {least} are needed.",
                "Give more or shorter questions, or ones with steps.",
            )
        return found

    def shuffled(self, whys: Sequence[Why], nth: int = 0) -> list[str]:
        """The explanation of another question, for each, in the nth of fixed random orders."""
        order = generator(self.seed, "others", nth).permutation(len(whys))
        found = [""] * len(whys)
        for a, b in zip(order, np.roll(order, 1)):
            found[a] = whys[b].text
        return found


def dealt(whys: Sequence[Why], most: int, seed: int) -> tuple[np.ndarray, ...]:
    """Parts of the questions, at most `most`; equal questions are never parted. Raises `InputError` where all are one."""
    groups = together([[(w.choice.question, w.choice.lead)] for w in whys])
    n = min(most, len(np.unique(groups)))
    if n < 2:
        raise InputError(
            f"You asked what can be learned from the explanations of {len(whys)} questions.",
            "All are the same question, so that nothing can be held out.",
            "Give different questions.",
        )
    return split(groups, [1 / n] * n, generator(seed, "parts"))
