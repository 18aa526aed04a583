"""Does the model find its own answers right, and other answers wrong?

1. generator: the option that the model answers with;
2. validator: "QUESTION LEAD OPTION. Is that right?" with the options yes and no, once for the model's own answer and once for another
   option, drawn at random;
3. agreement: the share of these judgements in which the validator says yes to the generator's own answer and no to the other.

Half of the judgements call for yes and half for no, so that one who always says yes agrees by half. Chance is what a validator of the
same rate of yes and no reaches without looking; it is 0.5 whatever the rate, for the judgements are balanced. Control: the answers of the
questions are shuffled (each is judged with the answer to another question of the same options, or else the next option): agreement that
comes from liking some options whatever is asked. Preference beside it: how often P(yes) is higher for its own answer, which needs no
threshold.

Cost: 1 prompt a question and one an option of it; the control needs no other. Reference: Li, X. et al. 2023, "Benchmarking and Improving
Generator-Validator Consistency of Language Models" (arXiv:2310.01846), sec. 2.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import InputError
from exegete.core.material import Choice
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.reasons_validator import GeneratorValidator
from exegete.core.seed import generator
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.asking import AskingStudy
from exegete.evaluate.respond import Prompt, Respondent, pick, unanswered
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean

N_SHOWN = 30


class Validated(Value):
    """The option that a question was answered with (-1: none), and P(yes) of each of its options [option]."""

    given: int = -1
    sure: np.ndarray = np.zeros(0)


@register
class GeneratorValidatorStudy(AskingStudy, Divided):
    """Whether the model finds its own answers right, and others wrong, when it is asked."""

    id: ClassVar[str] = "generator_validator"
    techniques: ClassVar[tuple[str, ...]] = ("O21",)
    least: ClassVar[int] = 2
    finds: ClassVar[type] = GeneratorValidator
    reference: ClassVar[Reference] = Reference(
        authors="Li, X. et al.", year=2023, where="arXiv:2310.01846", equation="sec. 2",
        title="Benchmarking and Improving Generator-Validator Consistency of Language Models",
    )  # fmt: skip
    passes: ClassVar[str] = "options + 2 forwards a question, more where they have several tokens"
    ask: str = Field(
        "{answered}. Is that right?",
        description="asks the validator; {answered} is the question with its answer",
    )
    yes: str = Field("yes", min_length=1, description="the validator's word for right")
    no: str = Field("no", min_length=1, description="its word for wrong")

    part: ClassVar[type[Value]] = Validated

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Validated]:
        """Each question answered, and each of its options judged."""
        return self._asked(self.who(lab), items)

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Validated], target: Target, n_failed: int = 0
    ) -> GeneratorValidator:
        """Agreement over all questions."""
        found = self._told(self.who(lab).name, items, parts, n_failed)
        return found.model_copy(update={"notes": (*found.notes, *self.notes_of(lab))})

    def judge(self, who: Respondent, choices: Sequence[Choice]) -> GeneratorValidator:
        """The finding about anyone who answers. Raises `InputError` where fewer than two questions are answered."""
        return self._told(who.name, choices, self._asked(who, choices), 0)

    def _asked(self, who: Respondent, choices: Sequence[Choice]) -> list[Validated]:
        prompts = [Prompt(self.framed.text(q.question, "", q.lead), q.options) for q in choices]
        given = [pick(p) for p in who.tried(prompts)]
        places = [(i, k) for i, g in enumerate(given) if g >= 0 for k in range(len(choices[i].options))]
        told = who.tried([self._judged(choices[i], k) for i, k in places])
        sure = [np.full(len(q.options), np.nan) for q in choices]
        for (i, k), p in zip(places, told):
            sure[i][k] = p[0]
        return [Validated(given=g, sure=s) for g, s in zip(given, sure)]

    def _told(
        self, name: str, choices: Sequence[Choice], parts: Sequence[Validated], failed: int
    ) -> GeneratorValidator:
        if all(p.given < 0 for p in parts):
            raise unanswered(name, len(choices))
        known = [i for i, p in enumerate(parts) if p.given >= 0 and np.isfinite(p.sure).all()]
        if len(known) < 2:
            raise InputError(
                f"You asked whether {name} finds its own answers right.",
                f"{len(known)} of {len(choices)} questions were both answered and judged.",
                "Give more or shorter questions.",
            )
        sure = np.full(
            (len(choices), max(len(q.options) for q in choices)), np.nan
        )  # NaN beyond its own options
        for row, p in zip(sure, parts):
            row[: len(p.sure)] = p.sure
        mine, given = [choices[i] for i in known], np.array([parts[i].given for i in known])
        return self._finding(mine, given, sure[known], len(choices) - len(known) + failed)

    def _judged(self, q: Choice, at: int) -> Prompt:
        answered = f"{self.framed.text(q.question, '', q.lead)} {q.options[at]}"
        return Prompt(self.ask.replace("{answered}", answered), (self.yes, self.no))

    def _finding(
        self, choices: list[Choice], given: np.ndarray, sure: np.ndarray, failed: int
    ) -> GeneratorValidator:
        n, rows = len(choices), np.arange(len(choices))
        other = np.array(
            [self._other(i, len(q.options), int(g)) for i, (q, g) in enumerate(zip(choices, given))]
        )
        shuffled = self._shuffled(choices, given)
        own, rest = sure[rows, given], sure[rows, other]
        agrees = np.column_stack([own > 0.5, rest <= 0.5]).astype(float)
        strange = np.array(
            [self._other(i, len(q.options), int(s)) for i, (q, s) in enumerate(zip(choices, shuffled))]
        )
        blind = np.column_stack([sure[rows, shuffled] > 0.5, sure[rows, strange] <= 0.5]).astype(float)
        prefers, by_chance = _above(own, rest), _above(sure[rows, shuffled], sure[rows, strange])
        scores = tuple(
            Score(
                name=name, value=float(x.mean()), chance=0.5, control=float(y.mean()), control_name="shuffled answers",
                interval=bootstrap_mean(x, self.seed), n=n, n_failed=failed,
            )
            for name, x, y in (
                ("judgements that agree with the answers", agrees.mean(1), blind.mean(1)),
                ("questions whose own answer is found righter than another", prefers, by_chance),
            )
        )  # fmt: skip
        asked = [float(x) for row in sure for x in row if np.isfinite(x)]
        return GeneratorValidator(
            title="Does the model find its own answers right?",
            lede=_lede(scores, agrees, float(np.mean(np.array(asked) > 0.5))),
            generated=given,
            says_yes=sure,
            agrees=agrees,
            cases=tuple(
                (q.question, q.options[g], q.options[o], float(a), float(b))
                for q, g, o, a, b in zip(choices, given, other, own, rest)
            )[:N_SHOWN],
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _other(self, i: int, n: int, own: int) -> int:
        """An option of n that is not `own`."""
        return (own + 1 + int(generator(self.seed, "other", i).integers(n - 1))) % n

    def _shuffled(self, choices: Sequence[Choice], given: np.ndarray) -> np.ndarray:
        """The place of another question's answer among each question's options, in a fixed random order of the questions."""
        order = generator(self.seed, "shuffle").permutation(len(choices))
        found = np.zeros(len(choices), dtype=int)
        for a, b in zip(order, np.roll(order, 1)):
            word = choices[b].options[given[b]]
            mine = choices[a].options
            found[a] = mine.index(word) if word in mine else given[b] % len(mine)
        return found


def _above(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 where a is larger, half where both are equal."""
    return np.where(np.isclose(a, b, rtol=1e-9, atol=1e-12), 0.5, a > b).astype(float)


def _lede(scores: Sequence[Score], agrees: np.ndarray, yes: float) -> str:
    own, other = agrees.mean(0)
    words = f"Asked whether its own answer is right, it says yes to {own:.0%}; to another answer it says no to {other:.0%} "
    words += f"(it says yes to {yes:.0%} of all options). "
    won = [bool(s.beats_chance and s.beats_control) for s in scores]
    if all(won):
        return words + "It judges as it answers."
    if won[1]:
        return (
            words
            + "It finds its own answers righter than others, but its yes and no do not agree with them beyond chance."
        )
    return (
        words
        + "That is no better than chance or shuffled answers: what it answers and what it finds right are two things."
    )
