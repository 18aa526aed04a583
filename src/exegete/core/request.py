"""`Text`: one text to be explained, plain, as a pair, as a chat, as marked segments, or as token ids.

Segments (chat roles, a system prompt, retrieved documents, demonstrations) become units of their own. A chat is rendered
by the tokenizer's own template; segments are joined as they stand. `ids` are read as they are, never decoded and read again.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from pydantic import model_validator

from exegete.core.errors import InputError
from exegete.core.value import Given


class Segment(Given):
    """A named piece of the input: its text and what it is (`system`, `user`, `document`, `demonstration`, ...)."""

    text: str
    role: str = "segment"


class Text(Given):
    """A request about one text.

    Exactly one of `text`, `segments`, `messages`, `ids` is given. `pair` is the second sentence of a sentence pair.
    `spans` are character ranges of the text that may be explained as units. `truncate` allows cutting at the model's length limit.
    """

    text: str | None = None
    pair: str | None = None
    segments: tuple[Segment, ...] = ()
    messages: tuple[Segment, ...] = ()
    ids: tuple[int, ...] | None = None
    spans: tuple[tuple[int, int], ...] = ()
    truncate: bool = False
    id: str = ""

    @model_validator(mode="after")
    def _one(self) -> "Text":
        given = [self.text is not None, bool(self.segments), bool(self.messages), self.ids is not None]
        if sum(given) != 1:
            raise InputError(
                "You asked to explain a text.",
                f"{sum(given)} of text, segments, messages and ids were given.",
                "Give exactly one of them.",
            )
        if self.pair is not None and self.text is None:
            raise InputError(
                "You gave the second text of a pair.",
                "There is no first text.",
                "Give it: Text(text=..., pair=...).",
            )
        wrong = [s for s in self.spans if not 0 <= s[0] < s[1]]
        if wrong:
            raise InputError(
                f"You marked the span {wrong[0]}.",
                "A span starts at 0 or later and ends after its start.",
                "Give (start, end) as character positions, end not included.",
            )
        return self

    @classmethod
    def of(cls, value: "Text | str | Sequence[int] | Sequence[dict] | Any") -> "Text":
        """A request from what people write: a string, a list or array of token ids, or chat messages with `role` and `content`."""
        if isinstance(value, Text):
            return value
        if isinstance(value, str):
            return cls(text=value)
        items = _items(value)
        if items and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in items):
            return cls(messages=tuple(Segment(text=m["content"], role=m["role"]) for m in items))  # type: ignore[index]
        if items and all(isinstance(i, Integral) and not isinstance(i, bool) for i in items):
            return cls(ids=tuple(map(int, items)))  # type: ignore[arg-type]
        raise InputError(
            "You asked to explain an input.",
            f"A {type(value).__name__} of this shape is not a text, a list of token ids or a chat.",
            'Give a string, ids, or [{"role": "user", "content": "..."}].',
        )

    @classmethod
    def of_segments(cls, *segments: "Segment | str") -> "Text":
        """A request made of pieces that are joined as they stand and can be explained with unit='segment'."""
        return cls(segments=tuple(s if isinstance(s, Segment) else Segment(text=s) for s in segments))


def _items(value: Any) -> list[Any]:
    """What a sequence, an array or a tensor of one axis holds; nothing for bytes, which are no ids."""
    if isinstance(value, (bytes, bytearray, dict)) or not hasattr(value, "__iter__"):
        return []
    plain = value.tolist() if hasattr(value, "tolist") else list(value)
    return plain if isinstance(plain, list) else []
