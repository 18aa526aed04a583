"""Adversarial attention: how different may attention be while the output stays as it is?

1. take the attention a of the query whose output is measured, in every layer and head;
2. write it anew as a' = softmax(s + d), s the model's own scores (hidden keys stay hidden), and climb along the gradient
   through the model, once from near a and once from random attention:  mean JSD(a, a') - penalty max(0, TVD - eps) / eps,  TVD = 1/2 sum |p' - p| of the output;
3. keep the best step with TVD <= eps; of the last step, mix a' with a until TVD <= eps too, and keep the better of the two;
4. run the winner once more: what is reported comes from that plain forward.

Controls: random scores in the place of d: the largest JSD that they reach within eps, and the TVD of random attention as far
from the model's own as the adversarial one (the scale is found by bisection).

Cost a text: 2 n_steps forwards and backwards, then 26 + 13 n_draws forwards. JSD is in nats, at most ln 2.
Reference: Jain & Wallace 2019, "Attention is not Explanation", sec. 4.2.2, eq. 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.debate import AdversarialAttention
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check, Trust
from exegete.core.value import Value
from exegete.methods.attention.bench import Seen, each_text, probabilities
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.contracts.study import Divided
from exegete.models.edit import Set
from exegete.models.lab import Lab
from exegete.ops.divergence import jsd, tvd

FAR = 0.5  # nats; beyond it attention looks elsewhere altogether
PENALTY = 5.0  # how much an output moved by 2 eps costs, in units of JSD
MIXES = torch.linspace(1.0, 0.0, 11)
SCALES = 2.0 ** torch.arange(-6.0, 6.0)


class AdversarialText(Value):
    """What was found for one text: JSD and TVD of the adversarial and of random attention; `own`, `other` [key]: mean attention of
    the read queries. `failed`: it has too few tokens to rank.
    """

    failed: bool = False
    name: str = ""
    jsd: float = np.nan
    tvd: float = np.nan
    random_jsd: float = np.nan
    random_tvd: float = np.nan
    tokens: tuple[str, ...] = ()
    own: np.ndarray = np.zeros(0)
    other: np.ndarray = np.zeros(0)


@register
class AdversarialAttentionStudy(Divided):
    """Attention as different as possible that leaves the output within eps, found by gradient ascent for each text."""

    id: ClassVar[str] = "adversarial_attention"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B12",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = AdversarialAttention
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Jain & Wallace", year=2019, title="Attention is not Explanation",
        where="NAACL; arXiv:1902.10186", equation="sec. 4.2.2, eq. 6",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = "27 + 2 n_steps + 13 n_draws forwards + 2 n_steps backwards a text"
    eps: float = Field(
        0.01, gt=0, lt=1, description="the most that the output may move (total variation distance)"
    )
    n_steps: int = Field(50, ge=1, le=10000, description="steps of the ascent")
    rate: float = Field(0.3, gt=0, description="step size of the ascent (Adam), in units of scores")
    n_draws: int = Field(4, ge=1, le=1000, description="random attentions a text, for the control")
    seed: int = Field(0, description="seed of the start and of the random attentions")

    part: ClassVar[type[Value]] = AdversarialText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[AdversarialText]:
        """The search on each text, alone."""
        short, words = AdversarialText(failed=True), "looking for adversarial attention"
        return each_text(lab, items, target, self.text, short, words)

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[AdversarialText],
        target: Target,
        n_failed: int = 0,
    ) -> AdversarialAttention:
        """How far attention can go, over all texts."""
        found = [p for p in parts if not p.failed]
        failed = len(parts) - len(found) + n_failed
        jsds, tvds, random_jsd, random_tvd = (
            np.array([getattr(f, n) for f in found], dtype=np.float64)
            for n in ("jsd", "tvd", "random_jsd", "random_tvd")
        )
        scores = (
            mean_score(
                f"divergence (JSD) from the model's own attention with TVD <= {self.eps:g}", jsds, control=random_jsd,
                control_name="random attention with TVD as small", failed=failed, seed=self.seed,
            ),
            mean_score(
                f"share of texts with JSD > {FAR:g}", jsds > FAR, control=random_jsd > FAR,
                control_name="random attention with TVD as small", failed=failed, seed=self.seed,
            ),
            mean_score(
                "change of the output (TVD) under adversarial attention", tvds, "lower", control=random_tvd,
                control_name="random attention as divergent", failed=failed, seed=self.seed,
            ),
        )  # fmt: skip
        shown = found[int(jsds.argmax())] if found else AdversarialText()
        words = "the output under the reported attention, in a plain forward, stays within eps"
        return AdversarialAttention(
            title="Can another attention give the same output?",
            lede=_words(scores, self.eps),
            texts=tuple(p.name for p in found),
            eps=self.eps,
            jsd=jsds,
            tvd=tvds,
            random_jsd=random_jsd,
            random_tvd=random_tvd,
            tokens=shown.tokens,
            own=shown.own,
            other=shown.other,
            checks=(Check.at_most("output kept", float(tvds.max(initial=0.0)), self.eps, words),),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def text(self, text: Seen) -> AdversarialText:
        """One text that was read."""
        place = _Place.of(text)
        draw = torch.from_numpy(text.lab.rng("start", text.key).standard_normal((2, *place.own.shape))).to(
            place.own
        )
        draw[1] -= place.scores  # the second start forgets the model's own attention
        best, last = self._climb(place, draw)
        mixed = [m * x + (1 - m) * place.own for x in last for m in MIXES.to(last)]
        candidates = torch.stack([place.own, *([] if best is None else [best]), *mixed])
        winner = candidates[_farthest(place, candidates, self.eps)]
        moved = float(place.moved(winner[None])[0])
        far = float(place.far(winner[None])[0])
        random_jsd, random_tvd = self._random(place, far)
        own, other = (p.double().mean((0, 1, 2)).cpu().numpy() for p in (place.own, winner))
        return AdversarialText(
            name=text.name,
            jsd=far,
            tvd=moved,
            random_jsd=random_jsd,
            random_tvd=random_tvd,
            tokens=text.lab.pieces(text.aim.inputs["input_ids"][0].tolist()),
            own=own,
            other=other,
        )

    def _climb(self, place: "_Place", free: Tensor) -> tuple[Tensor | None, Tensor]:
        """The farthest attention met within eps (None: none was), and the last ones; `free` [start, layer, head, row, key]."""
        best, best_far = None, 0.0
        first, second = torch.zeros_like(free), torch.zeros_like(free)
        for step in range(1, self.n_steps + 1):
            free = free.detach().requires_grad_()
            with torch.enable_grad():
                new = place.pattern(free)
                far, moved = place.far(new), place.moved(new, keep=True)
                gain = far - PENALTY * (moved / self.eps - 1).clamp(0, 1e3)
                slope = place.text.lab.gradients(gain.sum(), [free])[0]
            fits = torch.where(moved.detach() <= self.eps, far.detach(), 0.0)
            if float(fits.max()) > best_far:
                best, best_far = new[int(fits.argmax())].detach(), float(fits.max())
            first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
            unit = (first / (1 - 0.9**step)) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)
            free = free.detach() + self.rate * unit
        return best, place.pattern(free).detach()

    def _random(self, place: "_Place", far: float) -> tuple[float, float]:
        """Largest JSD of random attention within eps, and its TVD where it is as far as `far`; means over draws."""
        reached, moved = [], []
        for d in range(self.n_draws):
            draw = torch.from_numpy(
                place.text.lab.rng("random", place.text.key, d).standard_normal(tuple(place.own.shape))
            ).to(place.own)
            several = torch.stack([place.pattern(s * draw) for s in SCALES])
            far_each, moved_each = place.far(several), place.moved(several)
            fits = moved_each <= self.eps
            reached.append(float(torch.where(fits, far_each, 0.0).max()))
            moved.append(float(place.moved(place.pattern(_scale(place, draw, far) * draw)[None])[0]))
        return float(np.mean(reached)), float(np.mean(moved))


@dataclass(frozen=True)
class _Place:
    """The rows of attention that are rewritten: `own` patterns and `logs` scores [layer, head, row, key], `free` [layer, head, row]."""

    text: Seen
    own: Tensor
    logs: Tensor
    free: Tensor

    @property
    def scores(self) -> Tensor:
        """Scores with 0 where a key is hidden."""
        return torch.where(torch.isfinite(self.logs), self.logs, 0.0)

    @classmethod
    def of(cls, text: Seen) -> "_Place":
        rows = list(text.rows)
        own, visible = text.pattern[:, :, rows], text.visible[:, :, rows]
        logs = own.clamp_min(1e-12).log().masked_fill(~visible, -torch.inf)
        return cls(text, own, logs, visible.sum(-1) > 1)

    def pattern(self, change: Tensor) -> Tensor:
        """Attention [layer, head, row, key] with scores moved by `change`; a query that sees nothing keeps its zeros."""
        sees = torch.isfinite(self.logs).any(-1, keepdim=True)
        moved = torch.where(torch.isfinite(self.logs), self.logs + change, -torch.inf)
        return torch.where(sees, torch.where(sees, moved, 0.0).softmax(-1), 0.0)

    def far(self, new: Tensor) -> Tensor:
        """Mean JSD [copy] over the rows that see more than one key."""
        every = jsd(new, self.own.expand_as(new))
        free = self.free.to(every)
        return (every * free).sum((1, 2, 3)) / free.sum().clamp_min(1)

    def moved(self, new: Tensor, keep: bool = False) -> Tensor:
        """TVD [copy] of the output with attention [copy, layer, head, row, key]; with its graph when `keep`."""
        text, rows = self.text, list(self.text.rows)
        if keep:
            return tvd(_with_graph(text, self._edit(new, rows), len(new)), text.out).mean(-1)
        done = [
            tvd(text.outputs(self._edit(new[part], rows), len(new[part])), text.out).mean(-1)
            for part in text.lab.chunks(len(new), text.length)
        ]
        return torch.cat(done)

    def _edit(self, new: Tensor, rows: list[int]) -> dict[Site, Any]:
        return {site: Set(new[:, k], positions=rows) for k, site in enumerate(self.text.sites("pattern"))}


def _with_graph(text: Seen, edit: dict[Site, Any], copies: int) -> Tensor:
    """Output distributions [copy, row, class] that can be differentiated."""
    aim = text.aim
    inputs = {k: v.expand(copies, *v.shape[1:]) for k, v in aim.inputs.items()}
    rows = None if aim.positions is None else aim.positions.expand(copies, -1)
    return probabilities(aim, text.lab.run(inputs, edit=edit, keep_graph=True, rows=rows).logits)


def _farthest(place: _Place, candidates: Tensor, eps: float) -> int:
    """Index of the candidate with the largest JSD among those within eps; the first is the model's own attention."""
    far, moved = place.far(candidates), place.moved(candidates)
    return int(torch.where(moved <= 0.999 * eps, far, -1.0).argmax())


def _scale(place: _Place, draw: Tensor, far: float) -> float:
    """The factor at which random scores are as far from the model's own attention as `far`, by bisection."""
    low, high = 0.0, 1e4
    for _ in range(40):
        middle = (low + high) / 2 if low else high / 2
        if float(place.far(place.pattern(middle * draw)[None])[0]) < far:
            low = middle
        else:
            high = middle
    return high


def _words(scores: tuple[Any, ...], eps: float) -> str:
    reached, share, moved = scores
    first = f"Attention can be moved {reached.value:.2f} nats (JSD, at most 0.69) away while the output moves by {eps:g} at most; beyond {FAR:g} in {share.value:.0%} of the texts"
    if beaten(reached):
        return f"{first}. Random attention that far moves the output by {moved.control or 0:.2f}."
    return f"{first}. The search finds no more than random attention does ({reached.control or 0:.2f})."
