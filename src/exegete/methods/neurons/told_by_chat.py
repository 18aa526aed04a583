"""Descriptions of units written and judged by a language model.

1. the writer reads each unit's strongest texts to explain, with activations from 0 to 10, and answers with a sentence;
2. the judge, the same model asked anew, knows a description and test texts: it says a number a token (simulation), yes or no
   to whole texts (detection) and to marked tokens (fuzzing), and which of three texts is the intruder. Every description is
   asked about every text, so that each unit has its own description and, swapped, those of the others.

What cannot be read is counted: prose instead of numbers, wrong counts, cut answers, questions that are refused as too long. A text
without readable numbers is left out of that simulation; yes or no that is neither is no answer, one half; no intruder named, one
third. An empty description foretells nothing (0, 1/2, 1/2, 1/3) and is not asked about; one that was refused cannot be judged
(NaN). A description cut at its most tokens is judged as far as it goes. Failures of the connection end the study.

The embedding score needs no judge: it is added by the study, which embeds all writers' descriptions alike.

Shapes: table [unit, description, kind], without that kind. Cost: no pass of the model under study; calls, at most: units + units * (2 * texts +
marks + trials), equal questions asked once. Reference: Bills et al. 2023; Paulo et al. 2024.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from exegete.core.errors import BudgetError, InputError
from exegete.methods.neurons.unit_texts import Read
from exegete.models.chat.base import Ask, Chat, ChatError, Message, Reply
from exegete.models.chat.local import LocalChat
from exegete.models.lab import Lab
from exegete.ops import unit_prompts as prompts
from exegete.ops.description_scores import (
    CROWD,
    Mark,
    Trial,
    balanced,
    fires,
    marks,
    share,
    simulation,
    trials,
)
from exegete.ops.replies import chosen

WRITTEN, WORD = 50, 12  # most tokens: of a description; of yes or no, or the number of a text
LINE, ROOM = 8, 16  # most tokens of a number a token, and beside them
SHOWN, TOP = 10, 20  # most texts that the writer reads; alternatives a token
WINDOW = 32  # most tokens of a text that the writer reads, around the strongest
LENGTH = 64  # most tokens of a test text
ASKED = ("simulating", "detecting", "marking", "choosing")  # questions, by kind of score
TOO_MUCH = (400, 413, 422)  # an endpoint's refusals of one question, usually for its length


@dataclass(frozen=True)
class Case:
    """One unit: `peak` and its strongest texts, (tokens, values [token]); on the test texts its values, and the bar of firing."""

    name: str
    peak: float
    strongest: tuple[tuple[tuple[str, ...], np.ndarray], ...]
    values: tuple[np.ndarray, ...]
    bar: float


@dataclass(frozen=True)
class Plan:
    """What is asked of every description: numbers and yes or no on `texts`; and unit by unit `marks` and `trials`."""

    cases: tuple[Case, ...]
    texts: tuple[Read, ...]
    marks: tuple[tuple[Mark, ...], ...]
    trials: tuple[tuple[Trial, ...], ...]

    @property
    def spots(self) -> tuple[tuple[int, int], ...]:
        """Different marks (text, token) of all units."""
        return tuple(dict.fromkeys((t, i) for rows in self.marks for t, i, _ in rows))

    @property
    def crowds(self) -> tuple[tuple[int, ...], ...]:
        """Different trials of all units, by their texts as shown."""
        return tuple(dict.fromkeys(shown for rows in self.trials for shown, _ in rows))


@dataclass
class Answers:
    """Asks each question once and counts, by kind of question, answers [asked] and those that could not be read."""

    chat: Chat
    top: int
    asked: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    refused: str = ""  # why the first refused question was

    def count(self, kind: str, read: bool) -> None:
        """One more answer."""
        self.asked[kind] = self.asked.get(kind, 0) + 1
        self.failed[kind] = self.failed.get(kind, 0) + (not read)

    def say(self, ask: Ask) -> Reply | None:
        """The answer, or None for a question that is refused. Raises `ChatError` where asking on is of no use."""
        try:
            return self.chat.answer(ask)
        except ChatError as e:
            if (
                not isinstance(self.chat, LocalChat)
                and getattr(e.__cause__, "status_code", 0) not in TOO_MUCH
            ):
                raise
            self.refused = self.refused or e.found
            return None


@dataclass(frozen=True)
class Told:
    """`words` by unit (None: it could not be written), `table` [unit, description, kind], answers by kind of score and those
    that could not be read, and `note`: what it took.
    """

    words: tuple[str | None, ...]
    table: np.ndarray
    asked: tuple[int, ...]
    failed: tuple[int, ...]
    note: str


def tell(lab: Lab, chat: Chat, cases: Sequence[Case], texts: Sequence[Read], most: int) -> Told:
    """Descriptions of the units and how well each foretells every unit on `texts`.

    Raises `BudgetError` before any call where it may take more than `most` calls, and what the chat raises.
    """
    plan = Plan(
        cases=tuple(cases),
        texts=tuple(texts),
        marks=tuple(tuple(marks(c.values, c.bar, lab.rng("marks", c.name))) for c in cases),
        trials=tuple(tuple(trials(c.values, c.bar, lab.rng("trials", c.name))) for c in cases),
    )
    answers = Answers(chat, TOP if chat.probabilities else 0)
    note = _note(chat, plan, answers.top, most)
    words, grid = [], np.full((len(cases), len(cases), len(ASKED)), np.nan)
    with lab.working(len(cases), note) as done:
        for c in cases:
            words.append(_write(answers, c))
            done()
    with lab.working(len(cases), f"asking {chat.name} about {len(texts)} test texts") as done:
        for d, said in enumerate(words):
            if said is not None:
                grid[:, d] = _judged(answers, said, plan)
            done()
    return Told(
        words=tuple(words),
        table=grid,
        asked=tuple(answers.asked.get(k, 0) for k in ASKED),
        failed=tuple(answers.failed.get(k, 0) for k in ASKED),
        note=_after(note, answers),
    )


def excerpt(text: Read, unit: int) -> tuple[tuple[str, ...], np.ndarray]:
    """What the writer reads of a text: tokens and values [token] around the strongest, most of them before it."""
    values = text.values[:, unit]
    start = max(0, int(values.argmax()) - 3 * WINDOW // 4) if len(values) > WINDOW else 0
    return text.tokens[start : start + WINDOW], values[start : start + WINDOW]


def picked(lab: Lab, held: Sequence[Read], bars: Sequence[float], n: int) -> tuple[Read, ...]:
    """At most `n` test texts, cut to their first `LENGTH` tokens: unit by unit one that sets it off, until half are taken, then any.

    Raises `InputError` where no test text has a token.
    """
    texts = [Read(r.tokens[:LENGTH], r.values[:LENGTH], r.ids[:LENGTH]) for r in held if r.tokens]
    if not texts:
        raise InputError(
            "You asked a language model to judge descriptions.", "No test text has a token.", "Give texts with words."
        )  # fmt: skip
    order = lab.rng("judged").permutation(len(texts)).tolist()
    firing = [[t for t in order if texts[t].values[:, i].max() > bar] for i, bar in enumerate(bars)]
    turns = [t for turn in zip_longest(*firing) for t in turn if t is not None]
    first = list(dict.fromkeys(turns))[: (n + 1) // 2]
    return tuple(texts[t] for t in sorted(list(dict.fromkeys([*first, *order]))[:n]))


def _judged(answers: Answers, words: str, plan: Plan) -> np.ndarray:
    """Scores [unit, kind] of one description on every unit."""
    texts = plan.texts
    if words:
        values = [_simulate(answers, words, t.tokens) for t in texts]
        yes = np.array([_yes(answers, "detecting", _ask_whole(words, t)) for t in texts])
        marked = {s: _yes(answers, "marking", _ask_mark(words, texts[s[0]], s[1])) for s in plan.spots}
        odd = {c: _odd(answers, _ask_odd(words, [texts[t] for t in c])) for c in plan.crowds}
    else:
        values = [np.zeros(len(t.tokens)) for t in texts]
        yes, marked, odd = np.full(len(texts), 0.5), dict.fromkeys(plan.spots, 0.5), {}
    rows = []
    for c, spots, crowds in zip(plan.cases, plan.marks, plan.trials):
        read = [(v, y) for v, y in zip(values, c.values) if v is not None]
        told = np.array([marked[t, i] for t, i, _ in spots])
        hits = [
            1 / CROWD if (at := odd.get(shown)) is None else float(at == right) for shown, right in crowds
        ]
        rows.append(
            (
                simulation([v for v, _ in read], [y for _, y in read]) if read else np.nan,
                balanced(yes, fires(c.values, c.bar)),
                balanced(told, np.array([r for _, _, r in spots])) if spots else np.nan,
                share(hits) if hits else np.nan,
            )
        )
    return np.array(rows)


def _write(answers: Answers, case: Case) -> str | None:
    """A description; asked again with fewer texts where the question is too long for the writer. None where it is refused."""
    n = len(case.strongest)
    while n:
        reply = answers.say(_ask_words(case, n))
        if reply is not None:
            answers.count("writing", True)
            return " ".join(reply.text.split())
        n //= 2
    answers.count("writing", False)
    return None


def _simulate(answers: Answers, words: str, tokens: Sequence[str]) -> np.ndarray | None:
    reply = answers.say(_ask_numbers(words, tokens, answers.top))
    values = None
    if reply is not None and not reply.cut:
        steps = [[(a.token, a.logprob) for a in step] for step in reply.top]
        values = prompts.simulated(reply.text, len(tokens), steps)
    answers.count("simulating", values is not None)
    return values


def _yes(answers: Answers, kind: str, ask: Ask) -> float:
    """1 for yes, 0 for no, 0.5 where the answer is neither."""
    reply = answers.say(ask)
    said = None if reply is None or reply.cut else chosen(reply.text, ("no", "yes"))
    answers.count(kind, said is not None)
    return 0.5 if said is None else float(said)


def _odd(answers: Answers, ask: Ask) -> int | None:
    """The place of the text that is named, None where none is."""
    reply = answers.say(ask)
    at = None if reply is None or reply.cut else prompts.choice(reply.text, CROWD)
    answers.count("choosing", at is not None)
    return at


def _ask_words(case: Case, n: int) -> Ask:
    shown = [(t, prompts.told(v, case.peak)) for t, v in case.strongest[:n]]
    return _ask(prompts.writing(shown), WRITTEN)


def _ask_numbers(words: str, tokens: Sequence[str], top: int) -> Ask:
    return _ask(prompts.simulating(words, tokens), LINE * len(tokens) + ROOM, top)


def _ask_whole(words: str, text: Read) -> Ask:
    return _ask(prompts.detecting(words, text.tokens), WORD)


def _ask_mark(words: str, text: Read, at: int) -> Ask:
    return _ask(prompts.marking(words, text.tokens, at), WORD)


def _ask_odd(words: str, texts: Sequence[Read]) -> Ask:
    return _ask(prompts.choosing(words, [t.tokens for t in texts]), WORD)


def _ask(question: str, most: int, top: int = 0) -> Ask:
    messages = (Message(role="user", content=question),)
    return Ask(messages=messages, max_tokens=most, temperature=0.0, seed=0, top=top)


def _note(chat: Chat, plan: Plan, top: int, most: int) -> str:
    """What it will take at most, said before the first call. Descriptions are not known yet: their place is held by as many letters.

    Raises `BudgetError` for more than `most` calls.
    """
    cases, texts = plan.cases, plan.texts
    asks = [_ask_words(c, len(c.strongest)) for c in cases]
    for c in cases:
        blank = f"({c.name})".ljust(4 * WRITTEN, ".")
        asks += [_ask_numbers(blank, t.tokens, top) for t in texts] + [_ask_whole(blank, t) for t in texts]
        asks += [_ask_mark(blank, texts[t], i) for t, i in plan.spots]
        asks += [_ask_odd(blank, [texts[t] for t in shown]) for shown in plan.crowds]
    cost = chat.preview(asks)
    if cost.calls > most:
        raise BudgetError(
            f"You asked {chat.name} for descriptions of {len(cases)} units, judged on {len(texts)} texts.",
            f"It may take {cost.calls:,} calls; {most:,} are allowed.",
            "Lower n_shown or n_judged, or raise most_calls.",
        )
    kept = f", {cost.kept:,} kept from before" if cost.kept else ""
    return (
        f"asking {chat.name}: at most {cost.calls:,} calls{kept}, about {cost.tokens_in:,} tokens read and at most"
        f" {cost.tokens_out:,} written"
    )


def _after(note: str, answers: Answers) -> str:
    spent, n = answers.chat.spent, sum(answers.asked.values())
    lost = sum(answers.failed.values())
    words = f"{note[0].upper()}{note[1:]}. {n:,} answers ({spent.kept:,} kept), {lost:,} of them could not be read."
    return words + (f" Some questions were refused, the first because: {answers.refused}" if lost and answers.refused else "")  # fmt: skip
