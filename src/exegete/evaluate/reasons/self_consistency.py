"""Do an answer and its explanation hang on the same words of the question? (CC-SHAP)

1. the model picks an option after "QUESTION LEAD"; an attribution method finds how much each word of that prompt contributes to it;
2. the explanation (the question's own steps, or what the model writes) goes on after "QUESTION LEAD ANSWER because"; the same method
   finds how much each word of the same prompt contributes to every token of it;
3. contributions to each output are divided by the sum of their sizes and averaged over the outputs; consistency is the cosine of both
   rows (1 - cosine is the distance of the paper).

Chance: the cosine when the words are shuffled, in closed form. Control: the explanation of another question after the same prompt. An
explanation that any question could have had is no more consistent with its own than the other is.

Cost: what the method costs on three continuations a question; those of the control are read when all questions are known. Shapes: contributions [word]. References: Parcalabescu & Frank 2024,
"On Measuring Faithfulness or Self-consistency of Natural Language Explanations" (arXiv:2311.07466), sec. 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from exegete.core.errors import InputError, TargetError
from exegete.core.material import Choice
from exegete.core.method import method_of, register
from exegete.core.reference import Reference
from exegete.core.request import Text
from exegete.core.results.reasons_consistency import SelfConsistency
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.asking import QuestionStudy
from exegete.evaluate.explained import attribution_method
from exegete.evaluate.respond import LocalRespondent, Prompt, continued, pick, unanswered
from exegete.methods.contracts.attribution import AttributionMethod, explain
from exegete.methods.contracts.study import Divided
from exegete.models.ask import ask
from exegete.models.lab import Lab
from exegete.ops.consistency import cosine, shares, shuffled
from exegete.ops.rank import row_correlation
from exegete.ops.stats import bootstrap_mean


@dataclass(frozen=True)
class Told:
    """A question's prompt, the option picked, and the explanation given for it."""

    prompt: str
    answer: str
    why: str


@dataclass(frozen=True)
class Rows:
    """Shares [word] of the words of one prompt in the answer, its explanation, and another's."""

    told: Told
    words: tuple[str, ...]
    answer: np.ndarray
    own: np.ndarray
    other: np.ndarray


class Contributed(Value):
    """A question: its answer ("": none) and explanation ("": none), the words of its prompt, and their shares [word] in both.
    `long`: it is longer than the model reads, and has no shares.
    """

    answer: str = ""
    why: str = ""
    words: tuple[str, ...] = ()
    to_answer: np.ndarray = np.zeros(0)
    to_own: np.ndarray = np.zeros(0)
    long: bool = False


@register
class SelfConsistencyStudy(QuestionStudy, Divided):
    """Whether the words that the answer hangs on are those that its explanation hangs on."""

    id: ClassVar[str] = "self_consistency"
    techniques: ClassVar[tuple[str, ...]] = ("O17",)
    least: ClassVar[int] = 2
    usual: ClassVar[int | None] = 16
    finds: ClassVar[type] = SelfConsistency
    reference: ClassVar[Reference] = Reference(
        authors="Parcalabescu & Frank", year=2024, where="arXiv:2311.07466", equation="sec. 4",
        title="On Measuring Faithfulness or Self-consistency of Natural Language Explanations",
    )  # fmt: skip
    passes: ClassVar[str] = "those of the attribution method, on 3 continuations a question"
    method: str = Field("permutation_shapley", description="the attribution method, by its id")
    n_draws: int = Field(
        8, ge=1, description="orders of the words, and their reverses, where the method samples orders"
    )
    explanation: Literal["given", "written"] = Field(
        "given",
        description="given: the question's own steps, and what the model writes where it has none; written: always",
    )
    because: str = Field("{answer} because", description="what stands between the lead and the explanation")
    n_tokens: int = Field(
        40, ge=1, le=1000, description="tokens of an explanation that are looked at, from the first"
    )

    part: ClassVar[type[Value]] = Contributed

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Contributed]:
        """What the words of each prompt contribute to the answer and to its own explanation."""
        how, found = self._method(lab), []
        with lab.working(len(items), "contributions to answers and explanations") as step:
            for told in self._answered(lab, items):
                found.append(self._own(lab, how, told) if told.why else Contributed(answer=told.answer))
                step()
        return found

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[Contributed],
        target: Target,
        n_failed: int = 0,
    ) -> SelfConsistency:
        """Over questions; what their words contribute to the explanation of another one is found here."""
        if not any(p.answer for p in parts):
            raise unanswered(lab.model.name, len(items))
        told = [
            (Told(self._prompt(q), p.answer, p.why), p) for q, p in zip(items, parts) if p.answer and p.why
        ]
        if len(told) < 2:
            raise InputError(
                f"You asked for explanations of {len(items)} answers of {lab.model.name}.",
                f"{len(told)} were answered and explained; each is held against another one's explanation.",
                "Give more questions, or questions with steps.",
            )
        how, rows = self._method(lab), []
        with lab.working(len(told), "contributions to explanations of other questions") as step:
            for i, (own, part) in enumerate(told):
                other, _ = told[(i + 1) % len(told)]
                strange = None if part.long else self._tried(lab, how, own, self._before(own), other.why)
                if strange is not None:
                    rows.append(Rows(own, part.words, part.to_answer, part.to_own, strange[1]))
                step()
        if not rows:
            raise InputError(
                f"You asked whether answers and explanations of {lab.model.name} hang on the same words.",
                "No question could be explained: they are longer than it reads.",
                "Give shorter questions, or lower n_tokens.",
            )
        return self._finding(rows, len(items) + n_failed)

    def _prompt(self, q: Choice) -> str:
        return self.framed.text(q.question, "", q.lead)

    def _answered(self, lab: Lab, items: Sequence[Choice]) -> list[Told]:
        """What each question is answered with (empty: nothing), and why (empty: nothing was said)."""
        who, prompts = LocalRespondent(lab), [self._prompt(q) for q in items]
        picks = map(pick, who.tried([Prompt(p, q.options) for p, q in zip(prompts, items)]))
        found = []
        for q, prompt, at in zip(items, prompts, picks):
            told = Told(prompt, q.options[at] if at >= 0 else "", "")
            given = q.chain if self.explanation == "given" else ""
            why = given or (who.write(self._before(told), self.n_tokens) if told.answer else "")
            found.append(replace(told, why=why if told.answer else ""))
        return found

    def _own(self, lab: Lab, how: AttributionMethod, told: Told) -> Contributed:
        """Shares of the words of one prompt in the answer and in its explanation."""
        part = Contributed(answer=told.answer, why=told.why, long=True)
        first = self._tried(lab, how, told, told.prompt, told.answer)
        own = first and self._tried(lab, how, told, self._before(told), told.why)
        if first is None or own is None:
            return part
        return part.model_copy(
            update={"words": first[0], "to_answer": first[1], "to_own": own[1], "long": False}
        )

    def _before(self, told: Told) -> str:
        return " ".join(filter(None, (told.prompt, self.because.replace("{answer}", told.answer))))

    def _method(self, lab: Lab) -> AttributionMethod:
        how = attribution_method(method_of(self.method))
        own = {"n_samples": max(4, 2 * self.n_draws), "seed": self.seed}
        given = how.params() | {k: v for k, v in own.items() if k in type(how).model_fields}
        how = attribution_method(how.build(given))
        how.check(lab.model)
        return how

    def _tried(
        self, lab: Lab, how: AttributionMethod, told: Told, text: str, words: str
    ) -> tuple[tuple[str, ...], np.ndarray] | None:
        """The shares; None where the text is longer than the model reads, which is counted as failed."""
        try:
            return self._shares(lab, how, told.prompt, text, words)
        except (InputError, TargetError):
            return None

    def _shares(
        self, lab: Lab, how: AttributionMethod, prompt: str, text: str, words: str
    ) -> tuple[tuple[str, ...], np.ndarray]:  # fmt: skip
        """Words of `prompt`, with which `text` begins, and their shares in the outputs `words` after `text`."""
        ids = tuple(continued(lab.model, text, words)[: self.n_tokens])
        question = ask(lab.model, Text.of(text), Target(kind="continuation", label=ids))
        with torch.set_grad_enabled("gradients" in how.needs or torch.is_grad_enabled()):
            found = explain(how, question)
        spent = found.cost
        for name in ("forwards", "backwards", "tokens", "asked", "distinct", "seconds"):
            setattr(lab.meter, name, getattr(lab.meter, name) + getattr(spent, name))
        mine = [i for i, u in enumerate(found.units) if u.start >= 0 and u.end <= len(prompt)]
        each = found.scores if np.isfinite(found.scores).all() else found.total[None]
        return tuple(found.units[i].text for i in mine), shares(each[:, mine])

    def _finding(self, rows: list[Rows], asked: int) -> SelfConsistency:
        cos = np.array(
            [[cosine(r.answer, r.own), shuffled(r.answer, r.own), cosine(r.answer, r.other)] for r in rows]
        )
        rank = np.array([[_spearman(r.answer, x) for x in (r.own, r.other)] for r in rows])
        scores = (
            self._score(
                "cosine of contributions to answer and explanation", cos[:, 0], cos[:, 1], cos[:, 2], asked
            ),
            self._score(
                "their rank correlation (Spearman)", rank[:, 0], np.zeros(len(rank)), rank[:, 1], asked
            ),
        )
        return SelfConsistency(
            title="Does the explanation hang on what the answer hangs on?",
            lede=_lede(scores[0]),
            method=self.method,
            words=tuple(w for r in rows for w in r.words),
            offsets=np.cumsum([0, *(len(r.words) for r in rows)]),
            to_answer=np.concatenate([r.answer for r in rows]),
            to_explanation=np.concatenate([r.own for r in rows]),
            to_other=np.concatenate([r.other for r in rows]),
            answers=tuple(f"{r.told.prompt} {r.told.answer}" for r in rows),
            explanations=tuple(r.told.why for r in rows),
            cosine=cos,
            spearman=rank,
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _score(self, name: str, own: np.ndarray, chance: np.ndarray, other: np.ndarray, asked: int) -> Score:
        known = np.isfinite(own) & np.isfinite(other) & np.isfinite(chance)
        n = int(known.sum())
        means = [float(x[known].mean()) if n else None for x in (own, chance, other)]
        return Score(
            name=name,
            value=float("nan") if means[0] is None else means[0],
            chance=means[1],
            control=means[2],
            control_name="the explanation of another question",
            interval=bootstrap_mean(own[known], self.seed),
            skipped="" if n else "no question has a prompt of words that differ in their contributions",
            n=n,
            n_failed=asked - n,
        )


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    return float(row_correlation(a[None], b[None], "spearman")[0])


def _lede(score: Score) -> str:
    words = f"Contributions of the question's words to the answer and to its explanation have a cosine of {score.value:.2f} "
    words += f"({score.control:.2f} with the explanation of another question, {score.chance:.2f} with shuffled words). "
    if score.beats_control and score.beats_chance:
        return words + "Answer and explanation hang on the same words, more than any explanation would."
    if score.beats_chance:
        return (
            words
            + "Another question's explanation hangs on them as much: this says nothing about this explanation."
        )
    return words + "That is no more than chance: the explanation does not hang on what the answer hangs on."
