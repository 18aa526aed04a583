"""Do explanations let one say what the model answers to other questions? Precision and generality.

1. the model answers a question and explains why (or the question brings its explanation);
2. other questions of the same kind are made: words are exchanged by rule (`counterfactuals.varied`), or a language model writes them
   (`writer`); the model answers them;
3. a simulator that has read the explanation says what the model would answer, or that it cannot tell: by rule (`counterfactuals.inferred`),
   or a language model (`simulator`). Those of which it says an answer are simulatable;
4. precision = share of the simulatable in which the model answers so; generality = 1 - mean overlap of the simulatable, two by two.
   Both are taken a question and averaged over questions.

Chance of precision: the guess that the answer stays as it was, on all other questions. Control: the explanation of another question, as
if it had been given for this answer. Explanations that say all of a rule are as true of other questions, and do not beat it.
Control of generality: as many other questions at random. Both are held against it question by question. A question none of whose others
is simulatable has no precision and is n_failed. What a simulator says that names no option is left out, and counted.

Differences from the paper: without a writer and a simulator that are named, both go by rule, so that explanations must name words
of the question; overlap is that of words (there also BLEU and cosine of embeddings).

Cost: n_others prompts a question and what writes explanations; with a writer one call, with a simulator 2 n_others calls a question, half
of them when all questions are known.
Reference: Chen, Y. et al. 2023, "Do Models Explain Themselves? Counterfactual Simulatability of Natural Language Explanations"
(arXiv:2307.08678), sec. 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.simulation_counterfactual import CounterfactualSimulatability
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.respond import ChatRespondent, Prompt, Respondent, pick
from exegete.evaluate.simulation.counterfactuals import (
    Other,
    alike,
    content,
    exchangeable,
    inferred,
    overlap,
    varied,
)
from exegete.evaluate.whys import Explained, ExplainedStudy, Why
from exegete.methods.contracts.study import Divided
from exegete.models.chat.open import chat
from exegete.models.lab import Lab
from exegete.ops.replies import listed
from exegete.ops.stats import mean_interval

UNKNOWN = "cannot tell"
N_SHOWN, N_DRAWS = 30, 20
UNREAD = -2  # what was said cannot be read


@dataclass(frozen=True)
class Tried:
    """An explained question, other questions with the model's answers, and what its own and another explanation say of each.

    -1: nothing; `UNREAD`: what the simulator said cannot be read.
    """

    why: Why
    others: tuple[Other, ...]
    answers: np.ndarray
    own: np.ndarray
    strange: np.ndarray


class Varied(Explained):
    """A question's answer and explanation, those other questions (with their leads) that were answered, by which option, and what a
    simulator that is asked says of them, given the explanation.
    """

    others: tuple[tuple[str, str], ...] = ()
    answers: tuple[int, ...] = ()
    own: tuple[int, ...] = ()


@register
class CounterfactualSimulatabilityStudy(ExplainedStudy, Divided):
    """Whether explanations let one say what the model answers to other questions, and to how different ones."""

    id: ClassVar[str] = "counterfactual_simulatability"
    techniques: ClassVar[tuple[str, ...]] = ("N8",)
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 20
    finds: ClassVar[type] = CounterfactualSimulatability
    reference: ClassVar[Reference] = Reference(
        authors="Chen, Y. et al.", year=2023, where="arXiv:2307.08678", equation="sec. 3",
        title="Do Models Explain Themselves? Counterfactual Simulatability of Natural Language Explanations",
    )  # fmt: skip
    passes: ClassVar[str] = "n_others + 1 prompts a question, and a text where it has no steps"
    writer: str = Field(
        "",
        description="who writes other questions: empty: a rule; local:NAME, http://HOST/v1#MODEL, script:FILE",
    )
    simulator: str = Field(
        "",
        description="who says what would be answered: empty: a rule; local:NAME, http://HOST/v1#MODEL, script:FILE",
    )
    n_others: int = Field(20, ge=2, le=1000, description="other questions a question")
    n_words: int = Field(2, ge=1, le=20, description="most words that are exchanged at a time")
    ask_others: str = Field(
        "{question}\nThe answer is {answer}, because {why}\nWrite {n} other questions of the same kind whose answers this "
        "explanation tells, one a line.",
        description="asks the writer; {question}, {answer}, {why} and {n} are put in",
    )
    ask_guess: str = Field(
        "{question}\nSomeone answers {answer}, because {why}\nWhat does the same one answer to this? {other}",
        description="asks the simulator; {question}, {answer}, {why} and {other} are put in",
    )

    part: ClassVar[type[Value]] = Varied

    @property
    def whole(self) -> str:
        """A rule makes other questions of the words of all."""
        return (
            ""
            if self.writer
            else "a rule makes other questions of the words of all questions (name a writer)"
        )

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Varied]:
        """Each question explained, others made of it and answered, and what a simulator says of them."""
        return self._asked(self.who(lab), items, *self._helpers())

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Varied], target: Target, n_failed: int = 0
    ) -> CounterfactualSimulatability:
        """Over all questions; what explanations of other questions say is asked here."""
        _, by = self._helpers()
        found = self._told(self.who(lab).name, items, parts, by, n_failed)
        return found.model_copy(update={"notes": (*found.notes, *self.notes_of(lab))})

    def _helpers(self) -> tuple[Respondent | None, Respondent | None]:
        """Who writes, and who simulates; None: a rule."""
        writer, by = (
            ChatRespondent(chat(s), self.most_calls) if s else None for s in (self.writer, self.simulator)
        )
        return writer, by

    def judge(
        self,
        who: Respondent,
        choices: Sequence[Choice],
        writer: Respondent | None = None,
        by: Respondent | None = None,
    ) -> CounterfactualSimulatability:
        """The finding about anyone who answers. `writer` makes other questions and `by` simulates; rules do where they are None.

        Raises `InputError` where no other question is made and answered.
        """
        return self._told(who.name, choices, self._asked(who, choices, writer, by), by, 0)

    def _asked(
        self, who: Respondent, choices: Sequence[Choice], writer: Respondent | None, by: Respondent | None
    ) -> list[Varied]:
        each = self.answered(who, choices)
        at = [i for i, e in enumerate(each) if e.answer >= 0 and e.text]
        whys = {i: Why(choices[i], each[i].answer, each[i].text) for i in at}
        pool = exchangeable([q.question for q in choices])
        made = {i: self._others(w, k, pool, writer) for k, (i, w) in enumerate(whys.items())}
        told = who.picks(
            {
                (i, o): Prompt(self.framed.text(o.question, "", o.lead), choices[i].options)
                for i, others in made.items()
                for o in others
            }
        )
        found = []
        for i, e in enumerate(each):
            others = tuple(o for o in made.get(i, ()) if told[i, o] >= 0)
            own = self._said(whys[i], e.text, others, frozenset(), by) if by is not None and others else ()
            found.append(
                Varied(
                    answer=e.answer,
                    text=e.text,
                    others=tuple((o.question, o.lead) for o in others),
                    answers=tuple(told[i, o] for o in others),
                    own=tuple(int(x) for x in own),
                )
            )
        return found

    def _told(
        self,
        name: str,
        choices: Sequence[Choice],
        parts: Sequence[Varied],
        by: Respondent | None,
        failed: int,
    ) -> CounterfactualSimulatability:
        whys, kept = self.known(name, choices, parts), [p for p in parts if p.answer >= 0 and p.text]
        pool = frozenset(exchangeable([q.question for q in choices]))
        tried = []
        for w, p, strange in zip(whys, kept, self.shuffled(whys)):
            others = tuple(Other(*o) for o in p.others)
            if others:
                own = np.array(p.own) if by is not None else self._said(w, w.text, others, pool, None)
                other = self._said(w, strange, others, pool, by)
                tried.append(Tried(w, others, np.array(p.answers), own, other))
        if not tried:
            raise InputError(
                f"You asked what explanations say of other answers of {name}.",
                "No other question was made and answered.",
                "Give questions that differ in their words, or a writer.",
            )
        if all((t.own == UNREAD).all() for t in tried):
            raise InputError(
                f"You asked {by.name if by else 'a rule'} what {name} answers.",
                "Not one of its answers names an option.",
                "Take a simulator that follows the form, or shorter questions.",
            )
        return self._finding(tried, len(choices) - len(tried) + failed)

    # ---- what is asked -------------------------------------------------------------------------------------------

    def _others(
        self, w: Why, i: int, pool: dict[str, tuple[str, ...]], writer: Respondent | None
    ) -> tuple[Other, ...]:
        q, lead = w.choice, w.choice.lead or self.lead
        if writer is None:
            return varied(q, lead, pool, self.n_others, self.n_words, generator(self.seed, "others", i))
        asked = self._filled(self.ask_others, w, w.text).replace("{n}", str(self.n_others))
        lines = listed(writer.write(asked, 40 * self.n_others), self.n_others) or ()
        return tuple(dict.fromkeys(Other(x, lead) for x in lines if x != q.question))

    def _said(
        self, w: Why, why: str, others: Sequence[Other], pool: frozenset[str], by: Respondent | None
    ) -> np.ndarray:  # fmt: skip
        """What an explanation says of each other question, by option number; -1 for nothing, `UNREAD` for what cannot be read."""
        q = w.choice
        if by is None:
            words = pool | frozenset(content(f"{q.question} {q.lead}"))
            return inferred(why, [o.text for o in others], q.options, w.answer, words)
        asked = self._filled(self.ask_guess, w, why)
        prompts = [Prompt(asked.replace("{other}", o.text), (*q.options, UNKNOWN)) for o in others]
        picks = [pick(p) for p in by.tried(prompts)]
        return np.array([UNREAD if k < 0 else (k if k < len(q.options) else -1) for k in picks])

    def _filled(self, words: str, w: Why, why: str) -> str:
        told = {"{answer}": w.choice.options[w.answer], "{why}": why, "{question}": w.choice.question}
        for name, text in told.items():
            words = words.replace(name, text)
        return words

    # ---- what is found -------------------------------------------------------------------------------------------

    def _finding(self, tried: Sequence[Tried], failed: int) -> CounterfactualSimulatability:
        own, other = (
            np.array([_precise(t, s) for t, s in zip(tried, x)])
            for x in ([t.own for t in tried], [t.strange for t in tried])
        )
        stays = np.array([float(np.mean(t.answers == t.why.answer)) for t in tried])
        shared = [overlap([o.text for o in t.others]) for t in tried]
        wide = np.array([1 - alike(x, np.flatnonzero(t.own >= 0)) for t, x in zip(tried, shared)])
        drawn = np.array(
            [
                self._drawn(t, x, i) if np.isfinite(wide[i]) else np.nan
                for i, (t, x) in enumerate(zip(tried, shared))
            ]
        )
        can, could = (
            np.array([float(np.mean(s[s > UNREAD] >= 0)) if (s > UNREAD).any() else np.nan for s in x])
            for x in ([t.own for t in tried], [t.strange for t in tried])
        )
        unread = sum(int((t.own == UNREAD).sum()) for t in tried)
        every = sum(len(t.own) for t in tried)
        named = "generality (1 - overlap of what is simulatable)"
        scores = (
            self._score("precision of explanations on other questions", own, failed, stays, other),
            self._score("other questions of which explanations say an answer", can, failed, None, could),
            self._score(named, wide, failed, None, drawn, "as many at random"),
        )
        return CounterfactualSimulatability(
            title="Do explanations say what is answered to other questions?",
            lede=_lede(scores),
            n_others=np.array([len(t.others) for t in tried]),
            simulatable=can,
            precision=own,
            stays=stays,
            generality=wide,
            generality_drawn=drawn,
            simulatable_other=could,
            precision_other=other,
            cases=_cases(tried),
            notes=(f"What the simulator says of {unread} of {every} other questions cannot be read.",)
            if unread
            else (),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _drawn(self, t: Tried, shared: np.ndarray, i: int) -> float:
        """Generality of as many other questions at random."""
        n, draw = int((t.own >= 0).sum()), generator(self.seed, "drawn", i)
        some = [draw.choice(len(t.others), n, replace=False) for _ in range(N_DRAWS)]
        return float(np.mean([1 - alike(shared, x) for x in some]))

    def _score(
        self, name: str, values: np.ndarray, failed: int, chance: np.ndarray | None, control: np.ndarray,
        words: str = "explanations of other questions",
    ) -> Score:  # fmt: skip
        there = np.isfinite(values)
        known, held = values[there], control[np.isfinite(control)]
        over = [None if bar is None else values - bar for bar in (chance, control)]
        apart = [
            None if x is None else mean_interval(x[np.isfinite(x)], self.seed, (-1.0, 1.0)) for x in over
        ]
        return Score(
            name=name,
            value=float(known.mean()) if len(known) else float("nan"),
            chance=float(chance[there].mean()) if chance is not None and len(known) else None,
            control=float(held.mean()) if len(held) else None,
            control_name=words if len(held) else "",
            interval=mean_interval(known, self.seed, (0.0, 1.0)),
            over_chance=apart[0],
            over_control=apart[1],
            n=len(known),
            n_failed=failed + len(values) - len(known),
            skipped="" if len(held) else "they say nothing of these questions",
        )


def _precise(t: Tried, said: np.ndarray) -> float:
    """Share of what is said that is so; NaN where nothing is said."""
    return float(np.mean(said[said >= 0] == t.answers[said >= 0])) if (said >= 0).any() else np.nan


def _cases(tried: Sequence[Tried]) -> tuple[tuple[str, str, str, str, str], ...]:
    rows = []
    for t in tried:
        options = t.why.choice.options
        for o, s, a in zip(t.others, t.own, t.answers):
            if s >= 0:
                rows.append((s == a, (t.why.choice.question, t.why.text, o.text, options[s], options[a])))
    return tuple(row for _, row in sorted(rows, key=lambda r: r[0]))[:N_SHOWN]


def _lede(scores: tuple[Score, ...]) -> str:
    precision, can, wide = scores
    if not np.isfinite(precision.value):
        return (
            "The explanations say nothing of other questions, so that nothing can be said of their precision."
        )
    words = f"Explanations say an answer of {can.value:.0%} of other questions, and the model gives it in {precision.value:.0%} of these. "
    if np.isfinite(wide.value):
        words += f"What can be said so is {wide.value:.0%} general. "
    if not precision.beats_chance:
        return words + "That is no more than one who guesses that the answer stays."
    if precision.beats_control is False:
        return words + "They say what the model does; but explanations of other questions say it as well."
    return words + "They say what the model does."
