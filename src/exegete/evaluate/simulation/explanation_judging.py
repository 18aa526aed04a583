"""A language model judges explanations, in pairs, by a rubric, in both orders; and is judged itself.

1. of every text, each pair of explanations is put before the judge as A and B, then as B and A; no writer is named;
2. for each question of the rubric it says A, B or tie, a line each; the place that more of them speak for is its verdict. It gives no
   grades: the questions are about what an explanation has to do. An answer that lacks a line is malformed, its pair failed;
3. a verdict counts where it is the same in both orders; else the pair is a tie.

    inconsistent verdicts      share of pairs whose verdict turned with the order; 0 is a judge that looks at no place. Chance: one
                               whose verdicts have the same shares of A, B and tie, and hang on nothing
    lean to a place            share of pairs that lean to the first less those that lean to the second place. Control: the least that
                               is told apart from none (sign test); whoever reaches it is exposed
    preference for its own     of pairs with an explanation by the judge's `own` writer: how much more often it errs from the known order
                               for that one than against it, where its verdict stayed. Control: as above
    lean to the longer one     the same of the longer explanation, over the other pairs
    agreement with the order   a tie one half. Chance 1/2; control: a judge who takes the longer one
    wins of a writer           chance 1/2; control: the same

Cost: 2 calls a pair. Reference: Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena" (arXiv:2306.05685), sec. 3.3-4.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from os import PathLike

import numpy as np

from exegete.core.errors import BudgetError, ExegeteError, InputError, UnknownName, UsageError
from exegete.core.result import Provenance
from exegete.core.results.explanation_judging import Candidate, ExplainedText, ExplanationJudging
from exegete.core.rows import asked, fault, misfit, rows_of
from exegete.core.trust import Cost, Score, Trust
from exegete.models.chat.base import Chat, ChatError
from exegete.ops.stats import groups_interval
from exegete.ops.verdicts import critical, overall, read, settled

RUBRIC = (
    "Which names more exactly the words of the text that the answer comes from?",
    "Which gives reasons without which the answer would have been another?",
    "Which says less that does not stand in the text?",
)
PROMPT = (
    "Two explanations say why a model gave its answer to a text. Compare the explanations; whether the answer is right does not matter."
    "\n\nText: {text}\nThe model's answer: {answer}\n\nExplanation A: {a}\n\nExplanation B: {b}\n\n"
    "Say for each question which one does better: A, B or tie. Place, length and style mean nothing.\n{questions}\n\n"
    'Answer with one line a question, such as "1: A", and nothing else.'
)
WHAT = "explained texts"
FORM = 'Rows: {"text", "answer", "explanations": [{"writer", "text", "quality"?}, ...]}.'
TOKENS_A_LINE, IN_A_ROW, SHOWN = 12, 3, 80
LENGTH = "a judge who takes the longer one"
SHARE, GAIN = (0.0, 1.0), (-1.0, 1.0)  # where values lie


def read_explained(path: str | PathLike[str]) -> tuple[ExplainedText, ...]:
    """Explained texts of a .jsonl or .json file. Raises `InputError` naming the row that does not fit."""
    found = []
    for place, row in rows_of(path, WHAT):
        try:
            found.append(ExplainedText(**row))
        except ExegeteError as e:
            raise fault(path, WHAT, place, f"does not fit: {misfit(e)}", FORM) from None
    if not found:
        raise InputError(asked(path, WHAT), "It holds none.", FORM)
    return tuple(found)


@dataclass(frozen=True)
class _Pair:
    """Two explanations of a text, with what was said of them by place in each order [question]; None: malformed."""

    text: int
    x: Candidate
    y: Candidate
    first: tuple[int, ...] | None = None
    swapped: tuple[int, ...] | None = None

    @property
    def read(self) -> bool:
        """Whether both verdicts could be read."""
        return self.first is not None and self.swapped is not None

    def by(self, writer: str) -> bool:
        """Whether one of both is by `writer`; "" is nobody."""
        return bool(writer) and writer in (self.x.writer, self.y.writer)

    @property
    def places(self) -> tuple[int, int]:
        """The verdicts of both orders by place."""
        return overall(self.first or ()), overall(self.swapped or ())

    @property
    def result(self) -> int:
        """1: x, -1: y, 0: a tie."""
        return settled(*self.places)

    @property
    def known(self) -> int | None:
        """The same by the known order; None where it is not known."""
        a, b = self.x.quality, self.y.quality
        return None if a is None or b is None else int(np.sign(a - b))

    @property
    def astray(self) -> int:
        """Which way it errs where the order is known: 1 towards x, -1 towards y; 0 also where the verdict turned with the order."""
        a, b = self.places
        return int(np.sign(self.result - (self.known or 0))) if a == -b else 0

    @property
    def longer(self) -> int:
        """The same by length."""
        return int(np.sign(len(self.x.text) - len(self.y.text)))


def judge_explanations(
    texts: Sequence[ExplainedText],
    judge: Chat,
    *,
    rubric: Sequence[str] = RUBRIC,
    own: str = "",
    most_calls: int = 2000,
    seed: int = 0,
) -> ExplanationJudging:
    """The verdicts of `judge` on every pair of explanations; `own` is the writer that it is (or shares a model with).

    Raises `BudgetError` before it would make more than `most_calls`, `UsageError` for an empty rubric, `InputError` where no verdict can
    be read, `ChatError` where it cannot be asked.
    """
    pairs = [_Pair(i, x, y) for i, t in enumerate(texts) for x, y in combinations(t.explanations, 2)]
    questions = tuple(q.strip() for q in rubric)
    _askable(pairs, questions, own, most_calls)
    told, failures = _told(texts, pairs, judge, questions)
    good = [p for p in told if p.read]
    if not good:
        raise InputError(
            f"You asked {judge.name} to judge {len(pairs)} pairs of explanations.",
            f"None of its answers can be read ({failures[0]}).",
            "Take a model that follows the form, or a simpler rubric.",
        )
    bad = [p for p in told if not p.read]
    bias = _biases(good, own, bad)
    scores = (*_soundness(good, bad, seed), *(s for _, s in bias))
    exposed = tuple(words for words, s in bias if words and s.value >= (s.control or 0.0))
    writers = tuple(dict.fromkeys(c.writer for t in texts for c in t.explanations))
    scores += tuple(_wins(w, good, bad, seed) for w in writers)
    return ExplanationJudging(
        title="Whose explanations does the judge prefer, and can it be trusted?",
        lede=_lede(scores, exposed, any(p.known for p in good)),
        judge=judge.name,
        criteria=questions,
        writers=writers,
        wins=_table(writers, good),
        pairs=tuple(_row(texts, p) for p in told),
        by_criterion=np.mean([[a == -b for a, b in zip(p.first or (), p.swapped or ())] for p in good], axis=0),
        exposed=exposed,
        failures=tuple(failures),
        context=(("judge", judge.name), ("texts", str(len(texts))), ("pairs", str(len(pairs)))),
        notes=_notes(good, own),
        trust=Trust(scores=scores, seed=seed),
        cost=Cost(forwards=judge.spent.calls, tokens=judge.spent.tokens_in + judge.spent.tokens_out),
        provenance=Provenance(
            model=judge.name, method="explanation_judging", params={"rubric": list(questions), "own": own}, seed=seed
        ),
    )  # fmt: skip


def _askable(pairs: list[_Pair], questions: tuple[str, ...], own: str, most: int) -> None:
    writers = {c.writer for p in pairs for c in (p.x, p.y)}
    if not pairs:
        raise InputError("You asked for a judgement of explanations.", "No text was given.", FORM)
    if not questions or not all(questions):
        raise UsageError(
            "You gave the judge a rubric.", "It holds no question, or an empty one.", "Give at least one."
        )
    if own and own not in writers:
        raise UnknownName("writer", own, writers)
    if 2 * len(pairs) > most:
        raise BudgetError(
            f"You asked for a judgement of {len(pairs):,} pairs of explanations.",
            f"It takes {2 * len(pairs):,} calls, and most_calls is {most:,}.",
            "Give fewer texts, or a larger most_calls.",
        )


def _told(
    texts: Sequence[ExplainedText], pairs: list[_Pair], judge: Chat, questions: tuple[str, ...]
) -> tuple[list[_Pair], list[str]]:
    """Every pair with its verdicts, and the answers that cannot be read."""
    failures: list[str] = []
    listed = "\n".join(f"{i}. {q}" for i, q in enumerate(questions, 1))
    unreached = 0
    found = []
    for p in pairs:
        told = []
        for a, b in ((p.x, p.y), (p.y, p.x)):
            put = {"text": texts[p.text].text, "answer": texts[p.text].answer, "a": a.text, "b": b.text}
            try:
                reply = judge.say(
                    PROMPT.format(**put, questions=listed), max_tokens=TOKENS_A_LINE * len(questions)
                )
            except ChatError as e:  # longer than it reads, perhaps; an endpoint that is gone stays gone
                unreached += 1
                if unreached >= IN_A_ROW:
                    raise
                failures.append(e.found)
                told.append(None)
                continue
            unreached = 0
            verdict = read(reply.text, len(questions))
            if verdict is None:
                failures.append(f"{reply.text[:SHOWN]!r}")
            told.append(verdict)
        found.append(_Pair(p.text, p.x, p.y, *told))
    return found, failures


def _soundness(good: list[_Pair], bad: list[_Pair], seed: int) -> tuple[Score, ...]:
    """How often verdicts turn, and how often they are right."""
    texts = np.array([p.text for p in good])
    turned = np.array([float(a != -b) for a, b in (p.places for p in good)])
    every = np.array([v for p in good for v in p.places])
    a, b, tie = ((every == v).mean() for v in (1, -1, 0))
    scores = [
        Score(
            name="inconsistent verdicts",
            value=float(turned.mean()),
            better="lower",
            chance=float(1 - 2 * a * b - tie**2),
            interval=groups_interval(turned, texts, seed, SHARE),
            n=len(good),
            n_failed=len(bad),
        )
    ]
    known = [p for p in good if p.known]
    if known:
        credit = np.array([(1 + p.result * (p.known or 0)) / 2 for p in known])
        length = np.array([(1 + p.longer * (p.known or 0)) / 2 for p in known])
        texts = np.array([p.text for p in known])
        scores.append(
            Score(
                name="agreement with the known order",
                value=float(credit.mean()),
                chance=0.5,
                control=float(length.mean()),
                control_name=LENGTH,
                interval=groups_interval(credit, texts, seed, SHARE),
                over_control=groups_interval(credit - length, texts, seed, GAIN),
                n=len(known),
                n_failed=sum(bool(p.known) for p in bad),
            )
        )
    return tuple(scores)


def _biases(good: list[_Pair], own: str, bad: list[_Pair]) -> list[tuple[str, Score]]:
    """Leanings of the judge, each with the words that say so."""
    place = np.array([np.sign(sum(p.places)) for p in good])
    side = "first" if place.sum() >= 0 else "second"
    found = [
        (
            f"it leans to the {side} place",
            _lean(f"lean to the {side} place", place * (1 if side == "first" else -1), len(bad)),
        )
    ]
    known = [p for p in good if p.known is not None]
    mine = [p for p in known if p.by(own)]
    if mine:
        extra = np.array([p.astray * (1 if p.x.writer == own else -1) for p in mine])
        lost = sum(p.known is not None and p.by(own) for p in bad)
        found.append(("it prefers what it wrote itself", _lean("preference for its own", extra, lost)))
    uneven = [p for p in known if p.longer and not p.by(own)]
    if uneven:
        extra = np.array([p.astray * p.longer for p in uneven])
        lost = sum(p.known is not None and bool(p.longer) and not p.by(own) for p in bad)
        found.append(("it leans to the longer one", _lean("lean to the longer one", extra, lost)))
    return found


def _lean(name: str, signs: np.ndarray, failed: int) -> Score:
    """The mean of signs [pair] against the least that is told apart from none."""
    return Score(
        name=name,
        value=float(signs.mean()),
        better="lower",
        control=critical(int(np.count_nonzero(signs))) / len(signs),
        control_name="the least that is told apart from none",
        n=len(signs),
        n_failed=failed,
    )


def _wins(writer: str, good: list[_Pair], bad: list[_Pair], seed: int) -> Score:
    mine, failed = [p for p in good if p.by(writer)], sum(p.by(writer) for p in bad)
    if not mine:
        return Score(
            name=f"wins of {writer}",
            value=float("nan"),
            chance=0.5,
            n=0,
            n_failed=failed,
            skipped="no pair could be read",
        )
    side = np.array([1 if p.x.writer == writer else -1 for p in mine])
    credit = (1 + side * np.array([p.result for p in mine])) / 2
    length, texts = (1 + side * np.array([p.longer for p in mine])) / 2, np.array([p.text for p in mine])
    return Score(
        name=f"wins of {writer}",
        value=float(credit.mean()),
        chance=0.5,
        control=float(length.mean()),
        control_name=LENGTH,
        interval=groups_interval(credit, texts, seed, SHARE),
        over_control=groups_interval(credit - length, texts, seed, GAIN),
        n=len(mine),
        n_failed=failed,
    )


def _table(writers: tuple[str, ...], good: list[_Pair]) -> np.ndarray:
    """Share of wins [writer, writer]."""
    total, count = np.zeros((len(writers),) * 2), np.zeros((len(writers),) * 2)
    for p in good:
        i, j = writers.index(p.x.writer), writers.index(p.y.writer)
        for a, b, credit in ((i, j, (1 + p.result) / 2), (j, i, (1 - p.result) / 2)):
            total[a, b] += credit
            count[a, b] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _row(texts: Sequence[ExplainedText], p: _Pair) -> tuple[str, str, str, str, str, str]:
    names = {1: p.x.writer, -1: p.y.writer, 0: "tie"}
    first = "cannot be read" if p.first is None else names[overall(p.first)]
    second = "cannot be read" if p.swapped is None else names[-overall(p.swapped)]
    counts = names[p.result] if p.read else "failed"
    return texts[p.text].text, p.x.writer, p.y.writer, first, second, counts


def _notes(good: list[_Pair], own: str) -> tuple[str, ...]:
    notes = []
    if not any(p.known for p in good):
        notes.append("No order is known: whether the judge is right, and whether it leans to its own or to long ones, was not tested.")  # fmt: skip
    elif not own:
        notes.append("Which writer the judge is was not said: whether it prefers its own was not tested.")
    return tuple(notes)


def _lede(scores: Sequence[Score], exposed: tuple[str, ...], known: bool) -> str:
    turned = scores[0]
    words = f"{turned.value:.0%} of the verdicts turn when the two change places"
    right = next((s for s in scores if s.name.startswith("agreement")), None)
    if right is not None:
        words += f"; {right.value:.0%} agree with the known order ({right.control:.0%} by length alone)"
    words += ". "
    if exposed:
        return words + f"The judge is not fair: {', and '.join(exposed)}. Do not rank by it."
    if right is not None and not (right.beats_chance and right.beats_control):
        return words + "It is not right more often than its controls: do not rank by it."
    return words + (
        "No leaning was found." if known else "No leaning to a place was found; more was not tested."
    )
