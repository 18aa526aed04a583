"""The attention debate on your model: may its attention be read as explanation of these texts?

1. `attention_permutation`   does the output change when attention is shuffled? does attention order tokens like gradients,
                             and like removal?
2. `adversarial_attention`   does another attention give the same output?
3. `attention_erasure`       does erasing in the order of attention flip the decision early?
4. `attention_baselines`     is the learned attention needed at all?
5. `polarity_violation`      does removing the most attended token move the output where attention says?

Each answers yes, no or undecided, by rules that lean towards no reading: yes needs the whole 95 % interval on the good side
of every bar. The verdict is "may be read" only when every test says yes, "should not be read" when one of the tests on
faithfulness to removal, erasure or polarity says no, and undecided otherwise. Texts are read once for all tests.

Cost: the sum of the studies, lightly: see their pages. References: Jain & Wallace 2019; Serrano & Smith 2019; Wiegreffe &
Pinter 2019; Liu et al. 2022; the frame is Bibal et al. 2022, "Is Attention Explanation? An Introduction to the Debate".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.debate import AttentionDebate
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.attention.adversarial_attention import AdversarialAttentionStudy, AdversarialText
from exegete.methods.attention.attention_baselines import AttentionBaselinesStudy
from exegete.methods.attention.attention_erasure import AttentionErasureStudy, ErasedText
from exegete.methods.attention.attention_permutation import AttentionPermutationStudy, PermutedText
from exegete.methods.attention.bench import Seen, each_text
from exegete.methods.attention.judged import beaten, passed_by
from exegete.methods.attention.polarity_violation import PolarityViolationStudy, PolarText, polar_text
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.models.lab import Lab

STRONG = 0.5  # Kendall's tau below this is no common order, whatever it beats
NEAR = 0.35  # JSD (nats): half of ln 2; attention that may move as far with the same output is not unique
OFTEN = 0.25  # violations above this are too many to read a sign from, whatever they beat
FAITHFUL = ("removal", "erasure", "polarity")


@dataclass(frozen=True)
class _Test:
    """One question of the debate, its answer, the number behind it, and the study it comes from."""

    key: str
    study: str
    question: str
    answer: str
    score: Score


class DebatedText(Value):
    """What the tests gave for one text; `evened`: 1 where the decision changes with uniform attention, and with noise. As it is
    without anything: it has too few tokens to rank.
    """

    permuted: PermutedText = PermutedText(failed=True)
    adversary: AdversarialText = AdversarialText(failed=True)
    erased: ErasedText = ErasedText(failed=True)
    evened: tuple[float, float] | None = None
    polar: PolarText = PolarText(failed=True)


@register
class AttentionDebateStudy(Divided):
    """Whether attention may be read as explanation of these texts: the tests of the debate, a verdict each."""

    id: ClassVar[str] = "attention_debate"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B12", "B13", "B14", "O4")
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    usual: ClassVar[int | None] = 12
    least: ClassVar[int] = 2
    finds: ClassVar[type] = AttentionDebate
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Bibal et al.", year=2022, where="ACL",
        title="Is Attention Explanation? An Introduction to the Debate",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = (
        "the five studies: about 40 + 12 tokens + 2 n_permutations + n_steps forwards a text"
    )
    n_permutations: int = Field(10, ge=1, le=1000, description="how often attention is shuffled")
    n_steps: int = Field(30, ge=1, le=10000, description="steps of the search for adversarial attention")
    eps: float = Field(
        0.01, gt=0, lt=1, description="the most that adversarial attention may move the output (TVD)"
    )
    n_draws: int = Field(3, ge=1, le=1000, description="random orders and random attentions a text")
    seed: int = Field(0, description="seed of every draw")

    part: ClassVar[type[Value]] = DebatedText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[DebatedText]:
        """Each text, read once for all tests."""
        permuted, adversary, erased, _ = self._studies
        baselines = AttentionBaselinesStudy(by_layer=False, seed=self.seed)
        twin, why = twin_of(lab, self.seed)

        def text(seen: Seen) -> DebatedText:
            return DebatedText(
                permuted=permuted.text(seen, twin, why),
                adversary=adversary.text(seen),
                erased=erased.text(seen),
                evened=baselines.evened(seen),
                polar=polar_text(seen),
            )

        return each_text(lab, items, target, text, DebatedText(), "the tests of the debate")

    @property
    def _studies(
        self,
    ) -> tuple[
        AttentionPermutationStudy, AdversarialAttentionStudy, AttentionErasureStudy, PolarityViolationStudy
    ]:
        seed, draws = self.seed, self.n_draws
        return (
            AttentionPermutationStudy(n_permutations=self.n_permutations, by_layer=False, seed=seed),
            AdversarialAttentionStudy(eps=self.eps, n_steps=self.n_steps, n_draws=draws, seed=seed),
            AttentionErasureStudy(n_draws=draws, seed=seed),
            PolarityViolationStudy(seed=seed),
        )

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[DebatedText],
        target: Target,
        n_failed: int = 0,
    ) -> AttentionDebate:
        """The answers, over all texts."""
        seed = self.seed
        each = zip(self._studies, ("permuted", "adversary", "erased", "polar"))
        found = [s.merge(lab, items, [getattr(p, n) for p in parts], target, n_failed) for s, n in each]
        evened = np.array([p.evened for p in parts if p.evened is not None]).reshape(-1, 2)
        failed = len(parts) - len(evened) + n_failed
        needed = AttentionBaselinesStudy(seed=seed).flips("uniform", evened[:, 0], evened[:, 1], failed)
        *first, polar = (f.trust.scores for f in found)
        tests = _tests([*first, (needed,), polar])
        verdict = _verdict(tests)
        return AttentionDebate(
            title="May attention be read as explanation here?",
            lede=f"{verdict} {_count(tests)}",
            tests=tuple(t.study for t in tests),
            questions=tuple(t.question for t in tests),
            answers=tuple(t.answer for t in tests),
            reasons=tuple(_reason(t.score) for t in tests),
            verdict=verdict,
            checks=tuple(c for f in found for c in f.checks),
            trust=Trust(scores=tuple(t.score for t in tests), seed=seed),
        )


def _tests(scores: list[tuple[Score, ...]]) -> tuple[_Test, ...]:
    """The answers, from the scores of the five studies in their order."""
    (moved, gradient, removal), (far, *_), (erased, *others), baselines, (polarity, *_) = scores
    best = min(s.value for s in others)
    low = erased.interval[0] if erased.interval else erased.value
    return (
        _Test("shuffled", "attention_permutation", "Does shuffled attention change the output?", _plain(moved), moved),
        _Test("gradient", "attention_permutation", "Does it order tokens like gradients?", _order(gradient), gradient),
        _Test("removal", "attention_permutation", "Does it order tokens like their removal?", _order(removal), removal),
        _Test("unique", "adversarial_attention", "Is it the only attention with this output?", _unique(far), far),
        _Test(
            "erasure", "attention_erasure", "Do the most attended tokens decide, no later than those of the gradient?",
            _plain(erased, good=low <= best), erased,
        ),
        _Test(
            "needed", "attention_baselines", "Is learned attention needed, rather than a uniform one?",
            _plain(baselines[0]), baselines[0],
        ),
        _Test(
            "polarity", "polarity_violation", "Does the output fall without the most attended token?",
            _plain(polarity, good=polarity.value <= OFTEN, tie="undecided"), polarity,
        ),
    )  # fmt: skip


def _plain(score: Score, good: bool = True, tie: str = "no") -> str:
    """Yes when every bar is beaten (and `good` holds), no when the value is on the wrong side of a bar; `tie` where it lies on it."""
    if score.value != score.value or score.interval is None:
        return "undecided"
    if beaten(score):
        return "yes" if good else "undecided"
    sign = 1 if score.better == "higher" else -1
    gaps = [sign * (score.value - b) for b in (score.chance, score.control) if b is not None]
    if passed_by(score) or any(g < 0 for g in gaps):
        return "no"
    return tie if any(g == 0 for g in gaps) else "undecided"


def _order(tau: Score) -> str:
    """Yes for a strong rank correlation that beats its bars, no for one surely below it."""
    if tau.interval is None:
        return "undecided"
    if tau.interval[0] >= STRONG and beaten(tau):
        return "yes"
    return "no" if tau.interval[1] < STRONG else "undecided"


def _unique(far: Score) -> str:
    """No when attention surely moves far with the same output, yes when surely not."""
    if far.interval is None:
        return "undecided"
    low, high = far.interval
    return "no" if low > NEAR else "yes" if high < NEAR else "undecided"


def _reason(s: Score) -> str:
    span = "" if s.interval is None else f" [{s.interval[0]:.2f} to {s.interval[1]:.2f}]"
    bars = [
        f"{name} {value:.2f}"
        for name, value in (("chance", s.chance), ("control", s.control))
        if value is not None
    ]
    return f"{s.name} {s.value:.2f}{span}" + (f"; {', '.join(bars)}" if bars else "")


def _verdict(tests: tuple[_Test, ...]) -> str:
    answers = [t.answer for t in tests]
    if all(a == "yes" for a in answers):
        return "Attention may be read as explanation here: every test says yes."
    if any(t.answer == "no" for t in tests if t.key in FAITHFUL):
        return "Attention should not be read as explanation here."
    return (
        "Undecided: not every test says yes, and none of those on removal, erasure and polarity, which would settle it, "
        "says no."
    )


def _count(tests: tuple[_Test, ...]) -> str:
    said = {a: [t for t in tests if t.answer == a] for a in ("yes", "no", "undecided")}
    counts = ", ".join(f"{len(each)} {a}" for a, each in said.items() if each)
    against = " ".join(f"{t.question} No ({t.score.value:.2f})." for t in said["no"])
    return f"Of {len(tests)} tests: {counts}. {against}".strip()
