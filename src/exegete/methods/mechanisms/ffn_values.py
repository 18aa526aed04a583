"""Feed-forward values: which hidden units write a prediction, in words of the vocabulary, and what changing them does.

1. one pass reads the coefficients m of every layer's units at the measured position; the part writes sum_i m_i v_i + b
   (eq. 4), which is checked against what it wrote (1e-4);
2. a unit's share of the answer's logit is m_i <v_i, direction>, through every later norm at its own scale (`models.promote`);
   positive shares promote the answer, negative ones eliminate it; the same through all tokens says what a unit pushes up;
3. interventions, a layer at a time: the units that promote the answer most (against random tokens) are switched off; and, to
   steer, the units whose values promote its rival most (the foil, or the runner-up) are set to the largest coefficient that
   the layer takes here. The pass runs on from there, and the change of the log-probability is measured;
4. early exit: from which layer on the guess is the final one (saturation); and a rule that stops once the guess was the same
   for `patience` layers.

Controls: the largest share in random tokens' logits; other units of the same layer (for switching off: drawn from the
strongest other writers); the guesses of the layers in random order; every position stopping where another one did.

Cost: 2 forwards a text, and 2 (1 + n_draws) times about half a forward a layer. Reference: Geva et al. 2022, "Transformer
Feed-Forward Layers Build Predictions by Promoting Concepts in the Vocabulary Space" (arXiv:2203.14680), sec. 3-6.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.feedforward import FeedForwardValues, SubUpdate
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.sub_updates import Survey, aimed, survey
from exegete.models.lab import Lab
from exegete.ops import saturation
from exegete.ops.stats import bootstrap_mean, midrank_percentile

N_WORDS = 6
POOL = 4  # switched off in the control: drawn from this many times as many of the strongest other writers


class Told(Value):
    """One text: coefficients and shares [neuron] by layer; balance [layer, 2] and random [layer, 2, draw] of promotion and
    elimination; lost and gained [layer, 1 + draw]; tops [layer, position].
    """

    answer: str
    foil: str
    rival: str
    id: int
    act: tuple[np.ndarray, ...]
    shares: tuple[np.ndarray, ...]
    balance: np.ndarray
    random: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    tops: np.ndarray
    gap: float


class Updates(Value):
    """Some texts; and what units add to random tokens' logits [draw, neuron] by layer, summed over them: a text's own would be
    many numbers.
    """

    told: tuple[Told, ...]
    pushed: tuple[np.ndarray, ...]


@register
class FfnValues(Divided):
    """Which feed-forward units write a prediction, what they say in words of the vocabulary, and what changing them does."""

    id: ClassVar[str] = "ffn_values"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H13",)
    verb: ClassVar[str] = "lens"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = FeedForwardValues
    part: ClassVar[type[Value]] = Updates
    reduces: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="Geva, Caciularu, Wang & Goldberg", year=2022, where="arXiv:2203.14680", equation="eq. 4-5, sec. 3-6",
        title="Transformer Feed-Forward Layers Build Predictions by Promoting Concepts in the Vocabulary Space",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "2 forwards a text + about (1 + n_draws) a layer"
    n_top: int = Field(15, ge=1, le=1000, description="how many sub-updates are listed")
    n_units: int = Field(
        10, ge=1, le=10000, description="units changed at once (at most a quarter of a layer's)"
    )
    n_draws: int = Field(
        8, ge=1, le=1000, description="draws of other units, the control of the interventions"
    )
    n_random: int = Field(50, ge=2, le=1000, description="random tokens, the control of the shares")
    patience: int = Field(
        2, ge=1, le=1000, description="layers with the same guess after which the rule stops"
    )
    seed: int = Field(0, description="seed of random tokens and units")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Updates]:
        """Texts, one after the other."""
        drawn = lab.rng("tokens").integers(0, lab.model.vocabulary, self.n_random).tolist()
        found: list[Told] = []
        pushed: list[np.ndarray] = []
        with lab.working(len(items), "reading units") as step:
            for item in items:
                told, random = self._told(lab, survey(lab, aimed(lab, item, target)), drawn)
                found.append(told)
                pushed = [a + b for a, b in zip(pushed, random)] if pushed else random
                step()
        return [Updates(told=tuple(found), pushed=tuple(pushed))]

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Updates], target: Target, n_failed: int = 0
    ) -> FeedForwardValues:
        """Over texts; what a unit says is read along the first one's way to the logits."""
        found = [t for p in parts for t in p.told]
        pushed = [np.sum(x, 0) / len(found) for x in zip(*(p.pushed for p in parts))]
        first = survey(lab, aimed(lab, items[0], target))
        return with_failed(self._finding(lab, first, _Every(found, pushed)), n_failed)

    def _told(self, lab: Lab, s: Survey, drawn: list[int]) -> tuple[Told, list[np.ndarray]]:
        """Everything about one text, in numbers; and what its units add to random tokens' logits [draw, neuron] by layer."""
        read = [v.tolist() for k, v in sorted(s.aim.inputs.items()) if k.endswith("input_ids")]
        seen = s.seen(drawn)
        layers = sorted(s.parts)
        changes = [self._changes(lab.rng("units", read, n), s, n, seen[n]) for n in layers]
        shares = [s.act[n] * seen[n][0] for n in layers]
        random = [s.act[n] * _pairs(seen[n][2], s.foil) for n in layers]
        told = Told(
            answer=s.aim.answers[0],
            foil=s.aim.foils[0],
            rival=lab.pieces([s.rival])[0],
            id=s.id,
            act=tuple(_kept(s.act[n]) for n in layers),
            shares=tuple(_kept(x) for x in shares),
            balance=np.array([[float(x.clamp_min(0).sum()), float(x.clamp_max(0).sum())] for x in shares]),
            random=np.stack(
                [_np(torch.stack([x.clamp_min(0).sum(1), x.clamp_max(0).sum(1)])) for x in random]
            ),
            lost=s.values[0] - np.array([c[0] for c in changes]),
            gained=np.array([c[1] for c in changes]) - s.values[1],
            tops=s.tops,
            gap=s.gap,
        )
        return told, [_np(x) for x in random]

    def _changes(
        self, rng: np.random.Generator, s: Survey, layer: int, seen: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values [1 + draw]: of the answer with units switched off, of the rival with units fully on; the chosen units first."""
        act, (mine, theirs, rest) = s.act[layer], seen
        k = max(1, min(self.n_units, len(act) // 4))
        # against random tokens: what moves every logit alike moves no probability
        helps = act * (mine - (rest.mean(0) if s.foil is None else 0.0))
        steers = theirs - rest.mean(0)
        full = torch.where(steers * act.max() >= steers * act.min(), act.max(), act.min())
        writes = act.abs() * s.parts[layer].weight.norm(dim=1)
        off = _sets(rng, helps, writes, k, POOL * k, self.n_draws)
        on = _sets(rng, full * steers, torch.ones_like(act), k, len(act), self.n_draws)
        zero = act.repeat(len(off), 1).scatter(1, off, 0.0)
        raised = act.repeat(len(on), 1).scatter(1, on, full[on])
        values = s.changed(layer, torch.cat([zero, raised]))
        return values[: len(off), 0], values[len(off) :, 1]

    def _finding(self, lab: Lab, first: Survey, every: "_Every") -> FeedForwardValues:
        found = every.found
        units = _listed(lab, first, every, self.n_top, self.seed)
        exits = _exits([t.tops for t in found], self.patience, self.seed)
        scores = (_share_score(units, every, self.seed), *_change_scores(every, self.seed), *exits)
        n = lab.model.map.n_layers
        return FeedForwardValues(
            title="What do the feed-forward layers write?",
            lede=_lede(units, every, scores),
            answers=tuple(t.answer for t in found),
            foils=tuple(t.foil for t in found if t.foil),
            rivals=tuple(t.rival for t in found),
            layers=tuple(sorted(first.parts)),
            units=units,
            promotion=every.balance[:, :, 0].mean(0),
            elimination=every.balance[:, :, 1].mean(0),
            promotion_random=every.random[:, :, 0].mean((0, 2)),
            elimination_random=every.random[:, :, 1].mean((0, 2)),
            lost=every.lost[..., 0].mean(0),
            lost_random=every.lost[..., 1:].mean(0),
            lost_interval=_intervals(every.lost[..., 0], self.seed),
            gained=every.gained[..., 0].mean(0),
            gained_random=every.gained[..., 1:].mean(0),
            gained_interval=_intervals(every.gained[..., 0], self.seed),
            changed=max(1, min(self.n_units, min(len(a) for a in found[0].act) // 4)),
            agrees=np.concatenate([t.tops == t.tops[-1] for t in found], 1).mean(1),
            settled=np.concatenate(
                [saturation.settled(t.tops)[None] <= np.arange(n)[:, None] for t in found], 1
            ).mean(1),
            depth=tuple(f"layer {i}" for i in range(n)),
            context=(("text", "".join(first.aim.tokens[0])),) if len(found) == 1 else (),
            checks=(
                Check.at_most(
                    "sub-updates sum to the part's output",
                    max(t.gap for t in found),
                    1e-4 if lab.model.dtype in (torch.float32, torch.float64) else 2e-2,
                    "coefficients times values plus bias, relative to the largest entry, every layer and text",
                ),
            ),
            trust=Trust(scores=scores, seed=self.seed),
        )


class _Every:
    """All texts together: arrays [text, ...], coefficients and shares [text, neuron] by layer, and `best` [draw]: the largest
    mean share of any unit in a random token's logit, found as the answers' largest is.
    """

    def __init__(self, found: list[Told], pushed: list[np.ndarray]) -> None:
        self.found = found
        self.act = [np.stack(x).astype(np.float64) for x in zip(*(t.act for t in found))]
        self.shares = [np.stack(x).astype(np.float64) for x in zip(*(t.shares for t in found))]
        self.balance = np.stack([t.balance for t in found])
        self.random = np.stack([t.random for t in found])
        self.best = np.max([x.max(1) for x in pushed], 0)
        self.lost = np.stack([t.lost for t in found])
        self.gained = np.stack([t.gained for t in found])


def _pairs(seen: Tensor, foil: int | None) -> Tensor:
    """What units add to random tokens' logits [draw, neuron]; to one less another's where there is a foil."""
    return seen if foil is None else seen - seen.roll(1, 0)


def _sets(rng: np.random.Generator, gain: Tensor, strength: Tensor, k: int, pool: int, draws: int) -> Tensor:
    """Units [1 + draw, k]: the k of largest gain, then draws of k of the `pool` strongest others."""
    chosen = gain.argsort(descending=True, stable=True)[:k]
    others = strength.clone()
    others[chosen] = -1.0
    ranked = others.argsort(descending=True, stable=True)[: min(pool, len(gain) - k)]
    picks = np.stack([rng.choice(len(ranked), k, replace=False) for _ in range(draws)])
    return torch.cat([chosen[None], ranked[torch.from_numpy(picks).to(ranked.device)]])


def _listed(lab: Lab, first: Survey, every: _Every, n_top: int, seed: int) -> tuple[SubUpdate, ...]:
    """The sub-updates of largest mean share, either sign, and the largest positive one, with what they push up and down."""
    layers = sorted(first.parts)
    mean = [x.mean(0) for x in every.shares]
    places = [(i, int(u)) for i, m in enumerate(mean) for u in np.argsort(-np.abs(m), kind="stable")[:n_top]]
    places = sorted(places, key=lambda p: -abs(mean[p[0]][p[1]]))[:n_top]
    most = max(((i, int(m.argmax())) for i, m in enumerate(mean)), key=lambda p: mean[p[0]][p[1]])
    places = (
        places if most in places else [*places[:-1], most]
    )  # the one that is scored, where all larger ones eliminate
    values: dict[int, list[Tensor]] = {}
    for i, u in places:
        sign = 1.0 if every.act[i][:, u].mean() >= 0 else -1.0
        values.setdefault(layers[i], []).append(sign * first.parts[layers[i]].weight[u])
    moved = first.way.logits({n: torch.stack(v) for n, v in values.items()})
    rows, found = {n: iter(x) for n, x in moved.items()}, []
    ids = torch.tensor([t.id for t in every.found])
    for i, u in places:
        logits = next(rows[layers[i]]).cpu()
        order = logits.argsort(descending=True, stable=True)
        ranks = (logits[None] > logits[ids][:, None]).sum(1)
        found.append(
            SubUpdate(
                layer=layers[i],
                unit=u,
                coefficient=float(every.act[i][:, u].mean()),
                share=float(mean[i][u]),
                interval=bootstrap_mean(every.shares[i][:, u], seed),
                up=lab.pieces(order[:N_WORDS].tolist()),
                down=lab.pieces(order.flip(0)[:N_WORDS].tolist()),
                rank=float(np.median(ranks.numpy())),
            )
        )
    return tuple(found)


def _share_score(units: tuple[SubUpdate, ...], every: _Every, seed: int) -> Score:
    best = max(units, key=lambda u: u.share)
    draws = every.best
    return Score(
        name=f"largest share (unit {best.layer}.{best.unit})",
        value=best.share,
        interval=best.interval,
        chance=float(draws.mean()),
        percentile=midrank_percentile(best.share, draws),
        n=len(every.found),
    )


def _change_scores(every: _Every, seed: int) -> tuple[Score, Score]:
    """Mean over layers of what the interventions do, against the same with other units."""
    made = []
    for name, x, who in (
        ("lost without the promoters", every.lost, "other strong writers of the same layer"),
        (
            "gained by the rival when its values are turned up",
            every.gained,
            "random units of the same layer, likewise",
        ),
    ):
        mine, draws = x[..., 0].mean(1), x[..., 1:].mean((0, 1))
        made.append(
            Score(
                name=name,
                value=float(mine.mean()),
                control=float(draws.mean()),
                control_name=who,
                interval=bootstrap_mean(mine, seed),
                n=len(mine),
                # one text has no interval: it stands where it stands among the draws
                chance=float(draws.mean()) if len(mine) == 1 else None,
                percentile=midrank_percentile(float(mine[0]), draws) if len(mine) == 1 else None,
            )
        )
    return made[0], made[1]


def _exits(tops: list[np.ndarray], patience: int, seed: int) -> tuple[Score, Score]:
    """The share of layers that need not be run once the guess has settled, and how often the rule is right."""
    n, each = len(tops[0]), np.concatenate(tops, 1)
    settled, mixed = saturation.settled(each), saturation.shuffled(each)
    stop = saturation.stops(each, patience)
    right, other = saturation.agreement(each, stop), saturation.elsewhere(each, stop)
    cut = np.cumsum([x.shape[1] for x in tops])[:-1]

    def by_text(x: np.ndarray) -> np.ndarray:
        return np.array([part.mean() for part in np.split(x.astype(np.float64), cut)])

    oracle, rule = by_text(saturation.saved(settled, n)), by_text(right)
    spared = float(saturation.saved(stop, n).mean())
    return (
        Score(
            name="layers left once the guess has settled",
            value=float(oracle.mean()),
            control=float(by_text(saturation.saved(mixed, n)).mean()),
            control_name="the same guesses in random order of layers",
            interval=bootstrap_mean(oracle, seed),
            n=len(tops),
        ),
        Score(
            name=f"right when stopping after {patience} equal guesses ({spared:.0%} of layers saved)",
            value=float(rule.mean()),
            control=float(by_text(other).mean()),
            control_name="stopping where another position did",
            interval=bootstrap_mean(rule, seed),
            n=len(tops),
        ),
    )


def _intervals(x: np.ndarray, seed: int) -> np.ndarray:
    """Intervals [layer, 2] of the means over texts of x [text, layer]; NaN for a single text."""
    return np.array([bootstrap_mean(column, seed) or (np.nan, np.nan) for column in x.T])


def _kept(x: Tensor) -> np.ndarray:
    """Numbers as they are: numpy knows no numbers of 16 bits that models compute with."""
    return (x if x.dtype == torch.float64 else x.float()).detach().cpu().numpy()


def _np(x: Tensor) -> np.ndarray:
    return x.detach().double().cpu().numpy()


def _lede(units: tuple[SubUpdate, ...], every: _Every, scores: tuple[Score, ...]) -> str:
    best = max(units, key=lambda u: u.share)
    many = len(every.found) > 1
    what = f"the {len(every.found)} answers" if many else repr(every.found[0].answer.strip())
    words = ", ".join(t.strip() or repr(t) for t in best.up[:3])
    promote, remove = every.balance[..., 0].mean(0).sum(), every.balance[..., 1].mean(0).sum()
    lost, gained = scores[1], scores[2]
    tail = "" if scores[0].beats_chance else " No unit's share is larger than random tokens' largest."
    if not (lost.beats_control and gained.beats_control):
        tail += " Changing the chosen units does not do clearly more than changing others of the same layer."
    return (
        f"The units promote {what} by {promote:+.2f} and eliminate by {remove:+.2f} (logit). The largest share is that of unit"
        f" {best.layer}.{best.unit} ({best.share:+.2f}), whose write pushes up {words}. Switching a layer's promoters off costs"
        f" {lost.value:.2f} of log-probability ({lost.control or 0.0:.2f} for other strong writers), turning up"
        f" values that promote the rival gains it {gained.value:.2f} ({gained.control or 0.0:.2f} for random units).{tail}"
    )
