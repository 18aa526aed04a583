"""Answerers whose reasons are known: functions from a prompt to the option they choose, asked directly or behind a chat."""

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from exegete.core.material import Choice
from exegete.evaluate.respond import Prompt, Respondent
from exegete.models.chat.base import Ask, Chat, Reply

DIGITS = tuple(str(i) for i in range(11))


class Planted(Respondent):
    """Answers by a rule."""

    name = "a planted answerer"

    def __init__(self, rule: Callable[[str, tuple[str, ...]], int], writes: str = "") -> None:
        self.rule, self.writes, self.asked = rule, writes, 0

    def _answers(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        self.asked += len(prompts)
        return [np.eye(len(p.options))[self.rule(p.text, p.options)] for p in prompts]

    def write(self, prompt: str, most: int) -> str:
        return self.writes


class PlantedChat(Chat):
    """The same behind a chat: reads the prompt up to the list of options."""

    name = "a planted chat"

    def __init__(self, rule: Callable[[str, tuple[str, ...]], int]) -> None:
        super().__init__()
        self.rule = rule

    @property
    def identity(self) -> str:
        return "planted"

    def _say(self, ask: Ask) -> Reply:
        text, _, listed = ask.messages[-1].content.rpartition("\n\nAnswer with one of: ")
        options = tuple(listed.removesuffix(". Say nothing else.").split(", "))
        return Reply(text=f"It is {options[self.rule(text, options)]}.")


def adds(text: str, options: tuple[str, ...]) -> int:
    """All numbers of the chain together, modulo 11: every step counts."""
    return sum(map(int, re.findall(r"\d+", text))) % 11


def ignores(text: str, options: tuple[str, ...]) -> int:
    """The number of letters of the question's first word: the chain is never read."""
    return len(text.split()[0]) % len(options)


def guesses(text: str, options: tuple[str, ...]) -> int:
    """Anything, by the whole text."""
    return hashlib.sha256(text.encode()).digest()[0] % len(options)


def sums(n: int, steps: int = 4) -> tuple[Choice, ...]:
    """Questions whose chain adds one at every step."""
    return tuple(
        Choice(
            question=f"{'q' * (1 + i)} has how many?",
            options=DIGITS,
            answer=DIGITS[steps],
            steps=tuple("then 1 more is put there." for _ in range(steps)),
        )
        for i in range(n)
    )
