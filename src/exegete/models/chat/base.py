"""`Chat`: what a language model that writes must offer, whatever it is: messages in, words and their probabilities out.

A backend implements `_say(ask) -> Reply`; counting, keeping and the letters around it are here, once:

1. an `Ask` is the whole request (messages and every setting) and is hashed as a whole;
2. a reply that is kept under that hash, for that backend and model, is taken from there;
3. what the backend cannot do (probabilities) is refused before it is asked.

Cost: one call an ask that is not kept. `spent` counts calls, tokens and replies taken from the store.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from exegete.core.errors import ExegeteError, MissingNeed
from exegete.core.value import Given, Value
from exegete.models.chat.kept import Replies

Role = Literal["system", "user", "assistant"]


class ChatError(ExegeteError):
    """A language model that writes cannot be reached, refuses, or answers what cannot be used."""


class Message(Given):
    """One turn of a conversation."""

    role: Role
    content: str


class Ask(Given):
    """One request. `top` > 0 asks for the probabilities of the `top` likeliest tokens at every step of the answer."""

    messages: tuple[Message, ...] = Field(min_length=1)
    max_tokens: int = Field(200, ge=1, description="most tokens of the answer")
    temperature: float = Field(0.0, ge=0.0, description="0: the likeliest answer")
    seed: int = Field(0, description="seed of a sampled answer")
    stop: tuple[str, ...] = Field(default=(), description="strings at which the answer ends")
    top: int = Field(0, ge=0, le=20, description="how many alternatives to report a token")


class Alternative(Value):
    """A token that could have been said, and its log-probability."""

    token: str
    logprob: float


class Reply(Value):
    """An answer. `finish` is "stop" or, when it was cut, "length"; `top` holds the alternatives of every token
    said; local models report the end token too, most endpoints do not.
    """

    text: str
    finish: str = "stop"
    top: tuple[tuple[Alternative, ...], ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def cut(self) -> bool:
        """Whether the answer ended because it reached the most tokens allowed."""
        return self.finish == "length"


@dataclass
class Spent:
    """What a backend was asked for: calls made, replies taken from the store, tokens in and out."""

    calls: int = 0
    kept: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class Chat(ABC):
    """A language model that writes. `name` is shown to people; `identity` is what its answers depend on."""

    name: str = ""

    def __init__(self, replies: Replies | None = None) -> None:
        self.replies = replies or Replies(None)
        self.spent = Spent()

    @property
    @abstractmethod
    def identity(self) -> str:
        """Backend, model and revision: two backends of equal identity give equal answers to equal requests."""

    @property
    def probabilities(self) -> bool:
        """Whether it reports the probabilities of its tokens."""
        return False

    @abstractmethod
    def _say(self, ask: Ask) -> Reply:
        """Answer one request. Raises `ChatError`."""

    def say(
        self,
        messages: Sequence[Message] | str,
        *,
        max_tokens: int = 200,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        top: int = 0,
    ) -> Reply:
        """Answer `messages` (a string: one turn of the user); settings are the fields of `Ask`.

        Raises `ChatError`, `MissingNeed` for probabilities that it does not report, `UsageError` for a setting.
        """
        turns = (Message(role="user", content=messages),) if isinstance(messages, str) else tuple(messages)
        return self.answer(
            Ask(
                messages=turns,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                stop=tuple(stop),
                top=top,
            )
        )

    def answer(self, ask: Ask) -> Reply:
        """Answer one request, from the store where it was answered before."""
        if ask.top and not self.probabilities:
            raise MissingNeed(
                f"You asked {self.name} for the probabilities of its words.",
                "It does not report them.",
                "Use a local model or an endpoint that does, or a way of asking that reads the answer alone.",
            )
        key = self._key(ask)
        held = self.replies.get(key)
        if held is not None:
            self.spent.kept += 1
            return Reply.model_validate_json(held)
        reply = self._say(ask)
        self.spent.calls += 1
        self.spent.tokens_in += reply.tokens_in
        self.spent.tokens_out += reply.tokens_out
        self.replies.put(key, reply.model_dump_json())
        return reply

    def preview(self, asks: Sequence[Ask]) -> Spent:
        """What answering all of these would take at most: calls, replies that are kept, tokens (about four letters each)."""
        new = {self._key(a): a for a in asks}
        known = {k for k in new if self.replies.get(k) is not None}
        rest = [a for k, a in new.items() if k not in known]
        letters = sum(len(m.content) for a in rest for m in a.messages)
        return Spent(len(rest), len(asks) - len(rest), letters // 4, sum(a.max_tokens for a in rest))

    def _key(self, ask: Ask) -> str:
        return json.dumps([self.identity, ask.model_dump(mode="json")], sort_keys=True, ensure_ascii=False)
