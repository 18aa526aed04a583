"""Do explanations help to say what the model answers, beyond giving the answer away? Leakage-adjusted simulatability (LAS).

1. the model answers each question and explains its answer (or the question brings the explanation);
2. three simulators learn from other questions what the model answers: from the question (x), from question and explanation (x, e), and
   from the explanation alone (e); every question is predicted by simulators that never saw it, nor an equal one;
3. a question whose answer follows from e alone leaks. LAS = the mean of the gain [right from x, e] - [right from x] where explanations
   leak and where they do not, both kinds of equal weight, so that an explainer does not win by naming its answer (`ops.leakage`).

The simulator is a conditional logit over options (`ops.choice_head`) on the words of what it reads, or, with `simulator`, on the answers of
another language model that reads it (its trust in them is what is learned). Difference from the paper: there it is a T5 that is fitted as
a whole. A linear simulator does not see what x and e say only together, so that LAS is that of a plain reader.

Chance: 0. Control: the explanations of other questions, simulators fitted anew, the best of `n_shuffles` orders. It is needed: where x leaves
two options open, an explanation that says nothing tips every guess the same way, and questions whose answer lies there count as
leaking, with a gain; LAS is then above 0 for nothing. Questions that are not answered or not explained are n_failed.

Cost: one prompt a question and what writes explanations; with a simulator that is named 3 + 2 n_shuffles prompts more.
Reference: Hase et al. 2020, "Leakage-Adjusted Simulatability: Can Models Generate Non-Trivial Explanations of Their Behavior in Natural
Language?" (arXiv:2010.04119), sec. 3.
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
from exegete.core.results.simulation_leakage import LeakageAdjusted
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.evaluate.respond import ChatRespondent, Prompt, Respondent
from exegete.evaluate.whys import Explained, ExplainedStudy, Why, dealt
from exegete.methods.contracts.study import Divided
from exegete.models.chat.open import chat
from exegete.models.lab import Lab
from exegete.ops.choice_head import Features, held_out, word_features
from exegete.ops.leakage import las, las_interval
from exegete.ops.stats import bootstrap_mean

X, XE, E = "the question", "question and explanation", "the explanation"
N_SHOWN = 30
LEAST = 1e-6  # of a probability, so that an answer without any doubt has a logarithm


@dataclass(frozen=True)
class Simulated:
    """What was said from each reading [question], by option number."""

    x: np.ndarray
    xe: np.ndarray
    e: np.ndarray

    def right(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether each is what was answered, as 0 and 1."""
        x, xe, e = ((said == answers).astype(float) for said in (self.x, self.xe, self.e))
        return x, xe, e


@register
class LeakageAdjustedStudy(ExplainedStudy, Divided):
    """Whether explanations help a simulator to say what the model answers, beyond giving the answer away."""

    id: ClassVar[str] = "leakage_adjusted_simulatability"
    techniques: ClassVar[tuple[str, ...]] = ("N9",)
    least: ClassVar[int] = 2
    finds: ClassVar[type] = LeakageAdjusted
    reference: ClassVar[Reference] = Reference(
        authors="Hase et al.", year=2020, where="arXiv:2010.04119", equation="sec. 3",
        title="Leakage-Adjusted Simulatability: Can Models Generate Non-Trivial Explanations of Their Behavior in Natural Language?",
    )  # fmt: skip
    passes: ClassVar[str] = "options of several tokens a question, and a text where it has no steps"
    simulator: str = Field(
        "", description="who simulates: empty: words; local:NAME, http://HOST/v1#MODEL, script:FILE"
    )
    n_shuffles: int = Field(
        4, ge=1, le=100, description="orders of other questions' explanations, as control"
    )
    n_parts: int = Field(5, ge=2, le=50, description="parts of the questions, each predicted from the others")
    strength: float = Field(1.0, gt=0, description="L2 penalty of the simulators")

    part: ClassVar[type[Value]] = Explained

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Explained]:
        """Each question, answered and explained."""
        return self.answered(self.who(lab), items)

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Explained], target: Target, n_failed: int = 0
    ) -> LeakageAdjusted:
        """What simulators learn from all questions; one that is asked reads them here."""
        by = ChatRespondent(chat(self.simulator), self.most_calls) if self.simulator else None
        found = self._told(self.who(lab).name, items, parts, by, n_failed)
        return found.model_copy(update={"notes": (*found.notes, *self.notes_of(lab))})

    def judge(
        self, who: Respondent, choices: Sequence[Choice], by: Respondent | None = None
    ) -> LeakageAdjusted:
        """The finding about anyone who answers; `by` simulates, words do where it is None. Raises `InputError` for too few questions."""
        return self._told(who.name, choices, self.answered(who, choices), by, 0)

    def _told(
        self,
        name: str,
        choices: Sequence[Choice],
        parts: Sequence[Explained],
        by: Respondent | None,
        failed: int,
    ) -> LeakageAdjusted:
        whys = self.known(name, choices, parts)
        texts = [[w.text for w in whys], *(self.shuffled(whys, k) for k in range(self.n_shuffles))]
        read = [self._read(whys, t, by) for t in texts]
        fine = [i for i in range(len(whys)) if all(x[i] is not None for r in read for x in r.values())]
        if len(fine) < 2:
            raise InputError(
                f"You asked {by.name if by else 'a simulator'} to say what {name} answers.",
                f"{len(fine)} of {len(whys)} questions were read with and without their explanations.",
                "Give shorter questions or explanations.",
            )
        mine = [whys[i] for i in fine]
        shares = dealt(mine, self.n_parts, self.seed)
        told: list[Simulated] = []
        for r in read:
            rows = {k: [x[i] for i in fine] for k, x in r.items()}
            told.append(self._simulated(mine, rows, shares, told[0].x if told else None))
        return self._finding(mine, told[0], told[1:], len(choices) - len(mine) + failed)

    # ---- what is read --------------------------------------------------------------------------------------------

    def _read(
        self, whys: Sequence[Why], texts: Sequence[str], by: Respondent | None
    ) -> dict[str, list[list[Features] | None]]:
        """Features [question][option] of each reading; None where it was not read."""
        found: dict[str, list[list[Features] | None]] = {}
        for k in (X, XE, E):
            if by is not None:
                prompts = [self._prompt(w, t, k) for w, t in zip(whys, texts)]
                found[k] = [_answered(p) for p in by.answers(prompts)]
                continue
            found[k] = [word_features(_parts(w, t, k), w.choice.options) for w, t in zip(whys, texts)]
        return found

    def _prompt(self, w: Why, text: str, reads: str) -> Prompt:
        q = w.choice
        told = {X: (q.question, ""), XE: (q.question, text), E: (text, "")}[reads]
        return Prompt(self.framed.text(*told, q.lead), q.options)

    def _simulated(
        self,
        whys: Sequence[Why],
        rows: dict[str, list[list[Features] | None]],
        parts: Sequence[np.ndarray],
        from_question: np.ndarray | None,
    ) -> Simulated:
        """What simulators say; from the question alone it is the same whatever explains it."""
        answers = np.array([w.answer for w in whys])
        said = {} if from_question is None else {X: from_question}
        for k in (X, XE, E)[len(said) :]:
            known = [r for r in rows[k] if r is not None]
            said[k] = np.array([int(x.argmax()) for x in held_out(known, answers, parts, self.strength)])
        return Simulated(said[X], said[XE], said[E])

    # ---- what is found -------------------------------------------------------------------------------------------

    def _finding(
        self, whys: Sequence[Why], own: Simulated, others: Sequence[Simulated], failed: int
    ) -> LeakageAdjusted:
        answers = np.array([w.answer for w in whys])
        mine, strange = own.right(answers), [s.right(answers) for s in others]
        gains = [
            (float((r[1] - r[0]).mean()), *las(*r)[1:])
            for r in (mine, max(strange, key=lambda r: las(*r)[0]))
        ]
        common = {
            "chance": 0.0,
            "control_name": "explanations of other questions",
            "n": len(whys),
            "n_failed": failed,
        }
        scores = (
            Score(
                name="leakage-adjusted simulatability (gain in accuracy)",
                value=las(*mine)[0],
                control=max(las(*r)[0] for r in strange),
                interval=las_interval(*mine, self.seed),
                **common,
            ),
            Score(
                name="gain in accuracy over all questions, not adjusted",
                value=gains[0][0],
                control=max(float((r[1] - r[0]).mean()) for r in strange),
                interval=bootstrap_mean(mine[1] - mine[0], self.seed),
                **common,
            ),
        )
        leaks = mine[2]
        empty = [w for w, k in (("leaks", leaks == 1), ("does not leak", leaks == 0)) if not k.any()]
        return LeakageAdjusted(
            title="Do explanations help to say what the model answers?",
            lede=_lede(scores, leaks, gains[0]),
            reads=(X, E, XE),
            right=np.stack([mine[0], mine[2], mine[1]]),
            leaks=leaks,
            gain=gains[0],
            gain_other=gains[1],
            cases=tuple(_case(w, own, i) for i, w in enumerate(whys))[:N_SHOWN],
            notes=tuple(f"No explanation {w}: the adjusted gain is that of the others alone." for w in empty),
            trust=Trust(scores=scores, seed=self.seed),
        )


def _parts(w: Why, text: str, reads: str) -> dict[str, str]:
    question = {"question": f"{w.choice.question} {w.choice.lead}"}
    return {X: question, XE: question | {"explanation": text}, E: {"explanation": text}}[reads]


def _answered(told: np.ndarray) -> list[Features] | None:
    """A simulator's answer as features [option]: log P; None where it gave none."""
    return None if np.isnan(told).any() else [{"told": float(np.log(max(p, LEAST)))} for p in told]


def _case(w: Why, said: Simulated, i: int) -> tuple[str, str, str, str, str, str]:
    x, e, both = (w.choice.options[int(s[i])] for s in (said.x, said.e, said.xe))
    return w.choice.question, w.text, w.choice.options[w.answer], x, e, both


def _lede(scores: tuple[Score, ...], leaks: np.ndarray, gain: tuple[float, float, float]) -> str:
    adjusted, plain = scores
    words = f"With the explanation, a simulator says what the model answers {plain.value:+.0%} more often; {leaks.mean():.0%} of explanations "
    words += (
        f"give the answer away by themselves. With both kinds in equal parts it gains {adjusted.value:+.0%}"
    )
    words += f" (not leaking: {gain[2]:+.0%}). " if np.isfinite(gain[2]) else ". "
    if adjusted.beats_chance and adjusted.beats_control:
        return words + "The explanations help."
    return words + "That is no more than nothing, or than explanations of other questions give."
