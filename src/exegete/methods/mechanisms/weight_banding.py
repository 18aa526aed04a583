"""Weight banding: do the weights of a layer stand in bands, and more so in the last layer?

In vision models the layer before the mean pooling shows horizontal bands. The question for a transformer:

1. for every layer, the last matrix of attention and of the feed-forward part (what they write to the residual);
2. the statistic is the share of the variance of |W| that lies in its row means and its column means: bands along the
   hidden units, and bands along the residual;
3. null: the entries of each matrix shuffled.

Control: a matrix of the same size with normal entries. Bands along the residual are common in trained models (outlier
dimensions); the profile over layers says where they stand.

Cost: no forward. Reference: Petrov et al. 2021, "Weight Banding", Distill (vision); the statistic is defined here.
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.structure import LayerStatistic
from exegete.core.target import Target
from exegete.core.trust import Trust
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.permuted import Permuted
from exegete.models.lab import Lab
from exegete.ops.structure import banding


@register
class WeightBanding(Study):
    """Whether the matrices that write to the residual stand in bands beyond chance, layer by layer."""

    id: ClassVar[str] = "weight_banding"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H7",)
    verb: ClassVar[str] = "circuit"
    asks: ClassVar[Any] = "nothing"
    finds: ClassVar[type] = LayerStatistic
    reference: ClassVar[Reference] = Reference(
        authors="Petrov et al.", year=2021, title="Weight Banding", where="doi:10.23915/distill.00024.009"
    )
    needs: ClassVar[tuple[Need, ...]] = ("weights",)
    passes: ClassVar[str] = "none"
    n_permutations: int = Field(20, ge=20, le=10_000, description="draws of the null")
    seed: int = Field(0, description="seed of the shuffles")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> LayerStatistic:
        """Over the layers of the main stack."""
        bound = lab.model.map
        value, null, control, detail, details = [], [], [], [], []
        for layer in range(bound.n_layers):
            weights = _written(lab, layer)
            shares = [banding(w) for _, w in weights]
            value.append(np.mean([sum(s) for s in shares]))
            null.append(self._null(lab, layer, [w for _, w in weights]))
            normal = [lab.rng("normal", layer, part).standard_normal(w.shape) for part, w in weights]
            control.append(np.mean([sum(banding(w)) for w in normal]))
            detail += shares
            details += [f"layer {layer} {part}" for part, _ in weights]
        found = Permuted(np.array(value), np.array(null), np.array(control))
        score = found.score("share of |W| in bands", "normal matrices of the same size")
        last, rest = value[-1], np.mean(value[:-1] or value)
        where = "more" if last > rest else "no more"
        word = "stand in bands" if score.beats_chance else "show no bands beyond chance"
        return LayerStatistic(
            title="Are the weights banded?",
            lede=f"The matrices that write to the residual {word} ({score.value:.1%} of the variance of |W|, shuffled "
            f"{score.chance:.1%}); the last layer {where} than the others ({last:.1%} against {rest:.1%}).",
            statistic="share of the variance of |W| in bands",
            layers=tuple(f"layer {i}" for i in range(bound.n_layers)),
            control_name="normal entries",
            detail=np.array(detail),
            details=tuple(details),
            columns=("by hidden unit (row)", "by residual dimension (column)"),
            detail_title="Where the bands lie",
            trust=Trust(scores=(score,)),
            value=found.value,
            null_low=found.low,
            null_mean=found.null.mean(1),
            null_high=found.high,
            control=found.control,
        )

    def _null(self, lab: Lab, layer: int, weights: list[np.ndarray]) -> list[float]:
        draw = lab.rng("shuffle", layer)
        shuffled = (
            [draw.permutation(w.ravel()).reshape(w.shape) for w in weights]
            for _ in range(self.n_permutations)
        )
        return [float(np.mean([sum(banding(w)) for w in each])) for each in shuffled]


def _written(lab: Lab, layer: int) -> list[tuple[str, np.ndarray]]:
    """The matrices [hidden, d] through which attention and feed-forward part write; fused experts have none to show."""
    bound, found = lab.model.map, []
    for part in ("attn", "mlp"):
        path = bound.part_path(bound.stacks[-1], layer, part, "proj")
        if path:
            weight, _ = bound.linear(path)
            found.append((part, weight.detach().float().cpu().numpy()))
    return found
