"""Judges whose leanings are known, behind a chat: each reads the prompt as a model would, and answers in the form it asks for."""

import re
from collections.abc import Callable

from exegete.models.chat.base import Ask, Chat, Reply

Rule = Callable[[str, str, str], int]  # text, explanation A, explanation B -> 1 for A, -1 for B, 0 for a tie


def quality(text: str, explanation: str) -> int:
    """How many words of the explanation stand in the text."""
    return sum(w in text.split() for w in re.findall(r"\w+", explanation))


def honest(text: str, a: str, b: str) -> int:
    """The one that names more words of the text."""
    x, y = quality(text, a), quality(text, b)
    return (x > y) - (x < y)


def first(text: str, a: str, b: str) -> int:
    """Always the first place."""
    return 1


def vain(text: str, a: str, b: str) -> int:
    """What begins with "indeed" is its own, and wins; of others the better one."""
    x, y = a.startswith("indeed"), b.startswith("indeed")
    return x - y if x != y else honest(text, a, b)


def wordy(text: str, a: str, b: str) -> int:
    """The longer one."""
    return (len(a) > len(b)) - (len(a) < len(b))


class Judge(Chat):
    """Answers every question of the rubric by the rule; every `garbled`-th answer is none."""

    name = "a planted judge"

    def __init__(self, rule: Rule, garbled: int = 0) -> None:
        super().__init__()
        self.rule, self.garbled, self.asked = rule, garbled, 0
        self.prompts: list[str] = []

    @property
    def identity(self) -> str:
        return "planted judge"

    def _say(self, ask: Ask) -> Reply:
        prompt = ask.messages[-1].content
        self.asked += 1
        self.prompts.append(prompt)
        if self.garbled and self.asked % self.garbled == 0:
            return Reply(text="Both are fine.")
        text = prompt.split("Text: ")[1].split("\nThe model's answer")[0]
        a = prompt.split("Explanation A: ")[1].split("\n\nExplanation B: ")[0]
        b = prompt.split("Explanation B: ")[1].split("\n\nSay for each")[0]
        word = {1: "A", -1: "B", 0: "tie"}[self.rule(text, a, b)]
        n = len(re.findall(r"^\d+\. ", prompt, re.MULTILINE))
        return Reply(text="\n".join(f"{i}: {word}" for i in range(1, n + 1)))
