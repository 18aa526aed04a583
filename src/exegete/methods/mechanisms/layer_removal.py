"""Layer removal: how much of the output survives when a layer is skipped, or changes places with the next?

1. read the residual before every layer, and the output distribution at the last token;
2. skip layer l: the residual before it enters layer l + 1 (the pass is resumed there, nothing before is run again);
3. swap layers l and l + 1: their blocks stand in for each other for one pass;
4. compare with the model's own output: KL(model || changed), and whether the answer is the same.

Control: what the layer adds is replaced by noise of the same length at every token. A layer whose removal costs no less
than noise is not redundant.

Cost: 1 + sum over layers of (layers - l) / layers, about half a forward a layer, twice (with the control), and one a swap.
Reference: Veit, Wilber & Belongie 2016 (sec. 4: lesions); McGrath et al. 2023, "The Hydra Effect", sec. 2.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.resilience import LayerRemoval
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.core.value import Value
from exegete.methods.contracts.study import Divided
from exegete.models.edit import Set
from exegete.models.family import ModelMap
from exegete.models.lab import Aim, Lab
from exegete.models.ports import Tower
from exegete.ops.stats import bootstrap_mean


class Removed(Value):
    """One text: `kl` and sameness of the answer [skipped / swapped / noise, layer]; NaN where nothing was swapped."""

    kl: np.ndarray
    same: np.ndarray


@register
class LayerRemovalStudy(Divided):
    """What the output loses when each layer is skipped, or swapped with the next."""

    id: ClassVar[str] = "layer_removal"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H16",)
    verb: ClassVar[str] = "patch"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = LayerRemoval
    part: ClassVar[type[Value]] = Removed
    reference: ClassVar[Reference] = Reference(
        authors="Veit, Wilber & Belongie", year=2016, where="arXiv:1605.06431", equation="sec. 4",
        title="Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "about 2 + 2 n_layers forwards a text"
    swap: bool = Field(True, description="also swap each layer with the next")
    seed: int = Field(0, description="seed of the noise")

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[Removed]:
        """Every layer of every text."""
        aim = lab.aim(items, target)
        found = []
        with lab.working(len(aim), "removing layers") as step:
            for i in range(len(aim)):
                found.append(self._text(lab, aim.only(i)))
                step()
        return found

    def merge(
        self, lab: Lab, items: tuple[Any, ...], parts: Sequence[Removed], target: Target, n_failed: int = 0
    ) -> LayerRemoval:
        """Over texts."""
        layers = tuple(f"layer {i}" for i in range(lab.model.map.n_layers))
        kl, same = np.stack([p.kl for p in parts], -1), np.stack([p.same for p in parts], -1)
        return _finding(layers, kl, same, n_failed)

    def _text(self, lab: Lab, aim: Aim) -> Removed:
        """One text. The noise is drawn by what it says, whichever texts stand beside it."""
        bound = lab.model.map
        stack, n = bound.stacks[-1], bound.n_layers
        before = [Site("resid_pre", layer=k, stack=stack) for k in range(n)]
        last = Site("resid_post", layer=n - 1, stack=stack)
        seen = lab.run(aim.inputs, read=[*before, last], rows=aim.positions)
        resid = [seen[s] for s in (*before, last)]
        base = _answer(seen.logits, aim)
        kl, same = np.full((3, n), np.nan), np.full((3, n), np.nan)
        read = [v.tolist() for k, v in sorted(aim.inputs.items()) if k.endswith("input_ids")]
        for k in range(n):
            added = resid[k + 1] - resid[k]
            noise = torch.from_numpy(lab.rng("noise", read, k).standard_normal(added.shape)).to(added)
            noise = noise * added.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
            for row, entering in ((0, resid[k]), (2, resid[k] + noise)):
                kl[row, k], same[row, k] = _apart(base, self._from(lab, aim, k + 1, entering))
            if self.swap and k in swappable(bound):
                with swapped(bound, k):
                    changed = _answer(lab.run(aim.inputs, rows=aim.positions).logits, aim)
                kl[1, k], same[1, k] = _apart(base, changed)
        return Removed(kl=kl, same=same)

    def _from(self, lab: Lab, aim: Aim, layer: int, resid: Tensor) -> Tensor:
        """Log-probabilities of the pass that goes on at `layer` (n: behind the last) with this residual."""
        bound = lab.model.map
        stack, n = bound.stacks[-1], bound.n_layers
        if layer < n:
            return _answer(lab.resume(aim.inputs, layer, resid, stack=stack, rows=aim.positions).logits, aim)
        end = {Site("resid_post", layer=n - 1, stack=stack): Set(resid)}
        done = lab.resume(aim.inputs, n - 1, resid, stack=stack, edit=end, rows=aim.positions)
        return _answer(done.logits, aim)


def swappable(bound: ModelMap) -> range:
    """Layers that can change places with the next: none where layers share modules; not the first where it makes what
    the others need (T5's position biases)."""
    tower = bound.tower()
    if tower.shared:
        return range(0)
    return range(1 if tower.table.block.carry else 0, bound.n_layers - 1)


@contextmanager
def swapped(bound: ModelMap, layer: int) -> Iterator[None]:
    """Layer and the next change places: their blocks' forwards stand in for each other; taken back afterwards."""
    tower: Tower = bound.tower()
    one, other = (bound.at(tower.layers[k].path) for k in (layer, layer + 1))
    first, second = one.forward, other.forward
    one.forward, other.forward = second, first
    try:
        yield
    finally:
        del one.__dict__["forward"], other.__dict__["forward"]


def _answer(logits: Tensor, aim: Aim) -> Tensor:
    """Log-probabilities [vocab] at the first row that is measured."""
    if logits.dim() == 2:
        return logits[0].float().log_softmax(-1)
    row = aim.rows[0][0].position or 0
    at = 0 if logits.shape[1] == len(aim.rows[0]) else row
    return logits[0, at].float().log_softmax(-1)


def _apart(base: Tensor, changed: Tensor) -> tuple[float, float]:
    """KL(base || changed) in nats, and whether the answer is the same."""
    kl = (base.exp() * (base - changed)).sum()
    return float(kl), float(base.argmax() == changed.argmax())


def _finding(layers: tuple[str, ...], kl: np.ndarray, same: np.ndarray, n_failed: int) -> LayerRemoval:
    # the median layer of each text: the first layer is often a part of the embedding, and would outweigh all others
    skipped, noise = np.median(kl[0], 0), np.median(kl[2], 0)
    score = Score(
        name="KL after the median layer is skipped",
        value=float(skipped.mean()),
        better="lower",
        control=float(noise.mean()),
        control_name="the layer replaced by noise of the same length",
        interval=bootstrap_mean(skipped),
        n=len(skipped),
        n_failed=n_failed,
    )
    kept = same[0].mean(1)
    weakest, least = int(np.argmax(kl[0].mean(1))), int(np.argmin(kl[0].mean(1)))
    won = "costs" if score.beats_control else "does not cost"
    return LayerRemoval(
        title="What is lost with each layer?",
        lede=f"Skipping one layer keeps the answer on {kept.mean():.0%} of texts and {won} less than noise in its place. "
        f"Layer {weakest} is missed most, layer {least} least.",
        layers=layers,
        kl_removed=kl[0],
        kl_swapped=kl[1],
        kl_noise=kl[2],
        kept=kept,
        kept_swapped=same[1].mean(1),
        trust=Trust(scores=(score,)),
    )
