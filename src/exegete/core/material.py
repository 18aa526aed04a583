"""What studies are made on: pairs of texts, facts, parsed sentences. Pure data.

Pair      a clean text and a corrupt one that differ in what is studied, with the answer to each
Fact      a prompt that names a subject and is completed by an answer, with paraphrases and neighbours
Parsed    a sentence with its dependency tree
"""

from pydantic import Field, model_validator

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.core.target import Label
from exegete.core.value import Given


class Pair(Given):
    """A clean and a corrupt text. `answer` is what the clean one calls for, `against` what the corrupt one does.

    Left out, they are what the model itself says on each. A `corrupt` left out is made by the study (noise, resampling).
    """

    clean: Text
    corrupt: Text | None = None
    answer: Label = None
    against: Label = None
    id: str = ""

    @classmethod
    def of(cls, clean: object, corrupt: object = None, answer: Label = None, against: Label = None) -> "Pair":
        """A pair from what people write: strings, ids, `Text`."""
        other = None if corrupt is None else Text.of(corrupt)
        return cls(clean=Text.of(clean), corrupt=other, answer=answer, against=against)


class Fact(Given):
    """A prompt that names `subject` and is completed by `answer` (and, edited, by `new`).

    `paraphrases` ask the same in other words; `neighbours` are (prompt, answer) of other subjects that an edit must leave
    alone; `relation` groups facts of one kind.
    """

    prompt: str
    subject: str
    answer: str
    new: str = ""
    relation: str = ""
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[tuple[str, str], ...] = ()
    id: str = ""

    @model_validator(mode="after")
    def _named(self) -> "Fact":
        if not self.subject.strip() or self.subject not in self.prompt:
            raise InputError(
                f"You gave the prompt {self.prompt!r} about the subject {self.subject!r}.",
                "The prompt does not name the subject." if self.subject.strip() else "The subject is empty.",
                "Write the subject exactly as it stands in the prompt.",
            )
        return self

    @property
    def span(self) -> tuple[int, int]:
        """Characters (start, end) of the last mention of the subject in the prompt."""
        start = self.prompt.rindex(self.subject)
        return start, start + len(self.subject)


class Parsed(Given):
    """A sentence as words with, for each, the index of its head (-1 for the root) and its relation to it."""

    words: tuple[str, ...]
    heads: tuple[int, ...]
    relations: tuple[str, ...]
    tags: tuple[str, ...] = Field(default=(), description="part of speech a word")
    id: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "Parsed":
        n = len(self.words)
        if not n or len(self.heads) != n or len(self.relations) != n or len(self.tags) not in (0, n):
            raise InputError(
                f"You gave a parsed sentence of {n} words.",
                f"It has {len(self.heads)} heads, {len(self.relations)} relations and {len(self.tags)} tags.",
                "Give one of each a word.",
            )
        wrong = [h for i, h in enumerate(self.heads) if not -1 <= h < n or h == i]
        if wrong:
            raise InputError(
                f"You gave a parsed sentence of {n} words.",
                f"A word has the head {wrong[0]}, which is no other word of it.",
                "Count words from 0; -1 is the root.",
            )
        return self

    @property
    def text(self) -> str:
        """The words joined by spaces."""
        return " ".join(self.words)
