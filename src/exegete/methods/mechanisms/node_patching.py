"""Node patching: what is lost, exactly, when one head or one feed-forward part carries the other text's value?

1. read z of every head and what every feed-forward part adds, on the clean and on the corrupt text;
2. "noising": run the clean text with one part's value from the corrupt one; the effect is what the target loses.
   "denoising": run the corrupt text with one part's value from the clean one; the effect is what it gains;
3. parts of one layer go into the batch, one row a part and pair, resumed at that layer;
4. the score is the effect of the part that is strongest on every other pair, on the pairs that did not choose it.

Control: as much noise and as little aim, the part's change turned into a random direction of equal length at each token.

Shapes: effects [pair, layer, head + 1]. Cost a pair: 2 forwards, and 2 (heads + 1) partial forwards a layer.
References: Vig et al. 2020 (arXiv:2004.12265), sec. 3; Heimersheim and Nanda 2024 (arXiv:2404.15255), sec. 2.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.circuits import NodeEffects
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.failures import with_failed
from exegete.methods.contracts.study import Divided
from exegete.methods.mechanisms.circuit_pairs import Pairs, read_pairs
from exegete.models.capture import Trace
from exegete.models.lab import Lab
from exegete.ops.circuit import NOISE
from exegete.ops.stats import bootstrap_mean

FLAT = "No part moves the target: the two texts are alike to the model."


class Exchanged(Value):
    """One pair, measured in two ways, the answer less the foil and the answer alone: `effect` of every part and of random
    changes [way, layer, head + 1], the target of both texts `ends` [way, 2]; `against`: whether it has a foil.
    """

    clean: str
    effect: np.ndarray
    noise: np.ndarray
    ends: np.ndarray
    against: bool


@register
class NodePatching(Divided):
    """Which heads and feed-forward parts carry the answer: each one's value is exchanged for the other text's."""

    id: ClassVar[str] = "node_patching"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H1",)
    verb: ClassVar[str] = "circuit"
    asks: ClassVar[Any] = "pairs"
    finds: ClassVar[type] = NodeEffects
    part: ClassVar[type[Value]] = Exchanged
    tasks: ClassVar[tuple[str, ...]] = ("causal", "masked", "sequence", "token")
    reference: ClassVar[Reference] = Reference(
        authors="Vig et al.", year=2020, where="arXiv:2004.12265", equation="sec. 3",
        title="Causal Mediation Analysis for Interpreting Neural NLP: The Case of Gender Bias",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "2 forwards and 2 (heads + 1) partial forwards a layer, a pair"
    direction: Literal["noising", "denoising"] = Field(
        "noising", description="corrupt values in the clean text, or clean values in the corrupt one"
    )
    seed: int = Field(0, description="seed of the random directions")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Exchanged]:
        """Every part of every pair."""
        pairs = read_pairs(lab, items, target, alike=False)
        tokens = max(1, lab.model.token_budget // (lab.model.map.n_heads + 1))
        batches = pairs.batches(tokens)
        found: list[Exchanged] = []
        with lab.working(len(batches), "patching parts") as step:
            for batch in batches:
                clean, against = batch.aim.tokens, [r[0].foil is not None for r in batch.aim.rows]
                each = zip(clean, *self._effects(lab, batch), against)
                found += [
                    Exchanged(clean=" ".join(c), effect=e, noise=r, ends=o, against=a)
                    for c, e, r, o, a in each
                ]
                step()
        return found

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Exchanged], target: Target, n_failed: int = 0
    ) -> NodeEffects:
        """Over pairs, against the foil where all have one."""
        way = 0 if all(p.against for p in parts) else 1
        effect, noise, ends = (
            np.stack([getattr(p, k)[way] for p in parts]) for k in ("effect", "noise", "ends")
        )
        return with_failed(_finding(lab, self.direction, parts[0].clean, effect, noise, ends), n_failed)

    def _effects(self, lab: Lab, pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Effects and those of random directions [pair, way, layer, head + 1], and the target of both texts [pair, way, 2]."""
        bound, noising = lab.model.map, self.direction == "noising"
        stack, n = bound.stacks[-1], bound.n_layers
        kinds = ("resid_pre", "z", "mlp_add")
        sites = {k: [Site(k, layer=i, stack=stack) for i in range(n)] for k in kinds}
        every = [s for k in kinds for s in sites[k]]
        rows = pairs.aim.positions
        clean, corrupt = (lab.run(x, read=every, rows=rows) for x in (pairs.aim.inputs, pairs.corrupt))
        host, guest = (clean, corrupt) if noising else (corrupt, clean)
        inputs = pairs.aim.inputs if noising else pairs.corrupt
        ways, said = (pairs.aim, pairs.plain.aim), pairs.said

        def measure(t: Trace) -> Tensor:
            return torch.stack([aim.measure(t.logits) for aim in ways])

        ends = torch.stack([measure(clean), measure(corrupt)], -1)  # [way, pair, 2]
        base = ends[..., 0 if noising else 1]
        mask = inputs["attention_mask"]
        found = []
        for i in range(n):
            resid, places = host[sites["resid_pre"][i]], (sites["z"][i], sites["mlp_add"][i])
            real = [guest[s] for s in places]
            turned = [host[s] + _turned(lab, s, guest[s] - host[s], mask, said) for s in places]
            for values in (real, turned):
                edit = {s: _exchange(v, j) for j, (s, v) in enumerate(zip(places, values))}
                cells = bound.n_heads + 1
                wide = {k: v.repeat(cells, *[1] * (v.dim() - 1)) for k, v in inputs.items()}
                at = None if rows is None else rows.repeat(cells, 1)
                t = lab.resume(wide, i, resid.repeat(cells, 1, 1), stack=stack, edit=edit, rows=at)
                found.append(measure(t).reshape(2, cells, -1).permute(2, 0, 1))
        sign = 1.0 if noising else -1.0
        moved = sign * (base.T[..., None, None] - torch.stack(found, 2)).double().cpu().numpy()
        return moved[:, :, 0::2], moved[:, :, 1::2], ends.transpose(0, 1).double().cpu().numpy()


def _exchange(value: Tensor, mlp: int) -> Callable[[Tensor], Tensor]:
    """Row block h takes head h's value (z [batch, head, tok, dh]), the last row block the feed-forward part's."""

    def edit(x: Tensor) -> Tensor:
        x, p = x.clone(), len(value)
        if mlp:
            x[-p:] = value
            return x
        for h in range(value.shape[1]):
            x[h * p : (h + 1) * p, h] = value[:, h]
        return x

    return edit


def _turned(lab: Lab, site: Site, change: Tensor, mask: Tensor, said: Sequence[str]) -> Tensor:
    """The change turned into a random direction of equal length, at each token (drawn by what the pair says)."""
    draws = []
    for i, one in enumerate(change):
        real = int(mask[i].sum())
        shape = (*one.shape[:-2], real, one.shape[-1])
        draw = torch.zeros_like(one)
        draw[..., :real, :] = torch.from_numpy(lab.rng("turn", str(site), said[i]).standard_normal(shape)).to(
            one
        )
        draws.append(draw)
    noise = torch.stack(draws)
    return noise * change.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _finding(
    lab: Lab, direction: str, clean: str, effect: np.ndarray, noise: np.ndarray, ends: np.ndarray
) -> NodeEffects:
    mean = effect.mean(0)
    low, high = _intervals(effect, lab.seed)
    node, sign, score = _strongest(effect, noise, lab.seed)
    flat = np.abs(effect).max() <= NOISE * np.abs(ends).max()
    score = _untold(score) if flat else score
    span = float(ends[:, 0].mean() - ends[:, 1].mean())
    more, less = ("loses", "gains") if direction == "noising" else ("regains", "loses")
    word = more if sign > 0 else less
    share = f", {score.value / span:.0%} of what separates the two texts" if span else ""
    tail = "" if score.beats_control else "; a random change of the same length does as much"
    return NodeEffects(
        title="Which heads and feed-forward parts carry the answer?",
        lede=FLAT if flat else f"Through {node} alone the target {word} {score.value:.3g}{share}{tail}.",
        context=(("clean", clean), ("direction", direction)),
        heads=mean[:, :-1], mlps=mean[:, -1], heads_low=low[:, :-1], heads_high=high[:, :-1],
        mlps_low=low[:, -1], mlps_high=high[:, -1], full=float(ends[:, 0].mean()), empty=float(ends[:, 1].mean()),
        trust=Trust(scores=(score,), seed=lab.seed),
    )  # fmt: skip


def _strongest(effect: np.ndarray, noise: np.ndarray, seed: int) -> tuple[str, float, Score]:
    """Name of the part, sign of its effect, and score of the part that is strongest on every other pair, judged on the rest.

    Chosen and judged on the same pairs, it would flatter itself.
    """
    some, rest = (slice(0, None, 2), slice(1, None, 2)) if len(effect) > 1 else (slice(None), slice(None))
    mean = effect[some].mean(0)
    i, j = (int(x) for x in np.unravel_index(int(np.abs(mean).argmax()), mean.shape))
    node = f"{i}.mlp" if j == mean.shape[1] - 1 else f"{i}.h{j}"
    sign = 1.0 if mean[i, j] >= 0 else -1.0
    held = sign * effect[rest, i, j]
    score = Score(
        name=f"effect of {node}, the strongest",
        value=float(held.mean()),
        chance=0.0,
        control=float(sign * noise[rest, i, j].mean()),
        control_name="changes of the same length in random directions",
        interval=bootstrap_mean(held, seed),
        n=len(held),
    )
    return node, sign, score


def _untold(score: Score) -> Score:
    """A score where no part moves the target by more than rounding does: nothing is told."""
    nothing = {"value": float("nan"), "chance": None, "control": None, "control_name": "", "interval": None}
    return score.model_copy(update={**nothing, "skipped": FLAT, "n": 0, "n_failed": score.n})


def _intervals(effect: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals [layer, part] of the mean over pairs; NaN for a single pair."""
    nan = (float("nan"), float("nan"))
    both = [[bootstrap_mean(x, seed) or nan for x in layer] for layer in np.moveaxis(effect, 0, -1)]
    found = np.array(both)
    return found[..., 0], found[..., 1]
