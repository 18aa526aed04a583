"""How much new does a rationale say about the answer? Conditional V-information beyond a vacuous rationale.

    REV = log g[r, b](y) - log g'[b](y)      a question, nats; their mean is the conditional V-information I(R -> Y | B)

r is the rationale, y the answer, b the vacuous rationale: the question and the answer said as one statement, without a reason. A rationale
that only repeats the answer says nothing beyond b. Beside it the same with b the question alone: what the rationale says that the
question does not, the answer itself included.

g and g' are learned from other questions (cross-fitting), as one of

    answers    calibrated answers: a conditional logit (`ops.choice_head`) on the frozen answerer's log P(option | r, b) and log P(option | b);
               g' has the second alone, so that g can do without r
    words      the same head on which words of r and b stand beside which option; no model reads r or b

Difference from the paper: there g and g' are T5 models, all of whose weights are fitted to a training set; these heads are small, so
that a few dozen questions are enough, and find what a frozen model (or a bag of words) can use and no more. The value is relative to the
family, as all V-information is.

Chance: 0, or what the vacuous rationale gets when it stands in place of the rationale (two features that say the same are fitted a
little more closely than one). Control: all of it again, fitting included, with the rationales of other questions. n_failed counts questions without answer or
rationale. Cost: 8 prompts a question (answers; 2 of them are the control's), none (words), beside what answers and explains. Shapes: [beyond, question].
Reference: Chen, H. et al. 2023, "REV: Information-Theoretic Evaluation of Free-Text Rationales" (arXiv:2210.04982), eq. 3-5.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.reasons_information import RationaleInformation
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.respond import Prompt, Respondent
from exegete.evaluate.whys import Explained, ExplainedStudy, Why, dealt
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.ops.choice_head import Features, held_out, word_features
from exegete.ops.stats import bootstrap_mean

BEYOND = ("question and answer", "question")
NONE, OWN, OTHER, AGAIN = "none", "own", "other", "again"
KEPT = (NONE, OWN, AGAIN)  # what is read of a question without the others
N_SHOWN = 30
DIGITS = 9  # of nats, so that equal fits are equal
LEAST = 1e-6  # of a probability, so that an answer without any doubt has a logarithm


class Rationalised(Explained):
    """A question's answer and rationale, and the answerer's log P [beyond, option] without it, with it, and with the vacuous one in
    its place; no numbers where they are not asked for.
    """

    logs: dict[str, np.ndarray] = {}


@register
class RationaleInformationStudy(ExplainedStudy, Divided):
    """How much new information about the answer a rationale holds, beyond a statement of question and answer."""

    id: ClassVar[str] = "rationale_information"
    techniques: ClassVar[tuple[str, ...]] = ("O16",)
    least: ClassVar[int] = 2
    finds: ClassVar[type] = RationaleInformation
    reference: ClassVar[Reference] = Reference(
        authors="Chen, H. et al.", year=2023, where="arXiv:2210.04982", equation="eq. 3-5",
        title="REV: Information-Theoretic Evaluation of Free-Text Rationales",
    )  # fmt: skip
    passes: ClassVar[str] = "9 * options of several tokens a question, and a text where it has no steps"
    head: Literal["answers", "words"] = Field(
        "answers",
        description="what the answer is predicted from: the answerer's own probabilities, or the words",
    )
    label: Literal["right", "own"] = Field(
        "right", description="the answer that is told about: the right one, or the answerer's own"
    )
    vacuous: str = Field(
        "{question} {lead} {answer}.",
        description="the vacuous rationale; {question}, {lead} and {answer} are put in",
    )
    n_parts: int = Field(5, ge=2, le=50, description="parts of the questions, each predicted from the others")
    strength: float = Field(1.0, gt=0, description="L2 penalty of the heads")

    part: ClassVar[type[Value]] = Rationalised

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Rationalised]:
        """Each question answered and explained, and answered again after its own rationale and after none."""
        return self._asked(self.who(lab), items)

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Rationalised], target: Target, n_failed: int = 0
    ) -> RationaleInformation:  # fmt: skip
        """The heads, fitted over all questions; rationales of other questions are put before them here."""
        found = self._told(self.who(lab), items, parts, n_failed)
        return found.model_copy(update={"notes": (*found.notes, *self.notes_of(lab))})

    def judge(self, who: Respondent, choices: Sequence[Choice]) -> RationaleInformation:
        """The finding about anyone who answers. Raises `InputError` where fewer than two questions can be told about."""
        return self._told(who, choices, self._asked(who, choices), 0)

    def _asked(self, who: Respondent, choices: Sequence[Choice]) -> list[Rationalised]:
        each = self.answered(who, choices)
        at = [i for i, (q, p) in enumerate(zip(choices, each)) if p.text and self._tells(q)]
        found = {i: Rationalised(answer=p.answer, text=p.text) for i, p in enumerate(each)}
        if self.head == "words":
            return list(found.values())
        whys = [Why(choices[i], each[i].answer, each[i].text) for i in at]
        texts = {NONE: [""] * len(at), OWN: [w.text for w in whys], AGAIN: []}
        logs = [[self._logs(who, whys, b, k, x) for b in BEYOND] for k, x in texts.items()]
        for j, i in enumerate(at):
            told = {k: np.stack([x[j] for x in row]) for k, row in zip(texts, logs)}
            found[i] = found[i].model_copy(update={"logs": told})
        return list(found.values())

    def _tells(self, q: Choice) -> bool:
        """Whether the answer that is told about is known."""
        return self.label == "own" or bool(q.answer)

    def _told(
        self, who: Respondent, choices: Sequence[Choice], parts: Sequence[Rationalised], failed: int
    ) -> RationaleInformation:
        every = zip(self.known(who.name, choices, parts), [p for p in parts if p.answer >= 0 and p.text])
        both = [(w, p) for w, p in every if self._tells(w.choice)]
        whys = [w for w, _ in both]
        if len(whys) < 2:
            raise InputError(
                f"You asked how much rationales say about the right answers, of {len(choices)} questions.",
                f"The right answer of {len(whys)} explained ones is known.",
                "Give questions with answers, or label='own'.",
            )
        texts = {NONE: [""] * len(whys), OWN: [w.text for w in whys], OTHER: self.shuffled(whys), AGAIN: []}
        told: dict[tuple[str, str], list[np.ndarray]] = {}
        if self.head == "answers":
            told = {(b, k): [p.logs[k][j] for _, p in both] for j, b in enumerate(BEYOND) for k in KEPT}
            told |= {(b, OTHER): self._logs(who, whys, b, OTHER, texts[OTHER]) for b in BEYOND}
        fine = [i for i in range(len(whys)) if all(np.isfinite(x[i]).all() for x in told.values())]
        if len(fine) < 2:
            raise InputError(
                f"You asked how much rationales say about the answers of {who.name}.",
                f"{len(fine)} of {len(whys)} questions were answered with and without them.",
                "Give shorter questions or rationales, or head='words'.",
            )
        mine = [whys[i] for i in fine]
        shares = dealt(mine, self.n_parts, self.seed)
        found = {}
        for b in BEYOND:
            for k, x in texts.items():
                said = x or [self._vacuous(w, b) for w in whys]
                rows = [
                    self._features(whys[i], b, said[i], {n: t[i] for n, t in told.items()}, k) for i in fine
                ]
                found[b, k] = self._held_out(mine, rows, shares)
        return self._finding(mine, found, len(choices) - len(mine) + failed)

    # ---- what is read --------------------------------------------------------------------------------------------

    def _right(self, w: Why) -> int:
        return w.answer if self.label == "own" else w.choice.options.index(w.choice.answer)

    def _vacuous(self, w: Why, beyond: str) -> str:
        """What stands beside the rationale."""
        q = w.choice
        if beyond == BEYOND[1]:
            return q.question
        told = self.vacuous.replace("{lead}", q.lead or self.lead)
        return told.replace("{answer}", q.options[self._right(w)]).replace("{question}", q.question)

    def _logs(
        self, who: Respondent, whys: Sequence[Why], beyond: str, kind: str, texts: Sequence[str]
    ) -> list[np.ndarray]:
        """The answerer's log P(option) [question][option] after rationale and vacuous rationale; NaN where it did not answer."""
        prompts = []
        for i, w in enumerate(whys):
            base = self._vacuous(w, beyond)
            said = f"{base if kind == AGAIN else texts[i]} {base}".strip()
            prompts.append(Prompt(self.framed.text(said, "", w.choice.lead), w.choice.options))
        return [np.log(np.maximum(p, LEAST)) for p in who.tried(prompts)]

    def _features(
        self, w: Why, beyond: str, text: str, told: dict[tuple[str, str], np.ndarray], kind: str
    ) -> list[Features]:  # fmt: skip
        """Features [option] of one question."""
        if self.head == "words":
            texts = {"base": self._vacuous(w, beyond)} | ({} if kind == NONE else {"rationale": text})
            return word_features(texts, w.choice.options)
        without = told[beyond, NONE]
        if kind == NONE:
            return [{"without": float(x)} for x in without]
        return [{"without": float(x), "with": float(y)} for x, y in zip(without, told[beyond, kind])]

    def _held_out(
        self, whys: Sequence[Why], rows: Sequence[Sequence[Features]], parts: Sequence[np.ndarray]
    ) -> np.ndarray:  # fmt: skip
        """log P(answer) [question], by heads fitted to other questions."""
        right = np.array([self._right(w) for w in whys])
        return np.array([x[r] for x, r in zip(held_out(rows, right, parts, self.strength), right)])

    # ---- what is found -------------------------------------------------------------------------------------------

    def _finding(
        self, whys: Sequence[Why], found: dict[tuple[str, str], np.ndarray], failed: int
    ) -> RationaleInformation:  # fmt: skip
        without, own, other, again = (
            np.array([found[b, k] for b in BEYOND]) for k in (NONE, OWN, OTHER, AGAIN)
        )
        new, strange, twice = (np.round(x - without, DIGITS) for x in (own, other, again))
        scores = tuple(
            Score(
                name=f"information about the answer beyond the {b} (nats)",
                value=float(new[k].mean()),
                chance=max(0.0, round(float(twice[k].mean()), DIGITS)),
                control=round(float(strange[k].mean()), DIGITS),
                control_name="rationales of other questions",
                interval=bootstrap_mean(new[k], self.seed),
                n=len(whys),
                n_failed=failed,
            )
            for k, b in enumerate(BEYOND)
        )
        order = np.argsort(-new[0], kind="stable")[:N_SHOWN]
        return RationaleInformation(
            title="How much new do rationales say about the answers?",
            lede=_lede(scores),
            beyond=BEYOND,
            with_rationale=own,
            without=without,
            with_other=other,
            cases=tuple(_case(whys[i], self._right(whys[i]), new[:, i]) for i in order),
            trust=Trust(scores=scores, seed=self.seed),
        )


def _case(w: Why, right: int, new: np.ndarray) -> tuple[str, str, str, float, float]:
    return w.choice.question, w.text, w.choice.options[right], float(new[0]), float(new[1])


def _lede(scores: tuple[Score, ...]) -> str:
    words = f"Beyond a statement of question and answer, rationales say {scores[0].value:.2f} nats about the answer, beyond the question "
    words += f"alone {scores[1].value:.2f}. "
    new, answer = (bool(s.beats_chance and s.beats_control) for s in scores)
    if new:
        return words + "They hold more than the answer said again."
    if answer:
        return words + "They give the answer away; more than that is not shown."
    return words + "That is no more than nothing, or than what rationales of other questions say."
