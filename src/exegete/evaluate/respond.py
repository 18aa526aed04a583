"""Who answers questions with options: the model itself, or a language model behind a chat. One way to ask both.

local   the probability of each option right after the prompt (the sum of its tokens' log-probabilities), over all options; nothing
        is sampled. Options of one token share a pass
chat    the prompt and "Answer with one of: ..."; the option that the answer names has probability 1. An answer that names none or
        several is no answer

What cannot be answered (a prompt longer than the model reads, an answer that names no option) is NaN, to be counted as failed.
Equal prompts are asked once.

Cost: a forward a prompt and option of several tokens; a call a prompt. Shapes: probabilities [option].
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from exegete.core.errors import BudgetError, InputError
from exegete.core.request import Text
from exegete.models.chat.base import Chat, ChatError
from exegete.models.chat.local import LocalChat
from exegete.models.encode import encode, encode_target, limit
from exegete.models.lab import Lab
from exegete.models.likelihood import Asked, told
from exegete.models.model import Model
from exegete.ops.replies import chosen

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Prompt:
    """A text that ends where the answer begins, and the options."""

    text: str
    options: tuple[str, ...]


class Respondent(ABC):
    """Answers prompts. `name` is shown to people."""

    name: str = ""

    @abstractmethod
    def _answers(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """Probabilities [option] of each of different prompts; NaN where there is no answer."""

    @abstractmethod
    def write(self, prompt: str, most: int) -> str:
        """What it writes after a prompt, greedily, at most `most` tokens; "" where it cannot."""

    def size(self, text: str) -> int:
        """How long a text is for it: words."""
        return len(text.split())

    def answers(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """Probabilities [option] of every prompt. Raises `InputError` where not one can be answered."""
        found = self.tried(prompts)
        if found and all(np.isnan(x).any() for x in found):
            raise unanswered(self.name, len(dict.fromkeys(prompts)))
        return found

    def tried(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        """The same, all NaN where not one can be answered: of one question among others, which is a failure to be counted."""
        different = list(dict.fromkeys(prompts))
        found = dict(zip(different, self._answers(different)))
        return [found[p] for p in prompts]

    def picks(self, prompts: dict[K, Prompt]) -> dict[K, int]:
        """The likeliest option of prompts by name; -1 where there is no answer, be it of all."""
        return {k: pick(x) for k, x in zip(prompts, self.tried(list(prompts.values())))}


def unanswered(name: str, n: int) -> InputError:
    """What is said where not one of n prompts was answered."""
    return InputError(
        f"You asked {name} {n} questions.",
        "Not one was answered: they are longer than it reads, or its answers name none of the options.",
        "Ask shorter questions, or look at what it answers.",
    )


def continued(model: Model, prompt: str, words: str) -> list[int]:
    """Token ids of words that go on after a prompt, with a space between them where none stands."""
    glue = "" if prompt[-1:].isspace() or prompt[-1:] == "(" else " "
    return encode_target(model, prompt, glue + words)


def pick(probabilities: np.ndarray) -> int:
    """The likeliest option, the first of equals; -1 where there is no answer."""
    return -1 if np.isnan(probabilities).any() else int(probabilities.argmax())


class LocalRespondent(Respondent):
    """The model of a lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.name = lab, lab.model.name

    def size(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.lab.model.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0

    def _answers(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        asked = [self._asked(p) for p in prompts]
        logs = iter(told(self.lab, [a for several in asked for a in several]))
        return [_normal([float(next(logs).sum()) for _ in several], p) for several, p in zip(asked, prompts)]

    def _asked(self, prompt: Prompt) -> list[Asked]:
        """One input an option; none where it does not fit."""
        model = self.lab.model
        try:
            tokens = list(encode(model, Text.of(prompt.text)).tokens)
        except InputError:
            return []
        while tokens[-1].special:  # an end-of-text token after the prompt
            tokens.pop()
        ids = tuple(t.id for t in tokens)
        told_as = [continued(model, prompt.text, o) for o in prompt.options]
        most = limit(model)
        if most is not None and len(ids) + max(map(len, told_as)) > most:
            return []
        last = len(ids) - 1
        return [Asked((*ids, *t[:-1]), tuple(range(last, last + len(t))), tuple(t)) for t in told_as]

    def write(self, prompt: str, most: int) -> str:
        """Its own greedy continuation."""
        try:
            reply = self._chat.say(prompt, max_tokens=most)
        except ChatError:  # longer than it reads
            return ""
        self.lab.meter.forwards += reply.tokens_out
        self.lab.meter.tokens += reply.tokens_in + reply.tokens_out
        return reply.text

    @cached_property
    def _chat(self) -> LocalChat:
        return LocalChat(self.lab.model)


class ChatRespondent(Respondent):
    """A language model behind a chat; at most `most` calls. Raises `BudgetError` before it would make more."""

    def __init__(self, chat: Chat, most: int = 2000) -> None:
        self.chat, self.name, self.most, self.asked = chat, chat.name, most, 0

    def _answers(self, prompts: Sequence[Prompt]) -> list[np.ndarray]:
        self._spend(len(prompts))
        return [self._one(p) for p in prompts]

    def _one(self, prompt: Prompt) -> np.ndarray:
        listed = ", ".join(prompt.options)
        said = self.chat.say(
            f"{prompt.text}\n\nAnswer with one of: {listed}. Say nothing else.", max_tokens=20
        )
        hit = chosen(said.text, prompt.options)
        return np.full(len(prompt.options), np.nan) if hit is None else np.eye(len(prompt.options))[hit]

    def write(self, prompt: str, most: int) -> str:
        """Its answer."""
        self._spend(1)
        return self.chat.say(prompt, max_tokens=most).text

    def _spend(self, n: int) -> None:
        self.asked += n
        if self.asked > self.most:
            raise BudgetError(
                f"You asked {self.name} to answer.",
                f"It would take {self.asked:,} calls or more, and most_calls is {self.most:,}.",
                "Give fewer questions, or a larger most_calls.",
            )


@dataclass(frozen=True)
class Frame:
    """How a prompt is written: {question}, {chain} and {lead} are put in; without a chain, its place is left out."""

    words: str
    lead: str

    def text(self, question: str, chain: str, lead: str = "") -> str:
        """The prompt."""
        words = self.words if chain else re.sub(r"\{chain\}\s*", "", self.words)
        filled = words.replace("{lead}", lead or self.lead).replace("{chain}", chain)
        return filled.replace("{question}", question)


def _normal(logs: Sequence[float], prompt: Prompt) -> np.ndarray:
    if not logs:
        return np.full(len(prompt.options), np.nan)
    x = np.exp(np.array(logs) - max(logs))
    return x / x.sum()
