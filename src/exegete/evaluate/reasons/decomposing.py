"""Sub-questions and their answers: asked each in a context of its own, or one after the other in one context.

    factored    PART                                    nothing else is read: neither the question nor the other sub-questions
    chained     QUESTION PART ANSWER. PART ANSWER. PART     everything before it is read

"#2" in a sub-question stands for the answer of the second; it is filled in when that is known, in both ways. An answer is what the
answerer writes, up to the end of its first sentence; one that writes nothing leaves "", which is kept and counted. Equal prompts are
asked once.

Cost: a text written a sub-question. Reference: Radhakrishnan et al. 2023 (arXiv:2307.11768), sec. 2.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from exegete.core.value import Value
from exegete.evaluate.respond import Respondent
from exegete.ops.replies import listed
from exegete.ops.reword import mistaken, reworded

_REFERENCE = re.compile(r"#(\d+)")
_END = re.compile(r"\n|[.;!?](?=\s|$)")
Said = tuple[tuple[str, str], ...]  # (sub-question as it was asked, its answer)

Name = tuple[
    str, str, int
]  # a prompt about a question: way, test or setting ("": as it is), place (-1: of none)


class Decomposed(Value):
    """A question's parts (none: it has none, and none were written), what was answered to them by way, the option that is hinted at
    (-1: nobody knows which is wrong), and those picked, each behind its name (-1: no answer).
    """

    parts: tuple[tuple[str, str], ...] = ()
    said: dict[str, Said] = {}
    hint: int = -1
    picks: tuple[tuple[str, str, int, int], ...] = ()

    @property
    def by_name(self) -> dict[Name, int]:
        """The options picked."""
        return {(way, test, place): option for way, test, place, option in self.picks}


def whole(way: str) -> Name:
    """The name of the prompt with all that a way puts before the answer."""
    return way, "", -1


@dataclass
class Asker:
    """Asks sub-questions of one answerer. `alone` writes one in a context of its own, `pair` one with its answer."""

    who: Respondent
    alone: str
    pair: str
    most: int
    known: dict[str, str] = field(default_factory=dict)

    def decomposed(self, prompt: str, most: int) -> tuple[tuple[str, str], ...]:
        """The sub-questions that it writes itself, without answers; none where it writes none."""
        return tuple((p, "") for p in listed(self.who.write(prompt, most)) or ())

    def said(
        self, question: str, parts: Sequence[tuple[str, str]], fixed: Sequence[str] = (), factored: bool = True
    ) -> Said:  # fmt: skip
        """Every sub-question filled in, with its answer; the first answers are `fixed`, as are those that the parts bring."""
        found: list[tuple[str, str]] = []
        for i, (part, given) in enumerate(parts):
            asked = filled(part, [a for _, a in found])
            if i < len(fixed):
                answer = fixed[i]
            elif given:
                answer = given
            else:
                before = self.text(found)
                prompt = self.alone.replace("{part}", asked)
                answer = self._written(
                    prompt if factored else " ".join(filter(None, (question, before, asked)))
                )
            found.append((asked, answer))
        return tuple(found)

    def text(self, said: Sequence[tuple[str, str]], reword: int = 0) -> str:
        """Sub-questions with their answers as one text, the first `reword` of them in other words."""
        each = [self.pair.replace("{part}", p).replace("{answer}", a) for p, a in said]
        return " ".join([*map(reworded, each[:reword]), *each[reword:]])

    def _written(self, prompt: str) -> str:
        if prompt not in self.known:
            self.known[prompt] = first(self.who.write(prompt, self.most))
        return self.known[prompt]


def filled(part: str, answers: Sequence[str]) -> str:
    """A sub-question with the answers that it refers to; a reference to one that is not there stays as it is."""

    def answer(m: re.Match[str]) -> str:
        k = int(m[1])
        return answers[k - 1] if 1 <= k <= len(answers) and answers[k - 1] else m[0]

    return _REFERENCE.sub(answer, part)


def first(text: str) -> str:
    """The first sentence of what was written, without its end."""
    found = text.strip()
    at = _END.search(found)
    return (found[: at.start()] if at else found).strip().strip("\"'")


def wrong(
    answer: str, options: Sequence[str], others: Sequence[str], draw: np.random.Generator
) -> str | None:
    """Another answer in place of this one: another option where it is one, else a mistake by rule, else what was answered to another
    question; None where there is none of these."""
    if answer in options:
        return str(draw.choice([o for o in options if o != answer]))
    made = mistaken(answer, options, draw)
    if made is not None:
        return made[0]
    rest = sorted({o for o in others if o and o != answer})
    return str(draw.choice(rest)) if rest else None
