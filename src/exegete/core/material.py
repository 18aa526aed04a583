"""What studies are made on: pairs of texts, facts, parsed sentences, labelled texts. Pure data.

Pair      a clean text and a corrupt one that differ in what is studied, with the answer to each
Fact      a prompt that names a subject and is completed by an answer, with paraphrases and neighbours
Parsed    a sentence with its dependency tree
Marked    a text in which things are labelled: the whole, words, or pairs of stretches
Minimal   an acceptable sentence and one that is not, which differ in as little as possible
Choice    a question with the options of its answer, and how one comes to it: steps of a chain, or parts asked one by one
"""

from functools import cached_property

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
    features: tuple[str, ...] = Field(default=(), description='morphology a word, "Number=Plur|Case=Nom"')
    id: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "Parsed":
        n = len(self.words)
        if (
            not n
            or len(self.heads) != n
            or len(self.relations) != n
            or len(self.tags) not in (0, n)
            or len(self.features) not in (0, n)
        ):
            raise InputError(
                f"You gave a parsed sentence of {n} words.",
                f"It has {len(self.heads)} heads, {len(self.relations)} relations, {len(self.tags)} tags and "
                f"{len(self.features)} features.",
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

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Characters (start, end) of every word in `text`."""
        found, at = [], 0
        for word in self.words:
            found.append((at, at + len(word)))
            at += len(word) + 1
        return tuple(found)

    def feature(self, i: int, name: str) -> str:
        """The value of one feature of word i, `feature(3, "Number") == "Plur"`; "" where it has none."""
        if not self.features:
            return ""
        named = dict(part.split("=", 1) for part in self.features[i].split("|") if "=" in part)
        return named.get(name, "")


Tag = str | float | tuple[float, ...]


class Mark(Given):
    """One labelled thing of a text: the whole of it (no span), a stretch of characters (one), or a pair of them (two)."""

    label: Tag = Field(description="a class name, a number, or several numbers (latitude and longitude)")
    spans: tuple[tuple[int, int], ...] = Field(
        default=(), max_length=2, description="(start, end) in characters"
    )


class Marked(Given):
    """A text in which things are labelled; texts of one `group` (what is true of a city, and what is not) are never parted."""

    text: str
    marks: tuple[Mark, ...]
    id: str = ""
    group: str = ""

    @model_validator(mode="after")
    def _inside(self) -> "Marked":
        if not self.text.strip() or not self.marks:
            raise InputError(
                "You gave a labelled text.",
                "The text is empty."
                if not self.text.strip()
                else f"Nothing is labelled in {self.text!r:.80}.",
                "Give a text and at least one mark.",
            )
        n = len(self.text)
        wrong = [s for m in self.marks for s in m.spans if not 0 <= s[0] < s[1] <= n]
        if wrong:
            raise InputError(
                f"You marked the characters {wrong[0]} of {self.text!r:.80}.",
                f"The text has {n} characters.",
                "Give (start, end) as character positions, end not included.",
            )
        return self

    @classmethod
    def of(cls, text: str, label: Tag, id: str = "") -> "Marked":
        """A whole text with its label."""
        return cls(text=text, marks=(Mark(label=label),), id=id)

    @property
    def ties(self) -> tuple[tuple[str, str], ...]:
        """What it shares with other texts that belong in the same part of a split: its words, and its group."""
        return (("text", self.text), *((("group", self.group),) if self.group else ()))

    @property
    def labels(self) -> tuple[Tag, ...]:
        """The label of every mark."""
        return tuple(m.label for m in self.marks)

    @property
    def words(self) -> tuple[str, ...]:
        """What each mark stands on: its first stretch, or the whole text."""
        return tuple(self.text[slice(*m.spans[0])] if m.spans else self.text for m in self.marks)


class Minimal(Given):
    """A minimal pair: `good` is acceptable, `bad` is not; `phenomenon` names what they differ in."""

    good: str
    bad: str
    phenomenon: str = ""
    id: str = ""

    @model_validator(mode="after")
    def _two(self) -> "Minimal":
        if not self.good.strip() or not self.bad.strip() or self.good == self.bad:
            raise InputError(
                f"You gave the minimal pair {self.good!r:.60} / {self.bad!r:.60}.",
                "Both are the same." if self.good == self.bad else "One of them is empty.",
                "Give an acceptable sentence and one that is not.",
            )
        return self


class Choice(Given):
    """A question with the `options` of its answer (`answer` is the right one, "" where nobody knows).

    `steps` are a chain of thought, `reworded` the same steps in other words; `parts` are sub-questions, each with its answer ("" where it must be asked), in which "#1" stands
    for the answer of the first; `lead` is what stands right before the answer ("" : the study's own words).
    """

    question: str
    options: tuple[str, ...]
    answer: str = ""
    steps: tuple[str, ...] = ()
    reworded: tuple[str, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()
    lead: str = ""
    id: str = ""

    @model_validator(mode="after")
    def _asked(self) -> "Choice":
        asked = f"You gave the question {self.question!r:.80}."
        if not self.question.strip():
            raise InputError("You gave a question.", "It is empty.", "Write what is asked.")
        if (
            len(self.options) < 2
            or len(set(self.options)) < len(self.options)
            or not all(map(str.strip, self.options))
        ):
            raise InputError(
                asked,
                f"Its options are {self.options!r:.80}.",
                "Give at least two, all different, none empty.",
            )
        if self.answer and self.answer not in self.options:
            raise InputError(
                asked, f"Its answer {self.answer!r:.40} is none of its options.", "Name one of them."
            )
        if self.reworded and len(self.reworded) != len(self.steps):
            found = f"It has {len(self.steps)} steps, and {len(self.reworded)} in other words."
            raise InputError(asked, found, "Give each step once in other words.")
        return self

    @property
    def chain(self) -> str:
        """The steps as one text."""
        return " ".join(self.steps)
