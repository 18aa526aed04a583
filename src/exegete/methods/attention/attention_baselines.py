"""Baselines of attention: is the learned attention needed, and would another training have learned the same?

1. put another attention in the place of the learned one, in all layers at once and in each layer alone:
     uniform   every key that a query sees gets the same weight
     frozen    the mean attention of the other texts at the same positions (of those as long, where there are any)
2. compare the output: total variation distance, whether the decision changes, log-probability lost by the model's own answer;
3. control: random changes of every head's output, as long as the ones the replacement makes;
4. with other checkpoints (`others`): the Jensen-Shannon divergence of the weights that tokens get, against that of the
   model with randomised weights (what any attention at all has in common).

Cost a text: 1 forward, 2 x 2 forwards, about 2 n_layers more by layer, 2 forwards an other checkpoint.
Reference: Wiegreffe & Pinter 2019, "Attention is not not Explanation", sec. 3.1-3.2. Their diagnostic network on frozen
attention and their adversary trained over a whole data set train new models, and are not made here.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.debate import AttentionBaselines
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.attention.attention_permutation import NOISE
from exegete.methods.attention.bench import Seen, benches, distance, noise_like, see
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.contracts.study import Study
from exegete.methods.contracts.twins import twin_of
from exegete.models.edit import Add, Set
from exegete.models.lab import Lab
from exegete.models.load import load
from exegete.ops.divergence import jsd
from exegete.ops.reattend import uniform

KINDS = ("uniform", "frozen")


@register
class AttentionBaselinesStudy(Study):
    """What is lost when learned attention is replaced by uniform or frozen attention, and how far other seeds agree."""

    id: ClassVar[str] = "attention_baselines"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B14",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 2
    finds: ClassVar[type] = AttentionBaselines
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Wiegreffe & Pinter", year=2019, title="Attention is not not Explanation",
        where="EMNLP; arXiv:1908.04626", equation="sec. 3.1-3.2",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "5 + 2 n_layers forwards a text, 1 more an other checkpoint"
    others: tuple[str, ...] = Field(
        (), description="names or folders of other checkpoints (other seeds) of the same kind"
    )
    by_layer: bool = Field(True, description="also replace each layer alone")
    seed: int = Field(0, description="seed of random changes and randomised weights")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> AttentionBaselines:
        """Over texts."""
        seen, failed = benches(lab, items, target)
        rows = []
        with lab.working(len(seen), "replacing attention") as step:
            for i, text in enumerate(seen):
                new = torch.stack([uniform(text.visible, text.pattern.dtype), frozen(seen, i)])
                rows.append(self._text(text, KINDS, new))
                step()
        between, twin = self._others(lab, seen)
        whole = np.array([r[0] for r in rows]).reshape(-1, 5, len(KINDS))
        layers = np.array([r[1] for r in rows])
        changed, flipped, loss, noise, noise_flipped = whole.transpose(1, 2, 0)
        scores = [self.flips(k, f, n, failed) for k, f, n in zip(KINDS, flipped, noise_flipped)]
        moves = [
            mean_score(
                f"change of the output (TVD) with {kind} attention", c, control=n, control_name=NOISE,
                failed=failed, seed=self.seed,
            )
            for kind, c, n in zip(KINDS, changed, noise)
        ]  # fmt: skip
        same = [self._between(m, b, twin, failed) for m, b in zip(self.others, between)]
        return AttentionBaselines(
            title="Is the learned attention needed?",
            lede=_words(scores, loss, same),
            texts=tuple(s.name for s in seen),
            kinds=KINDS,
            changed=changed,
            flipped=flipped,
            loss=loss,
            noise_changed=noise,
            noise_flipped=noise_flipped,
            layer_changed=layers[:, 0].mean(0) if layers.size else np.zeros((len(KINDS), 0)),
            layer_noise=layers[:, 1].mean(0) if layers.size else np.zeros((len(KINDS), 0)),
            models=self.others,
            between=between,
            twin=twin,
            trust=Trust(scores=(*scores, *moves, *same), seed=self.seed),
        )

    def flips(self, kind: str, flipped: np.ndarray, noise: np.ndarray, failed: int) -> Score:
        """The score of decisions [text] that change with a kind of attention, against noise."""
        name = f"decisions that change with {kind} attention"
        return mean_score(name, flipped, control=noise, control_name=NOISE, failed=failed, seed=self.seed)

    def evened(self, text: Seen) -> tuple[float, float]:
        """Of one text: 1 where the decision changes with uniform attention in all layers, and with noise."""
        whole, _ = self._text(text, KINDS[:1], uniform(text.visible, text.pattern.dtype)[None])
        return float(whole[1, 0]), float(whole[4, 0])

    def _text(self, text: Seen, kinds: tuple[str, ...], new: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(TVD, flips, log-probability lost, TVD and flips of noise) [5, kind], and by layer [own / noise, kind, layer]."""
        change = (new - text.pattern) @ text.v
        noise = torch.stack(
            [noise_like(c, text.lab.rng("noise", text.key, kind)) for c, kind in zip(change, kinds)]
        )
        every = tuple(range(text.n_layers))
        own, other = _runs(text, new, noise, every)
        mine = text.label
        lost = text.out[0, mine].log() - own[:, 0, mine].clamp_min(1e-300).log()
        flips = [(o[:, 0].argmax(-1) != mine).double() for o in (own, other)]
        moved = [distance(o, text.out) for o in (own, other)]
        alone = every if self.by_layer else ()
        layers = [[distance(o, text.out) for o in _runs(text, new, noise, (k,))] for k in alone]
        table = (
            torch.stack([torch.stack(pair) for pair in layers], -1)
            if layers
            else torch.zeros(2, len(kinds), 0)
        )
        whole = torch.stack([moved[0], flips[0], lost, moved[1], flips[1]])
        return whole.cpu().numpy(), table.cpu().numpy()

    def _others(self, lab: Lab, seen: list[Seen]) -> tuple[np.ndarray, np.ndarray]:
        """JSD of token weights from other checkpoints' [model, text], and from the randomised twin's [text]."""
        if not self.others:
            return np.zeros((0, len(seen))), np.full(len(seen), np.nan)
        out = []
        for name in self.others:
            model = load(name, task=lab.model.task)
            _check_same(lab, model, name)
            out.append([_between(text, Lab(model, seed=lab.seed, meter=lab.meter)) for text in seen])
        twin, _ = twin_of(lab, self.seed)
        last = [_between(text, twin) if twin is not None else np.nan for text in seen]
        return np.array(out), np.array(last)

    def _between(self, name: str, values: np.ndarray, twin: np.ndarray, failed: int) -> Score:
        return mean_score(
            f"divergence (JSD) of attention from that of {name}", values, "lower", control=twin,
            control_name="the model with randomised weights", failed=failed, seed=self.seed,
            skipped="the model is too large to copy",
        )  # fmt: skip


def frozen(seen: list[Seen], i: int) -> Tensor:
    """Mean attention [layer, head, query, key] of the other texts at the places of text i, over what its queries see.

    Texts as long as text i are preferred; else all that reach a place count there. A query for which no other text has
    weight gets uniform attention.
    """
    mine, n = seen[i], seen[i].length
    others = [s for j, s in enumerate(seen) if j != i]
    same = [s for s in others if s.length == n]
    total = torch.zeros_like(mine.pattern)
    for s in same or others:
        m = min(n, s.length)
        total[..., :m, :m] += s.pattern[..., :m, :m]
    total = torch.where(mine.visible, total, 0.0)
    size = total.sum(-1, keepdim=True)
    return torch.where(size > 0, total / size.clamp_min(1e-12), uniform(mine.visible, total.dtype))


def _runs(text: Seen, new: Tensor, noise: Tensor, layers: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Outputs [kind, row, class] with these layers' attention replaced, and with noise in their heads' outputs."""
    patterns, z, first = text.sites("pattern"), text.sites("z"), min(layers)
    own = text.outputs({patterns[k]: Set(new[:, k]) for k in layers}, len(new), first)
    return own, text.outputs({z[k]: Add(noise[:, k]) for k in layers}, len(new), first)


def _between(text: Seen, other: Lab) -> float:
    """JSD of the weights that the tokens of a text get in two models."""
    pair = [torch.from_numpy(s.weights()) for s in (text, see(other, text.aim))]
    p, q = (x / x.sum() for x in pair)
    return float(jsd(p, q))


def _check_same(lab: Lab, model: Any, name: str) -> None:
    """Token ids of one model are given to the other: both must read the same ones."""
    if model.tokenizer.get_vocab() != lab.model.tokenizer.get_vocab():
        raise UsageError(
            f"You asked to compare the attention of {lab.model.name} with that of {name}.",
            "Their tokenizers have different vocabularies, so they do not read the same tokens.",
            "Give checkpoints that were trained with one tokenizer.",
        )


def _words(scores: list[Score], loss: np.ndarray, same: list[Score]) -> str:
    parts = []
    for kind, s, lost in zip(KINDS, scores, loss):
        won = "more than" if beaten(s) else "no more than"
        parts.append(
            f"{kind} attention {s.value:.0%} ({won} random changes, {s.control or 0:.0%}; {lost.mean():.2f} nats of log-probability lost)"
        )
    first = f"Of the decisions change: with {' and with '.join(parts)}"
    if not same:
        return f"{first}."
    near = "nearer than" if all(beaten(s) for s in same) else "no nearer than"
    value = float(np.mean([s.value for s in same]))
    return f"{first}. Other checkpoints attend {value:.3f} nats away, {near} randomised weights do."
