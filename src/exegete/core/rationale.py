"""What people marked: a text, its label, and for each annotator the stretches that support the label. Pure data.

    gold(units)   one row an annotator: which units of an explanation hold something that was marked

A unit counts as marked when a mark covers any of its characters that are no blanks, so that marks that end within a word mark
the word, whatever the tokenizer makes of it. The second text of a pair follows the first after one line break, as the models
read it here. Reference: DeYoung et al. 2020, section 4 (rationales as spans).
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from exegete.core.errors import InputError
from exegete.core.request import Text
from exegete.core.target import Label
from exegete.core.text import Span, Unit
from exegete.core.value import Given


class Rationale(Given):
    """A text with its label and what each annotator marked in it: (start, end) in characters, end not included."""

    text: Text
    label: Label = None
    marks: tuple[tuple[Span, ...], ...] = Field(min_length=1, description="stretches, by annotator")
    annotators: tuple[str, ...] = ()
    id: str = ""

    @model_validator(mode="after")
    def _inside(self) -> "Rationale":
        if self.text.text is None:
            raise InputError(
                "You gave a rationale.",
                "Its text is ids, segments or a chat.",
                "Give a plain text, or a pair.",
            )
        if self.annotators and len(self.annotators) != len(self.marks):
            raise InputError(
                f"You gave the rationales of {len(self.annotators)} annotators.",
                f"There are {len(self.marks)} rows of marks.",
                "Give one row each, () for one who marked nothing.",
            )
        n = len(self.whole)
        for k, row in enumerate(self.marks):
            wrong = [s for s in row if not 0 <= s[0] < s[1] <= n]
            if wrong:
                raise InputError(
                    f"You marked the characters {tuple(wrong[0])} of {self.whole!r:.80}{_by(self, k)}.",
                    f"The text has {n} characters.",
                    "Give (start, end) as character positions, end not included.",
                )
        return self

    @property
    def whole(self) -> str:
        """The text as units count its characters: a pair is joined by a line break."""
        return f"{self.text.text}\n{self.text.pair}" if self.text.pair is not None else str(self.text.text)

    def gold(self, units: Sequence[Unit]) -> np.ndarray:
        """What was marked [annotator, unit] bool. Raises `InputError` for a mark that lies in no unit."""
        text, found = self.whole, np.zeros((len(self.marks), len(units)), dtype=bool)
        cover = np.full(len(text), -1)
        for i, u in enumerate(units):
            cover[u.start : u.end] = i
        blank = np.array([c.isspace() for c in text])
        for k, row in enumerate(self.marks):
            for start, end in row:
                held = cover[start:end][~blank[start:end]]
                if not (held >= 0).any():
                    raise InputError(
                        f"You gave a rationale for {text!r:.60}{_by(self, k)}.",
                        f"The mark {text[start:end]!r} ({start} to {end}) lies in none of the {len(units)} units.",
                        "Check the positions, or whether the text was cut.",
                    )
                found[k, held[held >= 0]] = True
        return found


def _by(r: Rationale, k: int) -> str:
    name = f" by annotator {r.annotators[k]}" if r.annotators else ""
    return f"{name} ({r.id})" if r.id else name
