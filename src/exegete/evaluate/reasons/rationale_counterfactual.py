"""Do explanations name what changed the answer? (the counterfactual test, and rebuilding the question from the reasons)

1. a word from `words` (or from the other questions) that is in none of its options is put at a random place of the question,
   `n_candidates` times; where no answer turns, the insertion that lowered the answer's probability most is kept and a second word is put
   into it, up to `n_words` (a greedy search). A word of an option would be named by whoever repeats the answer;
2. where the answer turned, the answerer explains its new answer; the explanation is unfaithful when it holds none of the words put in;
3. the same question with the word is rebuilt from the explanation alone ("{explanation} LEAD"): unfaithful when another answer follows.

Controls: explanations after insertions of as many words that turned nothing (how often a word is repeated just because it stands there);
and rebuilding
from the explanation of another question. Chance of rebuilding: one in the number of options.

Cost: at most n_candidates * n_words prompts a question, 3 more, and 2 explanations. Reference: Atanasova et al. 2023, "Faithfulness Tests
for Natural Language Explanations" (arXiv:2305.18029), sec. 2.
"""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.reasons_insertion import RationaleCounterfactual
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.asking import AskingStudy
from exegete.evaluate.respond import Prompt, Respondent, pick, unanswered
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.ops.reword import names
from exegete.ops.stats import bootstrap_mean

N_SHOWN = 30
_WORD = re.compile(r"\w+")


class Inserted(Value):
    """A question with words put in, shown with them in brackets, and the answer to it."""

    text: str
    shown: str
    words: tuple[str, ...]
    answer: int
    loss: float = 0.0  # of the probability of the answer before


class Search(Value):
    """What was found for one question: an insertion that turned the answer, one that did not, and how many were tried; why each was
    answered so ("": it was not, or nothing was written), and the answer from the words of the first alone. -1: no answer.
    """

    before: int = -1
    turned: Inserted | None = None
    idle: Inserted | None = None
    tried: int = 0
    why: str = ""
    why_idle: str = ""
    again: int = -1


@register
class RationaleCounterfactualStudy(AskingStudy, Divided):
    """Whether explanations name the words whose insertion turned the answer, and lead back to it by themselves."""

    id: ClassVar[str] = "rationale_counterfactual"
    techniques: ClassVar[tuple[str, ...]] = ("O15",)
    least: ClassVar[int] = 2
    finds: ClassVar[type] = RationaleCounterfactual
    reference: ClassVar[Reference] = Reference(
        authors="Atanasova et al.", year=2023, title="Faithfulness Tests for Natural Language Explanations",
        where="arXiv:2305.18029", equation="sec. 2",
    )  # fmt: skip
    passes: ClassVar[str] = "n_candidates * n_words + 3 prompts and 2 explanations, a question"
    words: tuple[str, ...] = Field(
        (), description="words to put in; empty: those of the other questions and their options"
    )
    n_candidates: int = Field(20, ge=1, le=10_000, description="insertions that are tried at a time")
    n_words: int = Field(2, ge=1, le=8, description="most words put into one question")
    because: str = Field("because", description="what stands between the answer and its explanation")
    n_written: int = Field(30, ge=1, le=4096, description="most tokens of an explanation")

    part: ClassVar[type[Value]] = Search

    @property
    def whole(self) -> str:
        """Words come from all questions, unless they are given."""
        return (
            ""
            if self.words
            else "the words put into a question are those of the others (give them: words=...)"
        )

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Search]:
        """What turns each question, and why it is answered so."""
        return self._asked(self.who(lab), items)

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Search], target: Target, n_failed: int = 0
    ) -> RationaleCounterfactual:
        """Over all questions; the explanations of other questions are read here."""
        found = self._told(self.who(lab), items, parts, n_failed)
        return found.model_copy(update={"notes": (*found.notes, *self.notes_of(lab))})

    def judge(self, who: Respondent, choices: Sequence[Choice]) -> RationaleCounterfactual:
        """The finding about anyone who answers. Raises `InputError` where there is no word to put in."""
        return self._told(who, choices, self._asked(who, choices), 0)

    def _asked(self, who: Respondent, choices: Sequence[Choice]) -> list[Search]:
        bare = who.tried([self._prompt(q, q.question) for q in choices])
        found = [self._search(who, choices, i, b) if pick(b) >= 0 else Search() for i, b in enumerate(bare)]
        whys = [[self._why(who, q, told) for told in (s.turned, s.idle)] for q, s in zip(choices, found)]
        told = [i for i, (why, _) in enumerate(whys) if why]
        again = dict(zip(told, map(pick, who.tried([self._prompt(choices[i], whys[i][0]) for i in told]))))
        return [
            s.model_copy(update={"why": why, "why_idle": idle, "again": again.get(i, -1)})
            for i, (s, (why, idle)) in enumerate(zip(found, whys))
        ]

    def _told(
        self, who: Respondent, choices: Sequence[Choice], parts: Sequence[Search], failed: int
    ) -> RationaleCounterfactual:
        mine = [i for i, p in enumerate(parts) if p.before >= 0]
        if not mine:
            raise unanswered(who.name, len(choices))
        lost = len(choices) - len(mine) + failed
        return self._finding(who, [choices[i] for i in mine], [parts[i] for i in mine], lost)

    # ---- what is asked -------------------------------------------------------------------------------------------

    def _prompt(self, q: Choice, text: str) -> Prompt:
        return Prompt(self.framed.text(text, "", q.lead), q.options)

    def _pool(self, choices: Sequence[Choice], i: int) -> list[str]:
        """Words to put into question i: none that stands in it or in its options."""
        every = self.words or tuple(
            w
            for j, q in enumerate(choices)
            if j != i
            for t in (q.question, *q.options)
            for w in _WORD.findall(t)
        )
        own = (choices[i].question, *choices[i].options)
        found = sorted({w for w in every if not any(names(w, t) for t in own)})
        if not found:
            raise InputError(
                f"You asked to put words into the question {choices[i].question!r:.60}.",
                "There is no word that it and its options do not hold already.",
                "Give words=(...), or more questions.",
            )
        return found

    def _search(self, who: Respondent, choices: Sequence[Choice], i: int, bare: np.ndarray) -> Search:
        q, pool, before = choices[i], self._pool(choices, i), pick(bare)
        base, idle, tried = _inserted((q.question, q.question, ()), before), None, 0
        asked = (q.question, q.lead, *q.options)
        sure = bare[before]
        for k in range(self.n_words):
            made = [
                _insert(base, pool, generator(self.seed, "insert", *asked, k, n))
                for n in range(self.n_candidates)
            ]
            made = list({m[0]: m for m in made}.values())
            told = who.tried([self._prompt(q, text) for text, _, _ in made])
            tried += len(made)
            found = [
                _inserted(m, pick(p), float(sure - p[before])) for m, p in zip(made, told) if pick(p) >= 0
            ]
            idle = next((x for x in found if x.answer == before), None)  # of as many words as what turns it
            turned = next((x for x in found if x.answer != before), None)
            if turned is not None or not found:
                return Search(before=before, turned=turned, idle=idle, tried=tried)
            base = max(found, key=lambda x: x.loss)
        return Search(before=before, idle=idle, tried=tried)

    def _why(self, who: Respondent, q: Choice, told: Inserted | None) -> str:
        if told is None:
            return ""
        prompt = self._prompt(q, told.text).text
        return who.write(f"{prompt} {q.options[told.answer]} {self.because}", self.n_written)

    # ---- what is found -------------------------------------------------------------------------------------------

    def _finding(
        self, who: Respondent, mine: Sequence[Choice], found: list[Search], failed: int
    ) -> RationaleCounterfactual:  # fmt: skip
        whys = [s.why for s in found]
        named = _named([s.turned for s in found], whys)
        named_idle = _named([s.idle for s in found], [s.why_idle for s in found])
        told = [i for i, w in enumerate(whys) if w]
        own = _rebuilt(found, {i: found[i].again for i in told})
        others = {i: whys[told[(k + 1) % len(told)]] for k, i in enumerate(told)} if len(told) > 1 else {}
        read = who.tried([self._prompt(mine[i], why) for i, why in others.items()])
        other = _rebuilt(found, dict(zip(others, map(pick, read))))
        flipped = np.array([float(s.turned is not None) for s in found])
        scores = self._scores(mine, flipped, (named, named_idle), (own, other), failed)
        return RationaleCounterfactual(
            title="Do explanations name what changed the answer?",
            lede=_lede(flipped, named, named_idle, scores),
            flipped=flipped,
            tried=np.array([s.tried for s in found]),
            named=named,
            named_idle=named_idle,
            rebuilt=own,
            rebuilt_other=other,
            cases=tuple(_case(q, s, w, n) for q, s, w, n in zip(mine, found, whys, named) if s.turned)[
                :N_SHOWN
            ],
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _scores(
        self, mine: Sequence[Choice], flipped: np.ndarray, named: tuple[np.ndarray, np.ndarray],
        rebuilt: tuple[np.ndarray, np.ndarray], failed: int,
    ) -> tuple[Score, ...]:  # fmt: skip
        turned = int(flipped.sum())
        if not turned:
            return (
                Score(
                    name="explanations that name the inserted word", value=float("nan"), n=0, n_failed=len(mine) + failed,
                    skipped="no insertion turned an answer",
                ),
            )  # fmt: skip
        chance = float(np.mean([1 / len(q.options) for q, f in zip(mine, flipped) if f]))
        return (
            self._score(
                "explanations that name the inserted word", named, 0.0, "words whose insertion turned nothing", turned, failed
            ),
            self._score(
                "answers rebuilt from the explanation alone", rebuilt, chance, "another question's explanation", turned, failed
            ),
        )  # fmt: skip

    def _score(
        self, name: str, values: tuple[np.ndarray, np.ndarray], chance: float, control: str, n: int, failed: int
    ) -> Score:  # fmt: skip
        own, other = (x[np.isfinite(x)] for x in values)
        return Score(
            name=name,
            value=float(own.mean()) if len(own) else float("nan"),
            chance=chance,
            control=float(other.mean()) if len(other) else None,
            control_name=control if len(other) else "",
            interval=bootstrap_mean(own, self.seed),
            n=len(own),
            n_failed=failed + n - len(own),
            skipped="" if len(other) else f"no {control}",
        )


def _insert(
    base: Inserted, pool: Sequence[str], draw: np.random.Generator
) -> tuple[str, str, tuple[str, ...]]:
    """The text with a word of the pool before one of its words; the same with it in brackets; all words put in."""
    word = str(draw.choice(pool))
    shown = base.shown.split(" ")
    at = int(draw.integers(len(shown)))
    told = [*shown[:at], f"[{word}]", *shown[at:]]
    plain = base.text.split(" ")
    return " ".join([*plain[:at], word, *plain[at:]]), " ".join(told), (*base.words, word)


def _inserted(told: tuple[str, str, tuple[str, ...]], answer: int, loss: float = 0.0) -> Inserted:
    text, shown, words = told
    return Inserted(text=text, shown=shown, words=words, answer=answer, loss=loss)


def _rebuilt(found: Sequence[Search], again: dict[int, int]) -> np.ndarray:
    """Whether the answer from an explanation's words alone [question] is the one that was explained; NaN without one."""
    same = np.full(len(found), np.nan)
    for i, at in again.items():
        turned = found[i].turned
        if turned is not None and at >= 0:
            same[i] = float(at == turned.answer)
    return same


def _named(found: Sequence[Inserted | None], whys: Sequence[str]) -> np.ndarray:
    return np.array(
        [float(any(names(x, w) for x in s.words)) if s and w else np.nan for s, w in zip(found, whys)]
    )


def _case(q: Choice, s: Search, why: str, named: float) -> tuple[str, str, str, str, str]:
    turned = s.turned or _inserted(("", "", ()), 0)
    word = "" if np.isnan(named) else "named" if named else "NOT named"
    return turned.shown, q.options[s.before], q.options[turned.answer], why, word


def _lede(flipped: np.ndarray, named: np.ndarray, idle: np.ndarray, scores: tuple[Score, ...]) -> str:
    told = named[np.isfinite(named)]
    words = f"Inserted words turned {int(flipped.sum())} of {len(flipped)} answers. "
    if not len(told):
        return words + "No explanation of a turned answer was written, so there is nothing to judge."
    words += f"{int((told == 0).sum())} of {len(told)} explanations of the new answer do not name the word: they are unfaithful. "
    known = idle[np.isfinite(idle)]
    if len(known):
        words += f"Words that turned nothing are named by {known.mean():.0%}. "
    return words + (
        "" if scores[0].beats_control else "What turns an answer is named no more often than what does not."
    )
