"""Self-repair: do later parts make up for a head that is lost (the Hydra effect), and which ones step in?

1. read every head's write and the last residual r of the untouched pass;
2. ablate head h (to its mean over the texts): the total effect is what the target loses;
3. the direct effect is what it loses if r alone lacks the change of what head h's layer adds, through the model's own
   final norm and unembedding;
4. repaired = direct - total: what the parts after h make up for;
5. with the head of the largest direct effect gone (the last layer's aside), the change of each later head's contribution along the gradient of the target with
   respect to r says who steps in.

Control: the same change turned into a random direction of equal length. Later parts react to any disturbance; self-repair
proper reacts more to the loss of a head.

Cost: 2 forwards + 1 backward, 2 forwards a head (batched); families whose residual passes norms between layers (post-norm)
are refused. Reference: McGrath et al. 2023, "The Hydra Effect" (arXiv:2307.15771), eq. 3-6.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import UnsupportedModel
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.resilience import SelfRepair
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.study import Study
from exegete.models.edit import Add, Set
from exegete.models.lab import Aim, Lab
from exegete.ops.stats import bootstrap_mean


@dataclass(frozen=True)
class _Base:
    """The untouched pass of one text: residual [1, tok, d] at the end, z [layer][1, head, tok, dh], adds, value, gradient."""

    final: Tensor
    z: tuple[Tensor, ...]
    adds: tuple[Tensor, ...]
    enters: tuple[Tensor, ...]
    value: Tensor
    gradient: Tensor


@register
class SelfRepairStudy(Study):
    """How much later parts make up for the loss of each head, and which heads step in."""

    id: ClassVar[str] = "self_repair"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H16",)
    verb: ClassVar[str] = "patch"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = SelfRepair
    tasks: ClassVar[tuple[str, ...]] = ("causal", "seq2seq")
    reference: ClassVar[Reference] = Reference(
        authors="McGrath et al.", year=2023, where="arXiv:2307.15771", equation="eq. 3-6",
        title="The Hydra Effect: Emergent Self-repair in Language Model Computations",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = "2 forwards + 1 backward + 2 n_heads forwards a text"
    n_backups: int = Field(5, ge=1, le=100, description="how many of the heads that step in are listed")
    seed: int = Field(0, description="seed of the random directions")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> SelfRepair:
        """Over texts."""
        _refuse_post_norm(lab)
        aim = lab.aim(items, target)
        aims = [aim.only(i) for i in range(len(aim))]
        bases = [_base(lab, one) for one in aims]
        means = _means(bases)
        direct, total, noise = [], [], []
        with lab.working(len(aims), "ablating heads") as step:
            for i, (one, base) in enumerate(zip(aims, bases)):
                d, t, r = _effects(lab, one, base, means, i)
                direct.append(d)
                total.append(t)
                noise.append(r)
                step()
        mean_direct = np.mean(direct, 0)
        early = (
            mean_direct[:-1] if len(mean_direct) > 1 else mean_direct
        )  # nothing but one part follows the last layer's heads
        lost = np.unravel_index(int(np.abs(early).argmax()), early.shape)
        backup = self._backups(lab, aims, bases, means, (int(lost[0]), int(lost[1])))
        return _finding(
            np.array(direct), np.array(total), np.array(noise), (int(lost[0]), int(lost[1])), backup
        )

    def _backups(
        self, lab: Lab, aims: list[Aim], bases: list[_Base], means: Tensor, lost: tuple[int, int]
    ) -> tuple[tuple[int, int, float], ...]:
        """(layer, head, gain) of the later heads whose contribution to the target rises most without the lost head."""
        bound = lab.model.map
        stack, n = bound.stacks[-1], bound.n_layers
        later = [Site("head_out", layer=k, stack=stack) for k in range(lost[0] + 1, n)]
        if not later:
            return ()
        gains = np.zeros((len(later), bound.n_heads))
        for one, base in zip(aims, bases):
            plain = lab.run(one.inputs, read=later, rows=one.positions)
            gone = lab.run(
                one.inputs, read=later, edit={_head(stack, lost): Set(means[lost])}, rows=one.positions
            )
            for k, site in enumerate(later):
                gains[k] += ((gone[site] - plain[site]) * base.gradient[:, None]).sum((0, 2, 3)).cpu().numpy()
        order = np.argsort(-gains.ravel(), kind="stable")[: self.n_backups]
        found = [np.unravel_index(int(i), gains.shape) for i in order]
        return tuple((int(a) + lost[0] + 1, int(b), float(gains[a, b] / len(aims))) for a, b in found)


def _refuse_post_norm(lab: Lab) -> None:
    block = lab.model.map.tower().table.block
    if block.attn.after or block.mlp.after:
        raise UnsupportedModel(
            f"You asked for self-repair in {lab.model.name}.",
            "Its residual passes through a norm after every part, so that no head writes straight to the output.",
            "Use activation patching of its heads instead.",
        )


def _head(stack: Any, head: tuple[int, int]) -> Site:
    return Site("z", layer=head[0], head=head[1], stack=stack)


def _base(lab: Lab, aim: Aim) -> _Base:
    """The untouched pass with the gradient of the target at the last residual."""
    bound = lab.model.map
    stack, layers = bound.stacks[-1], range(bound.n_layers)
    z = [Site("z", layer=k, stack=stack) for k in layers]
    adds = [Site("attn_add", layer=k, stack=stack) for k in layers]
    enters = [Site("resid_pre", layer=k, stack=stack) for k in layers]
    plain = lab.run(aim.inputs, read=[*z, *adds, *enters], rows=aim.positions)
    end = Site("final_in", stack=stack)
    with torch.enable_grad():
        t = lab.run(aim.inputs, read=[end], keep_graph=True, rows=aim.positions)
        (gradient,) = lab.gradients(aim.measure(t.logits).sum(), [t[end]])
    value = aim.measure(plain.logits)
    return _Base(
        t[end].detach(), tuple(plain[s] for s in z), tuple(plain[s] for s in adds), tuple(plain[s] for s in enters),
        value, gradient.detach(),
    )  # fmt: skip


def _means(bases: list[_Base]) -> Tensor:
    """Mean of z over texts and tokens [layer, head, dh]."""
    every = [torch.stack([z.mean(2)[0] for z in b.z]) * b.z[0].shape[2] for b in bases]
    return torch.stack(every).sum(0) / sum(b.z[0].shape[2] for b in bases)


def _effects(
    lab: Lab, aim: Aim, base: _Base, means: Tensor, text: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Direct and total effects [layer, head] on one text, and what is made up for of a random change [layer, head]."""
    bound = lab.model.map
    stack, n, heads = bound.stacks[-1], bound.n_layers, bound.n_heads
    direct, total, noise = (np.zeros((n, heads)) for _ in range(3))
    for layer in range(n):
        for part in lab.chunks(heads, base.final.shape[1]):
            picked = list(range(heads))[part]
            cut = [Set(means[layer, h], rows=[j], heads=[h]) for j, h in enumerate(picked)]
            t, adds = _ablated(lab, aim, base, layer, {Site("z", layer=layer, stack=stack): cut}, len(picked))
            change = adds - base.adds[layer]
            total[layer, part] = (base.value - t).cpu().numpy()
            direct[layer, part] = (base.value - _through(lab, aim, base.final + change)).cpu().numpy()
            draws = [lab.rng("turn", text, layer, h).standard_normal(change.shape[1:]) for h in picked]
            turned = torch.from_numpy(np.stack(draws)).to(change)
            turned = turned * change.norm(dim=-1, keepdim=True) / turned.norm(dim=-1, keepdim=True)
            site = Site("attn_add", layer=layer, stack=stack)
            r, _ = _ablated(lab, aim, base, layer, {site: [Add(turned)]}, len(picked))
            straight = _through(lab, aim, base.final + turned)
            noise[layer, part] = (r - straight).cpu().numpy() * np.sign((base.value - straight).cpu().numpy())
    return direct, total, noise


def _ablated(lab: Lab, aim: Aim, base: _Base, layer: int, edit: Any, copies: int) -> tuple[Tensor, Tensor]:
    """The target [copies] under an edit of `layer`, resumed there, and what its attention adds [copies, tok, d]."""
    stack = lab.model.map.stacks[-1]
    site = Site("attn_add", layer=layer, stack=stack)
    entering = base.enters[layer].expand(copies, -1, -1)
    t = lab.resume(aim.inputs, layer, entering, stack=stack, read=[site], edit=edit, rows=aim.positions)
    return aim.measure(t.logits), t[site]


def _through(lab: Lab, aim: Aim, final: Tensor) -> Tensor:
    """The target [batch] of last residuals [batch, tok, d], through the model's own final norm and unembedding."""
    at = aim.positions
    rows = (
        final
        if at is None
        else final.gather(1, at.expand(len(final), -1)[..., None].expand(-1, -1, final.shape[-1]))
    )
    return aim.measure(lab.model.map.unembed(rows))


def _finding(
    direct: np.ndarray, total: np.ndarray, noise: np.ndarray, lost: tuple[int, int], backup: tuple[Any, ...]
) -> SelfRepair:
    """Scored on the head with the largest direct effect: what is made up for, in the direction of the effect."""
    at = (slice(None), *lost)
    sign = np.sign(direct[at])
    repaired = sign * (direct[at] - total[at])
    control = noise[at]
    score = Score(
        name=f"made up for after {lost[0]}.h{lost[1]} is lost",
        value=float(repaired.mean()),
        chance=0.0,
        control=float(control.mean()),
        control_name="random changes of the same length",
        interval=bootstrap_mean(repaired),
        n=len(repaired),
    )
    share = repaired.mean() / max(abs(direct[at].mean()), 1e-12)
    head = f"head {lost[0]}.h{lost[1]}"
    if share < 0:
        found = f"Losing {head} costs more than its direct effect: later parts build on it rather than make up for it"
    else:
        stands = score.beats_chance and score.beats_control
        tail = (
            "" if stands else ", which cannot be told from no repair or from the reaction to random changes"
        )
        found = f"{share:.0%} of the direct effect of losing {head} is made up for by later parts{tail}"
    return SelfRepair(
        title="Do later parts make up for a lost head?",
        lede=f"{found}.",
        direct=direct.mean(0),
        total=total.mean(0),
        lost=lost,
        backup=backup,
        trust=Trust(scores=(score,)),
    )
