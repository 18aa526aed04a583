"""Direct logit attribution: what every head, feed-forward part, hidden unit and the embedding wrote towards a logit.

1. one pass a batch of texts reads what each part wrote at the position that is measured;
2. `models.decompose` turns it into shares that sum to the logit exactly: norms at their own scale, sandwich norms, factors,
   post-norms and the head included, on raw weights;
3. with a foil, the shares of "this rather than that".

Chance: the largest share that any part has when a random token stands in the answer's place (with the same foil), so that
taking the maximum gives no advantage. Control: the usual size of the same part's share there.

A direct share says what was written, not what would be lost: later parts may make up for a lost part (study `self_repair`).
Self-check: shares sum to the logit, heads and units to their parts (1e-4 of the largest; 2e-2 in half precision).

Cost: one forward a text, and one more where the target is the model's own choice. Reference: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Wang et al. 2022
(arXiv:2211.00593), sec. 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import TargetError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.direct import LogitAttribution, LogitPart
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.study import Divided
from exegete.models.decompose import Shares, decompose
from exegete.models.lab import Aim, Lab
from exegete.ops.stats import bootstrap_mean, midrank_percentile

BATCH = 16


class Wrote(Value):
    """Some texts. Of each: names of `answers` and `foils`, shares of `parts` [text, part] and their sum `logit` [text], of the
    answer less the foil. Sums over texts: `totals` of shares by place, `units` [neuron] of every layer of `layers`, what parts
    have in random tokens' logits [draw, part] and the size of it [part]. The largest logit and gaps of the checks (`half`: in
    half precision). Of a single text also its `tokens` and the shares `sources` by the token that heads read.
    """

    answers: tuple[str, ...]
    foils: tuple[str, ...]
    parts: np.ndarray
    logit: np.ndarray
    totals: dict[str, np.ndarray]
    layers: tuple[int, ...]
    units: tuple[np.ndarray, ...]
    random: np.ndarray
    size: np.ndarray
    said: float
    gap: float
    inside: float
    half: bool
    capped: bool
    tokens: tuple[str, ...] = ()
    sources: np.ndarray | None = None


@register
class DirectLogitAttribution(Divided):
    """What each part of the model writes directly towards a logit; the parts sum to it."""

    id: ClassVar[str] = "direct_logit_attribution"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H19",)
    verb: ClassVar[str] = "lens"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = LogitAttribution
    part: ClassVar[type[Value]] = Wrote
    reduces: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="Elhage et al.", year=2021, title="A Mathematical Framework for Transformer Circuits",
        where="transformer-circuits.pub/2021/framework", equation="sec. 'Splitting attention head terms'",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "1 forward a text; 1 more where the model chooses the target"
    n_random: int = Field(50, ge=2, le=1000, description="random tokens of the control")
    n_top: int = Field(10, ge=1, le=1000, description="how many hidden units, and heads by token, are listed")
    seed: int = Field(0, description="seed of the random tokens")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Wrote]:
        """Shares of all texts, summed up."""
        if target.scale not in ("auto", "logit"):
            raise TargetError(
                f"You asked for direct attribution on the scale {target.scale!r}.",
                "Only logits are sums of what the parts write; probabilities are not.",
                "Leave the scale out, or give scale='logit'; a foil (against=...) makes it a log-odds.",
            )
        target = target.model_copy(update={"scale": "logit"})
        found: list[_Batch] = []
        with lab.working(len(items), "attributing") as step:
            for i in range(0, len(items), BATCH):
                aim = lab.aim(items[i : i + BATCH], target)
                _refuse_several(aim)
                found.append(self._batch(lab, aim, single=len(items) == 1))
                step(len(aim))
        return [_wrote(found)]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Wrote], target: Target, n_failed: int = 0
    ) -> LogitAttribution:
        """Over texts."""
        return self._finding(lab, _Every(parts), n_failed)

    def _batch(self, lab: Lab, aim: Aim, single: bool) -> "_Batch":
        """One pass: shares of the answer, of the foil where there is one, and of the random tokens."""
        rows = [r[0] for r in aim.rows]
        own = [[r.id for r in rows]]
        own += [[r.foil or 0 for r in rows]] if aim.foils[0] else []
        size = lab.model.vocabulary
        drawn = torch.from_numpy(lab.rng("tokens").integers(0, size, self.n_random))
        ids = torch.cat([torch.tensor(own), drawn[:, None].expand(-1, len(rows))]).to(lab.model.device)
        shares = decompose(lab, aim, ids, units=len(own), sources=len(own) if single else 0)
        return _Batch(aim, shares, len(own))

    def _finding(self, lab: Lab, every: "_Every", n_failed: int) -> LogitAttribution:
        names, mean = _names(lab, every), every.parts.mean(0)
        random, size, foils = every.random, every.size, tuple(f for f in every.foils if f)
        best = int(mean.argmax())
        score = _score(names[best][0], every.parts[:, best], random.max(1), size[best], self.seed, n_failed)
        parts = tuple(
            LogitPart(
                name=names[i][0], sort=names[i][1], share=float(mean[i]),
                interval=bootstrap_mean(every.parts[:, i], self.seed), random=float(size[i]),
            )
            for i in np.argsort(-mean, kind="stable")
        )  # fmt: skip
        return LogitAttribution(
            title="Which parts wrote this logit?",
            lede=_lede(parts, every, score),
            answers=every.answers,
            foils=foils,
            logit=float(every.logit.mean()),
            embedding=float(mean[0]),
            heads=every.heads,
            cross_heads=every.cross_heads,
            feed_forward=every.feed_forward,
            projection_bias=every.biases[0],
            norm_bias=every.biases[1],
            head_bias=every.biases[2],
            after=every.after,
            group=lab.model.map.n_heads // lab.model.map.n_kv_heads,
            capped=every.capped,
            parts=parts,
            units=_top_units(every.units, self.n_top),
            context=(("text", "".join(every.tokens)),) if len(every.logit) == 1 else (),
            checks=every.checks,
            trust=Trust(
                scores=(score,),
                seed=self.seed,
                notes=("Shares are of the logit before the model's soft cap.",) if every.capped else (),
            ),
            **_sources(every, names, self.n_top),
        )


@dataclass(frozen=True)
class _Batch:
    """One pass: its aim, the shares of answer and foil (`own` 1 or 2 ids) and of random tokens."""

    aim: Aim
    shares: Shares
    own: int

    def mine(self, x: Tensor) -> np.ndarray:
        """The answer's, less the foil's [text, ...], of shares [id, text, ...]."""
        return (x[0] - x[1] if self.own == 2 else x[0]).double().cpu().numpy()

    def drawn(self, x: Tensor) -> np.ndarray:
        """Those of random tokens in the answer's place, less the foil's where there is one [draw, text, ...]."""
        rest = x[self.own :]
        return (rest - x[1] if self.own == 2 else rest).double().cpu().numpy()

    @property
    def parts(self) -> Tensor:
        """Shares [id, text, part] of the embedding, heads, cross-attention heads and feed-forward parts."""
        s = self.shares
        cross = [] if s.cross_heads is None else [s.cross_heads.flatten(2)]
        return torch.cat([s.embedding[..., None], s.heads.flatten(2), *cross, s.feed_forward], -1)

    @property
    def after(self) -> Tensor:
        """What the parts add up to after the embedding and after every layer [id, text, layer + 1]."""
        s = self.shares
        added = s.heads.sum(-1) + s.feed_forward + (0.0 if s.cross_heads is None else s.cross_heads.sum(-1))
        return torch.cat([s.embedding[..., None], s.embedding[..., None] + added.cumsum(-1)], -1)


def _wrote(found: list[_Batch]) -> Wrote:
    """All batches of a stretch together."""

    def total(pick: Callable[[Shares], Tensor]) -> np.ndarray:
        return np.asarray(np.sum([b.mine(pick(b.shares)).sum(0) for b in found], 0))

    first, random = found[0].shares, np.concatenate([b.drawn(b.parts) for b in found], 1)
    places: dict[str, Callable[[Shares], Tensor]] = {
        "heads": lambda s: s.heads, "feed_forward": lambda s: s.feed_forward, "projection": lambda s: s.projection,
        "norms": lambda s: s.norms, "head": lambda s: s.head,
    }  # fmt: skip
    totals = {name: total(pick) for name, pick in places.items()}
    totals["after"] = np.sum([b.mine(b.after).sum(0) for b in found], 0)
    if first.cross_heads is not None:
        totals["cross_heads"] = np.sum(
            [b.mine(x).sum(0) for b in found if (x := b.shares.cross_heads) is not None], 0
        )
    single = len(random[0]) == 1
    return Wrote(
        answers=tuple(a for b in found for a in b.aim.answers),
        foils=tuple(f or "" for b in found for f in b.aim.foils),
        parts=np.concatenate([b.mine(b.parts) for b in found]),
        logit=np.concatenate([b.mine(b.shares.total) for b in found]),
        totals=totals,
        layers=tuple(first.units),
        units=tuple(total(lambda s, i=i: s.units[i]) for i in first.units),
        random=random.sum(1),
        size=np.abs(random).mean(0).sum(0),
        said=max(float(b.shares.said.abs().max()) for b in found),
        gap=max(float((b.shares.readout.capped(b.shares.total) - b.shares.said).abs().max()) for b in found),
        inside=max(b.shares.gap for b in found),
        half=first.said.dtype in (torch.float16, torch.bfloat16),
        capped=first.readout.cap is not None,
        tokens=found[0].aim.tokens[0] if single else (),
        sources=None if first.sources is None else found[0].mine(first.sources)[0],
    )


class _Every:
    """All stretches together: means over texts of the answer less the foil, `parts` and `logit` of each, and the checks."""

    def __init__(self, parts: Sequence[Wrote]) -> None:
        first, n = parts[0], sum(len(p.logit) for p in parts)

        def mean(name: str) -> np.ndarray:
            return np.asarray(np.sum([p.totals[name] for p in parts], 0) / n)

        self.answers = tuple(a for p in parts for a in p.answers)
        self.foils = tuple(f for p in parts for f in p.foils)
        self.parts = np.concatenate([p.parts for p in parts])
        self.logit = np.concatenate([p.logit for p in parts])
        self.random = np.sum([p.random for p in parts], 0) / n
        self.size = np.sum([p.size for p in parts], 0) / n
        self.heads, self.feed_forward, self.after = mean("heads"), mean("feed_forward"), mean("after")
        self.cross_heads = mean("cross_heads") if "cross_heads" in first.totals else None
        self.biases = [float(mean(name)) for name in ("projection", "norms", "head")]
        each = zip(*(p.units for p in parts))
        self.units = {i: np.sum(x, 0) / n for i, x in zip(first.layers, each)}
        self.tokens, self.sources = (first.tokens, first.sources) if n == 1 else ((), None)
        self.capped, self.checks = first.capped, _checks(parts)


def _checks(parts: Sequence[Wrote]) -> tuple[Check, ...]:
    """Shares sum to the logits that the model gave, and heads and units to what their parts add."""
    size = max(1.0, *(p.said for p in parts))
    bar, words = 2e-2 if parts[0].half else 1e-4, "relative to the largest logit"
    return (
        Check.at_most("shares sum to the logit", max(p.gap for p in parts) / size, bar, words),
        Check.at_most("heads and units sum to their parts", max(p.inside for p in parts) / size, bar, words),
    )


def _refuse_several(aim: Aim) -> None:
    if max(map(len, aim.rows)) > 1:
        raise TargetError(
            "You asked for direct attribution of a continuation of several tokens.",
            "Each of its tokens has a logit and shares of its own.",
            "Give an answer of one token, or attribute one token after the other.",
        )


def _names(lab: Lab, every: _Every) -> list[tuple[str, str]]:
    """(name, kind) of every part, in the order of `_Batch.parts`."""
    group = lab.model.map.n_heads // lab.model.map.n_kv_heads
    layers, heads = every.heads.shape
    places = [(i, h) for i in range(layers) for h in range(heads)]
    names = [("embedding", "embedding")]
    names += [(f"{i}.h{h}", f"head of kv{h // group}" if group > 1 else "head") for i, h in places]
    if every.cross_heads is not None:
        names += [(f"{i}.cross.h{h}", "cross-attention head") for i in range(layers) for h in range(heads)]
    return names + [(f"{i}.mlp", "feed-forward part") for i in range(layers)]


def _score(name: str, shares: np.ndarray, draws: np.ndarray, size: float, seed: int, n_failed: int) -> Score:
    """The largest share [text], against the largest share of each random token [draw] and the usual size of this part's."""
    return Score(
        name=f"largest share ({name})",
        value=float(shares.mean()),
        chance=float(draws.mean()),
        control=float(size),
        control_name="the size of this part's share in a random token's logit",
        interval=bootstrap_mean(shares, seed),
        percentile=midrank_percentile(float(shares.mean()), draws),
        n=len(shares),
        n_failed=n_failed,
    )


def _sources(every: _Every, names: list[tuple[str, str]], n_top: int) -> dict[str, Any]:
    """Fields that split the heads with the largest shares (either sign) by the token they read, for one text."""
    if every.sources is None:
        return {}
    flat = every.sources.reshape(-1, every.sources.shape[-1])
    order = np.argsort(-np.abs(flat.sum(-1)), kind="stable")[:n_top]
    return {
        "tokens": every.tokens,
        "sources": every.sources.sum(1),
        "source_heads": flat[order],
        "source_names": tuple(names[1 + i][0] for i in order),
    }


def _top_units(units: dict[int, np.ndarray], n: int) -> tuple[tuple[int, int, float], ...]:
    """(layer, unit, share) of the n largest shares, either sign."""
    every = [
        (i, int(u), float(x[u])) for i, x in units.items() for u in np.argsort(-np.abs(x), kind="stable")[:n]
    ]
    return tuple(sorted(every, key=lambda e: -abs(e[2]))[:n])


def _lede(parts: tuple[LogitPart, ...], every: _Every, score: Score) -> str:
    """What wrote the logit, in words."""
    foil = f" rather than {every.foils[0].strip()!r}" if every.foils[0] else ""
    many = len(every.logit) > 1
    what = f"the {len(every.logit)} answers" if many else f"{every.answers[0].strip()!r}{foil}"
    most = ", ".join(f"{p.name} ({p.share:+.2f})" for p in parts[:3])
    stands = score.beats_control and score.beats_chance
    tail = "" if stands else " That is no more than the largest share in a random token's logit."
    return f"The logit of {what} is {every.logit.mean():.2f}{' on average' if many else ''}; most of it was written by {most}.{tail}"
