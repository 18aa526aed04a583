"""Shuffled attention: does it matter which tokens are attended to, and does attention order tokens as other measures do?

1. read a text once; shuffle the weights of every row among the keys that it sees, in all layers (or the chosen ones), and
   run again: TVD = 1/2 sum |p' - p| of the output, the median over permutations; the same for each layer alone;
2. control: add to every head's output z a random vector as long as the change sum_j (a'_ij - a_ij) v_j that the shuffle
   makes there;
3. Kendall's tau over the tokens of attention (mean over layers and heads, from the query whose output is measured) with
   |gradient x embedding| and with the TVD when the token is deleted; chance 0, control the attention of the same model with
   randomised weights.

Cost a text: 2 + tokens forwards, 1 backward, 2 n_permutations forwards and, by layer, about n_layers n_permutations more.
Reference: Jain & Wallace 2019, "Attention is not Explanation", alg. 1 and sec. 4.1.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from exegete.core.errors import UsageError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.debate import AttentionPermutation
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.core.value import Value
from exegete.methods.attention.bench import (
    Seen,
    deleted,
    distance,
    each_text,
    gradients,
    noise_like,
    reader,
    see,
)
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.contracts.study import Divided
from exegete.methods.contracts.twins import twin_of
from exegete.models.edit import Add, Set
from exegete.models.lab import Lab
from exegete.ops.rank import rank_correlation
from exegete.ops.reattend import shuffled

NOISE = "random changes of the same length in every head's output"
TWIN = "the attention of the model with randomised weights"


class PermutedText(Value):
    """What one text gave: median TVD shuffled and under noise, of all layers and by layer; Kendall's tau of attention with
    gradient and with removal, then those of the twin's attention. `failed`: it has too few tokens to rank.
    """

    failed: bool = False
    name: str = ""
    tvd: float = np.nan
    noise: float = np.nan
    layer_tvd: np.ndarray = np.zeros(0)
    layer_noise: np.ndarray = np.zeros(0)
    taus: tuple[float, float, float, float] = (np.nan, np.nan, np.nan, np.nan)
    no_twin: str = ""


@register
class AttentionPermutationStudy(Divided):
    """What the output loses when attention is shuffled, and whether attention agrees with gradients and with removal."""

    id: ClassVar[str] = "attention_permutation"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B12",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    finds: ClassVar[type] = AttentionPermutation
    home: ClassVar[str] = "terrarium/sentiment"
    reference: ClassVar[Reference] = Reference(
        authors="Jain & Wallace", year=2019, title="Attention is not Explanation",
        where="NAACL; arXiv:1902.10186", equation="alg. 1, sec. 4.1",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = "3 + tokens + (2 + n_layers) n_permutations forwards + 1 backward a text"
    n_permutations: int = Field(20, ge=1, le=1000, description="how often attention is shuffled")
    layers: tuple[int, ...] = Field((), description="layers to shuffle; all when empty")
    heads: tuple[int, ...] = Field(
        (), description="heads to shuffle, by number within each layer; all when empty"
    )
    by_layer: bool = Field(True, description="also shuffle each layer alone")
    seed: int = Field(0, description="seed of permutations, random changes and randomised weights")
    part: ClassVar[type[Value]] = PermutedText

    def work(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[PermutedText]:
        """Each text, read and shuffled alone."""
        self._check(lab)
        twin, why = twin_of(lab, self.seed)
        short = PermutedText(failed=True)
        return each_text(lab, items, target, lambda t: self.text(t, twin, why), short, "shuffling attention")

    def text(self, text: Seen, twin: Lab | None, why: str) -> PermutedText:
        """One text that was read, and what there is no twin for, where there is none."""
        tvd, noise, by_layer, noise_by_layer = self._moved(text)
        return PermutedText(
            name=text.name,
            tvd=tvd,
            noise=noise,
            layer_tvd=by_layer,
            layer_noise=noise_by_layer,
            taus=_agreement(text, twin),
            no_twin=why,
        )

    def _check(self, lab: Lab) -> None:
        tower = lab.model.map.tower(reader(lab))
        for what, given, size in (
            ("layer", self.layers, len(tower.layers)),
            ("head", self.heads, tower.n_heads),
        ):
            outside = [k for k in given if not 0 <= k < size]
            if outside:
                raise UsageError(
                    f"You asked to shuffle the attention of {what} {outside[0]}.",
                    f"{lab.model.name} has {size} {what}s there.",
                    f"Count from 0 to {size - 1}.",
                )

    def _moved(self, text: Seen) -> tuple[float, float, np.ndarray, np.ndarray]:
        """Median TVD shuffled and under noise: of all chosen layers at once, and of each layer."""
        chosen = self.layers or tuple(range(text.n_layers))
        alone = chosen if self.by_layer else ()
        found: dict[int | None, list[Tensor]] = {k: [] for k in (None, *alone)}
        for part in text.lab.chunks(self.n_permutations, text.length):
            draws = range(self.n_permutations)[part]
            new = torch.stack([self._shuffled(text, p, chosen) for p in draws])
            change = (new - text.pattern) @ text.v
            noise = torch.stack(
                [noise_like(c, text.lab.rng("noise", text.key, p)) for c, p in zip(change, draws)]
            )
            for k, each in found.items():
                each.append(_both(text, new, noise, chosen if k is None else (k,)))
        medians = {k: torch.cat(v, 1).median(1).values.cpu().numpy() for k, v in found.items()}
        whole = medians[None]
        by_layer = np.array([medians[k] for k in alone]).reshape(-1, 2)
        return float(whole[0]), float(whole[1]), by_layer[:, 0], by_layer[:, 1]

    def _shuffled(self, text: Seen, p: int, chosen: tuple[int, ...]) -> Tensor:
        """Patterns [layer, head, query, key] of one permutation."""
        draw = text.lab.rng("permute", text.key, p).random(tuple(text.pattern.shape), dtype=np.float32)
        new = shuffled(text.pattern, text.visible, torch.from_numpy(draw).to(text.pattern.device))
        keep = torch.ones(text.pattern.shape[:2], dtype=torch.bool)
        heads = list(self.heads) or list(range(text.pattern.shape[1]))
        for k in chosen:
            keep[k, heads] = False
        return torch.where(keep[..., None, None].to(new.device), text.pattern, new)

    def merge(
        self,
        lab: Lab,
        items: tuple[Any, ...],
        parts: Sequence[PermutedText],
        target: Target,
        n_failed: int = 0,
    ) -> AttentionPermutation:
        """The medians and correlations of all texts."""
        known = [p for p in parts if not p.failed]
        failed = len(parts) - len(known) + n_failed
        why = next((p.no_twin for p in known if p.no_twin), "")
        whole = np.array([(p.tvd, p.noise) for p in known]).reshape(-1, 2)
        taus = np.array([p.taus for p in known]).reshape(-1, 4)
        layers = [
            np.array([getattr(p, n) for p in known]).reshape(len(known), -1)
            for n in ("layer_tvd", "layer_noise")
        ]
        scores = (
            mean_score(
                "change of the output (TVD) when attention is shuffled", whole[:, 0],
                control=whole[:, 1], control_name=NOISE, failed=failed,
            ),
            mean_score(
                "Kendall tau of attention and gradient", taus[:, 0],
                chance=0.0, control=taus[:, 2], control_name=TWIN, failed=failed, skipped=why,
            ),
            mean_score(
                "Kendall tau of attention and removal", taus[:, 1],
                chance=0.0, control=taus[:, 3], control_name=TWIN, failed=failed, skipped=why,
            ),
        )  # fmt: skip
        return AttentionPermutation(
            title="Does it matter where the model looks?",
            lede=_words(scores),
            texts=tuple(p.name for p in known),
            tvd=whole[:, 0],
            noise=whole[:, 1],
            layer_tvd=layers[0],
            layer_noise=layers[1],
            tau_gradient=taus[:, 0],
            tau_removal=taus[:, 1],
            twin_gradient=taus[:, 2],
            twin_removal=taus[:, 3],
            trust=Trust(scores=scores, seed=self.seed),
        )


def _both(text: Seen, new: Tensor, noise: Tensor, layers: tuple[int, ...]) -> Tensor:
    """TVD [shuffled / noise, copy] with these layers changed, resumed at the first of them."""
    n, first = len(new), min(layers)
    patterns, z = text.sites("pattern"), text.sites("z")
    edits = ({patterns[k]: Set(new[:, k]) for k in layers}, {z[k]: Add(noise[:, k]) for k in layers})
    return torch.stack([distance(text.outputs(e, n, first), text.out) for e in edits])


def _agreement(text: Seen, twin: Lab | None) -> tuple[float, float, float, float]:
    """Kendall's tau of attention with gradient and with removal, then those of the twin's attention."""
    by_token, _ = gradients(text)
    _, outs = deleted(text)
    gone = distance(outs, text.out).cpu().numpy()
    at = text.words
    rows = [by_token[at], gone, text.weights()[at]]
    rows += [see(twin, text.aim).weights()[at]] if twin is not None else [np.full(int(at.sum()), np.nan)]
    table = rank_correlation(np.stack(rows), "kendall")
    own, other = table[2, :2], table[3, :2] if twin is not None else (np.nan, np.nan)
    return float(own[0]), float(own[1]), float(other[0]), float(other[1])


def _words(scores: tuple[Any, ...]) -> str:
    moved, gradient, removal = scores
    tail = "more than" if beaten(moved) else "no more than"
    first = f"Shuffling attention moves the output by {moved.value:.2f}, {tail} random changes of the same length ({moved.control or 0:.2f})"
    agreed = [
        f"{s.value:.2f} with {name}" + ("" if beaten(s) else " (does not beat its control)")
        for name, s in (("gradient", gradient), ("removal", removal))
    ]
    return f"{first}. Kendall's tau of attention is {' and '.join(agreed)}; 1 would be the same order."
