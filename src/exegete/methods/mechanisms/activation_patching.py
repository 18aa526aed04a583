"""Activation patching: which state, at which layer and token or head, carries the answer from one text to the other?

1. run the clean and the corrupt text; the span is the target's value on the clean one less that on the corrupt one;
2. "denoising": run the corrupt text with one state from the clean run; its share is what it brings back of the span;
   "noising": run the clean text with one state from the corrupt run; its share is what it takes away;
3. do so at every place (`patch_cells`); over several pairs shares are ratios of means, with an interval over pairs;
4. judge, for each site, the strongest place (chosen on the other pairs where there are several; of residuals in the middle
   layer only, for at the two ends a residual carries everything by construction). Chance is a random place; the control
   patches the same place from an unrelated text: another pair's, or the same tokens in another order.

Cost: 2 forwards a pair, about half a pass a place, and 2 forwards a pair for the control.
References: Meng et al. 2022 (arXiv:2202.05262), sec. 2; Wang et al. 2022 (arXiv:2211.00593), sec. 3; Heimersheim and Nanda
2024 (arXiv:2404.15255); Zhang and Nanda 2024 (arXiv:2309.16042).
"""

from typing import Any, ClassVar

from pydantic import Field

from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.patching import Patching
from exegete.core.target import Target
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.patch_cells import Direction
from exegete.methods.mechanisms.patch_pairs import Corruption
from exegete.methods.mechanisms.patch_set import places_of, read_all
from exegete.methods.mechanisms.patch_verdict import found, patch_all
from exegete.models.lab import Lab


@register
class ActivationPatching(Study):
    """Which states carry the answer: each is exchanged for the other text's, and the output is measured."""

    id: ClassVar[str] = "activation_patching"
    family: ClassVar[str] = "mechanism"
    techniques: ClassVar[tuple[str, ...]] = ("H18",)
    verb: ClassVar[str] = "patch"
    asks: ClassVar[Any] = "pairs"
    finds: ClassVar[type] = Patching
    reference: ClassVar[Reference] = Reference(
        authors="Zhang and Nanda", year=2024, where="arXiv:2309.16042", equation="sec. 2",
        title="Towards Best Practices of Activation Patching in Language Models: Metrics and Methods",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites")
    passes: ClassVar[str] = "4 forwards, and about (n_layers * (n_tokens + n_heads)) / 2, a pair"
    sites: tuple[str, ...] = Field(
        ("resid_pre", "z"), min_length=1, description="what is patched: kinds of places inside a layer"
    )
    head: int | None = Field(
        None,
        ge=0,
        description="patch one head of sites that have heads, token by token; none: every head, all tokens",
    )
    positions: tuple[int, ...] = Field((), description="tokens that are patched, from 0; none: all")
    direction: Direction = Field(
        "denoising", description="clean states into the corrupt run, or corrupt ones into the clean run"
    )
    corruption: Corruption = Field(
        "text",
        description="the corrupt run: the pair's corrupt text, noise on embeddings, or another pair's text",
    )
    noise: float = Field(3.0, gt=0, description="noise in standard deviations of the embeddings")
    n_samples: int = Field(5, ge=1, description="draws of noise a pair")
    seed: int = Field(0, description="seed of noise, resampling and control")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> Patching:
        """Over pairs."""
        pairs = read_all(lab, items, self.corruption, target, self.noise, self.n_samples)
        places = places_of(lab, pairs.several, self.direction, self.sites, self.head, self.positions)
        return found(
            lab, places, pairs, self.direction, self.corruption, patch_all(lab, places, pairs, self.direction)
        )
