"""Polarity: does removing the most attended token move the output where the sign of its score says?

1. score the tokens: attention and attention rollout (never negative: "speaks for"), and gradient x attention (signed), each
   from the query whose output is measured;
2. take the token i* with the largest |score|, delete it, and read f(x) - f(x without i*);
3. a violation: sign(score) (f(x) - f(x without i*)) < 0; where nothing moves, the sign is half wrong.

Control: a random token of the same text with its own sign (the exact share over all its tokens); chance 0.5, a guessed sign.

Cost a text: 2 + tokens forwards, 1 backward. Reference: Liu et al. 2022, "Rethinking Attention-Model Explainability through
Faithfulness Violation Test" (arXiv:2201.12114), sec. 3; rollout: Abnar & Zuidema 2020, eq. 1.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.debate import PolarityViolation
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.core.value import Value
from exegete.methods.attention.bench import ROUNDING, Seen, deleted, each_text, gradients
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.contracts.study import Divided
from exegete.models.lab import Lab
from exegete.ops.routes import carried, single

SCORES = ("attention", "rollout", "gradient x attention")


class PolarText(Value):
    """Of one text, by score: the token looked at, whether it violates, the share of all tokens that do, the effect. `failed`: it has
    too few tokens to rank.
    """

    failed: bool = False
    name: str = ""
    top: tuple[str, ...] = ()
    violated: tuple[float, ...] = ()
    chance: tuple[float, ...] = ()
    effect: tuple[float, ...] = ()


@register
class PolarityViolationStudy(Divided):
    """How often removing the most attended token moves the output against the sign of its score."""

    id: ClassVar[str] = "polarity_violation"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("O4",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = PolarityViolation
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Liu et al.", year=2022, where="ICML; arXiv:2201.12114", equation="sec. 3",
        title="Rethinking Attention-Model Explainability through Faithfulness Violation Test",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = "3 + tokens forwards + 1 backward a text"
    seed: int = Field(0, description="seed of the bootstrap")

    part: ClassVar[type[Value]] = PolarText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[PolarText]:
        """Each text without each of its tokens."""
        return each_text(lab, items, target, polar_text, PolarText(failed=True), "removing tokens")

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[PolarText], target: Target, n_failed: int = 0
    ) -> PolarityViolation:
        """How often signs are wrong, over all texts."""
        known = [p for p in parts if not p.failed]
        failed = len(parts) - len(known) + n_failed
        violated, chance, effect = (
            np.array([getattr(p, name) for p in known], dtype=np.float64).reshape(-1, len(SCORES)).T
            for name in ("violated", "chance", "effect")
        )
        scores = tuple(
            mean_score(
                f"polarity violations of {name}", v, "lower", chance=0.5,
                control=c, control_name="a random token with its own sign", failed=failed, seed=self.seed,
            )
            for name, v, c in zip(SCORES, violated, chance)
        )  # fmt: skip
        return PolarityViolation(
            title="Does the sign of attention say where the output moves?",
            lede=_words(scores),
            texts=tuple(p.name for p in known),
            scores=SCORES,
            violated=violated,
            chance=chance,
            top=tuple(tuple(p.top[k] for p in known) for k in range(len(SCORES))),
            effect=effect,
            trust=Trust(scores=scores, seed=self.seed),
        )


def polar_text(text: Seen) -> PolarText:
    """One text that was read."""
    values, _ = deleted(text)
    whole = float(text.lab.measure(text.aim)[0])
    lost = whole - values
    lost = np.where(np.abs(lost) < ROUNDING * max(1.0, abs(whole)), 0.0, lost)
    _, slope = gradients(text)
    each = (text.weights(), rollout(text), text.weights(slope * text.pattern))
    places = np.flatnonzero(text.words)
    tops = [int(np.abs(score[places]).argmax()) for score in each]
    wrong = [(1 - np.sign(np.sign(score[places]) * lost)) / 2 for score in each]
    return PolarText(
        name=text.name,
        top=tuple(_piece(text, int(places[k])) for k in tops),
        violated=tuple(float(w[k]) for w, k in zip(wrong, tops)),
        chance=tuple(float(w.mean()) for w in wrong),
        effect=tuple(float(lost[k]) for k in tops),
    )


def rollout(text: Seen) -> np.ndarray:
    """Attention rollout [tok]: the product over layers of half the head mean plus half the identity, at the read queries."""
    start = np.eye(text.length)[list(text.rows)].mean(0, keepdims=True)
    return carried(single(list(text.pattern.double().mean(1).cpu().numpy()), True), start)[0][0]


def _piece(text: Seen, k: int) -> str:
    return text.lab.pieces([int(text.aim.inputs["input_ids"][0, k])])[0]


def _words(scores: tuple[Any, ...]) -> str:
    attention = scores[0]
    won = "less often than" if beaten(attention) else "not less often than"
    random = attention.control if attention.control is not None else float("nan")
    first = f"Removing the most attended token moves the output the wrong way in {attention.value:.0%} of the texts, {won} a random token ({random:.0%}) or a guess (50%)"
    return f"{first}; with gradient x attention in {scores[2].value:.0%}."
