"""Induction heads: which heads look behind the previous occurrence of a token, copy what stands there, and are they needed?

On random tokens said twice (`repeated`):

1. prefix matching: attention from a token of the second saying to the position after its previous occurrence; and attention
   to the previous token;
2. copying: from the weights (`models.copying`), whether the head raises the tokens that it reads;
3. an induction head is one whose prefix matching reaches `threshold`, where nothing comes back stays below half of that, and
   that writes something (W_V W_O is not zero); a previous-token head one whose attention to the previous token does;
4. knock-outs: the heads say their mean instead, really, and the loss is measured again; also with all patterns kept as they
   were, which leaves what the heads say directly (Olsson et al.'s pattern-preserving ablation).

Controls: the same positions in texts where nothing comes back (a head that looks at a fixed distance scores there too); the
strongest head with randomised weights (both at the upper end of their 95 % intervals); the knock-out of as many heads that
are neither. The strongest head is chosen on even rows and judged on odd ones.

Cost: 2 + 2 + 4 + n_random forwards a row (said, fresh, randomised twice, knock-outs), and d + 1 tokens for the weights.
References: Elhage et al. 2021; Olsson et al. 2022 (arXiv:2209.11895), sec. 3 and "head activation evaluators".
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.induction import InductionHeads
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.methods.mechanisms.repeated import (
    Heads,
    Repeats,
    Watched,
    knocked,
    repeats,
    strongest,
    upper,
    watch,
)
from exegete.models.circuits import LayerCircuits, circuits, writing
from exegete.models.copying import copying
from exegete.models.lab import Lab
from exegete.ops.stats import bootstrap_mean


@register
class InductionHeadsStudy(Study):
    """Which heads do induction (look behind the previous occurrence and copy), and what the model loses without them."""

    id: ClassVar[str] = "induction_heads"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H10", "H11")
    verb: ClassVar[str] = "heads"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = InductionHeads
    home: ClassVar[str] = "terrarium/repeats"
    tasks: ClassVar[tuple[str, ...]] = ("causal",)
    reference: ClassVar[Reference] = Reference(
        authors="Olsson et al.", year=2022, title="In-context Learning and Induction Heads", where="arXiv:2209.11895",
        equation="prefix matching and copying scores",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("logprobs", "sites", "weights")
    passes: ClassVar[str] = "about 10 + n_random forwards a repeat, and d + 1 tokens"
    n_repeats: int = Field(16, ge=2, description="random texts")
    repeat_length: int = Field(25, ge=3, description="tokens that are said twice")
    threshold: float = Field(0.3, gt=0, lt=1, description="attention that makes a head one of a kind")
    n_random: int = Field(
        8, ge=1, description="draws of as many other heads, for the control of the knock-out"
    )
    seed: int = Field(0, description="seed of texts, draws and randomised weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> InductionHeads:
        """On random tokens of the model's own vocabulary."""
        how = repeats(lab, self.n_repeats, self.repeat_length)
        said, fresh = watch(lab, how.said, how, mean_z=True), watch(lab, how.fresh, how)
        weights = circuits(lab)
        kinds = self._kinds(said, fresh, weights)
        knocks = _Knocks(lab, how, said, kinds, self.n_random)
        scores = [self._matching(lab, how, said, fresh), _learning(how, said, fresh), *knocks.scores()]
        return self._finding(how, said, fresh, kinds, copying(lab, weights), knocks, tuple(scores))

    def _kinds(self, said: Watched, fresh: Watched, weights: tuple[LayerCircuits, ...]) -> "_Kinds":
        prefix, plain = said.kind("prefix").mean(0), fresh.kind("prefix").mean(0)
        writes = writing(weights).numpy()
        found = (prefix >= self.threshold) & (plain < self.threshold / 2) & writes
        previous = (said.kind("previous").mean(0) >= self.threshold) & ~found & writes
        rest = ~found & ~previous
        return _Kinds(*(tuple((int(i), int(h)) for i, h in np.argwhere(x)) for x in (found, previous, rest)))

    def _matching(self, lab: Lab, how: Repeats, said: Watched, fresh: Watched) -> Score:
        values, (layer, head) = strongest(said.kind("prefix"))
        control, name, skipped = (
            fresh.kind("prefix")[1::2, layer, head].mean(),
            "where nothing comes back",
            "",
        )
        other, why = twin_of(lab, self.seed)
        if other is None:
            skipped = f"randomised weights: {why}"
        else:
            random = upper(strongest(watch(other, how.said, how).kind("prefix"))[0])
            control, name = max(control, random), f"{name}, or the strongest head with randomised weights"
        return Score(
            name=f"prefix matching of {layer}.h{head}",
            value=float(values.mean()),
            chance=how.chance["prefix"],
            control=float(control),
            control_name=name,
            interval=bootstrap_mean(values),
            n=len(values),
            skipped=skipped,
        )

    def _finding(
        self, how: Repeats, said: Watched, fresh: Watched, kinds: "_Kinds", copies: tuple[Any, Any],
        knocks: "_Knocks", scores: tuple[Score, ...],
    ) -> InductionHeads:  # fmt: skip
        band = np.array([bootstrap_mean(x) for x in said.loss.T])
        without = knocks.losses.get("induction heads")
        return InductionHeads(
            title="Are there induction heads, and are they needed?",
            lede=_lede(kinds, scores),
            prefix=said.kind("prefix").mean(0),
            prefix_fresh=fresh.kind("prefix").mean(0),
            previous=said.kind("previous").mean(0),
            copying=copies[0].numpy(),
            copying_shuffled=copies[1].numpy(),
            induction=kinds.induction,
            previous_heads=kinds.previous,
            loss=said.loss.mean(0),
            loss_low=band[:, 0],
            loss_high=band[:, 1],
            loss_fresh=fresh.loss.mean(0),
            loss_without=np.zeros(0) if without is None else without.mean(0),
            second=how.lead + how.length,
            knock_outs=knocks.rows(),
            trust=Trust(scores=scores),
        )


@dataclass(frozen=True)
class _Kinds:
    """Heads (layer, head) by kind."""

    induction: Heads
    previous: Heads
    rest: Heads


class _Knocks:
    """Every knock-out, made once: `losses` [row, tok - 1] by what was knocked out."""

    def __init__(self, lab: Lab, how: Repeats, said: Watched, kinds: _Kinds, n_random: int) -> None:
        self.how, self.kinds = how, kinds
        self.base = how.learned(said.loss)
        self.losses: dict[str, np.ndarray] = {}
        self.names: dict[str, str] = {}
        groups = {"induction heads": kinds.induction, "previous-token heads": kinds.previous}
        for name, heads in groups.items():
            for kept in (False, True) if heads else ():
                words = f"{name}, patterns kept" if kept else name
                self.losses[words] = knocked(lab, how.said, heads, said.mean_z, preserve=kept)
                self.names[words] = ", ".join(f"{i}.h{h}" for i, h in heads)
        self.n_others = min(len(kinds.induction), len(kinds.rest))
        for draw in range(n_random if self.n_others else 0):
            picks = lab.rng("others", draw).permutation(len(kinds.rest))[: self.n_others]
            some = tuple(kinds.rest[i] for i in sorted(picks))
            self.losses[f"other heads {draw}"] = knocked(lab, how.said, some, said.mean_z)

    def cost(self, name: str) -> np.ndarray:
        """What a knock-out takes from in-context learning [row], in nats."""
        return self.how.learned(self.losses[name]) - self.base

    @property
    def others(self) -> np.ndarray:
        """Cost of knocking out other heads [row], mean over draws."""
        return np.mean([self.cost(k) for k in self.losses if k.startswith("other heads")], 0)

    def scores(self) -> list[Score]:
        """What in-context learning loses without the induction heads; nothing where there are none."""
        if not self.kinds.induction:
            return []
        cost = self.cost("induction heads")
        return [
            Score(
                name=f"in-context learning lost without the {_heads(len(self.kinds.induction), 'induction ')} (nats)",
                value=float(cost.mean()),
                control=float(self.others.mean()) if self.n_others else None,
                control_name=f"without {_heads(self.n_others)} neither of induction nor of the previous token",
                interval=bootstrap_mean(cost),
                n=len(cost),
                skipped="" if self.n_others else "there are no other heads",
            )
        ]

    def rows(self) -> tuple[tuple[str, str, float, float, float, float], ...]:
        """The table of knock-outs."""
        each = [("nothing", "", self.base)]
        each += [(k, self.names[k], self.how.learned(self.losses[k])) for k in self.names]
        if self.n_others:
            each.append(("other heads", f"{self.n_others} at random", self.base + self.others))
        return tuple(
            (
                what,
                heads,
                float(x.mean()),
                *(bootstrap_mean(x) or (np.nan, np.nan)),
                float((x - self.base).mean()),
            )
            for what, heads, x in each
        )


def _learning(how: Repeats, said: Watched, fresh: Watched) -> Score:
    values = how.learned(said.loss)
    return Score(
        name="in-context learning: loss of the second saying minus the first (nats)",
        value=float(values.mean()),
        better="lower",
        control=float(how.learned(fresh.loss).mean()),
        control_name="where nothing comes back",
        interval=bootstrap_mean(values),
        n=len(values),
    )


def _heads(n: int, kind: str = "") -> str:
    return f"{n} {kind}head{'' if n == 1 else 's'}"


def _lede(kinds: _Kinds, scores: tuple[Score, ...]) -> str:
    matching, learning = scores[:2]
    learns = "learns" if learning.beats_control else "does not learn"
    if not kinds.induction:
        return (
            f"No head does induction: the strongest prefix matching is {matching.value:.2f} (control "
            f"{matching.control:.2f}). The model {learns} from repetition ({learning.value:+.2f} nats)."
        )
    names = ", ".join(f"{i}.h{h}" for i, h in kinds.induction)
    cost = scores[2]
    needed = "are needed" if cost.beats_control else "are NOT needed more than others"
    against = "" if cost.control is None else f"; removing as many other heads costs {cost.control:.2f}"
    return (
        f"{_heads(len(kinds.induction), 'induction ')}: {names}. They {needed}: removing them costs "
        f"{cost.value:.2f} of the {-learning.value:.2f} nats that repetition saves{against}."
    )
